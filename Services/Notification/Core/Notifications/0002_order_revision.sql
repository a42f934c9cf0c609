-- The revision of the event that was told: its place in the order's life. Null: it was not numbered.
ALTER TABLE told ADD COLUMN order_revision integer;
