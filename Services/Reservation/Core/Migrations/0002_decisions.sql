-- The place of the order's newest event in its life: 1 is the decision, every change is one more.
ALTER TABLE orders ADD COLUMN revision integer NOT NULL DEFAULT 1;
-- Of an order that has ended: its payment is on the way back already. A repeat of the payment says nothing more.
ALTER TABLE orders ADD COLUMN refunded boolean NOT NULL DEFAULT false;
