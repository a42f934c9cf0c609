-- The place in its order's life of what a message tells: what comes after a greater one of the same order is not stored.
-- Null: it is not of an order, or was not numbered.
ALTER TABLE messages ADD COLUMN order_place bigint;
CREATE INDEX messages_of_order ON messages (order_id, order_place) WHERE order_place IS NOT NULL;
