-- Who proved to have placed the order; null: nobody did.
ALTER TABLE orders ADD COLUMN publisher text;
-- Who cancelled; empty: nobody who proved it. Each publisher has its own word on an order: one row for all of them would let
-- the first that comes hide the others.
ALTER TABLE early_cancellations ADD COLUMN publisher text NOT NULL DEFAULT '';
ALTER TABLE early_cancellations DROP CONSTRAINT early_cancellations_pkey;
CREATE INDEX early_cancellations_by_order ON early_cancellations (order_id, buyer_id, publisher);
