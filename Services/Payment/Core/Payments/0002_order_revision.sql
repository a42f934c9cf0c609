-- The revision of the reservation's last event of an order, which the order's payments bear. Null: it was not numbered.
ALTER TABLE orders ADD COLUMN order_revision integer;
