ALTER TABLE stock
    -- When the batch ends; infinity: open until the sale is withdrawn.
    ADD COLUMN closes_at timestamptz NOT NULL DEFAULT 'infinity',
    -- How many times it was said that this is sold out: raised supply sells out again.
    ADD COLUMN sold_out_count integer NOT NULL DEFAULT 0;
UPDATE stock SET sold_out_count = 1 WHERE sold_out_at IS NOT NULL;
-- What may still sell out, and what did. Neither holds what changes with every unit: those rows stay where they are.
CREATE INDEX stock_selling ON stock (closes_at) WHERE sold_out_at IS NULL;
CREATE INDEX stock_sold_out ON stock (sold_out_at) WHERE sold_out_at IS NOT NULL;
