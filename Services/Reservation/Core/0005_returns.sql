-- Something came back, or was added, after it was sold out, and nobody has looked yet whether it is to be had again.
ALTER TABLE stock ADD COLUMN returned boolean NOT NULL DEFAULT false;
CREATE INDEX stock_returned ON stock (sale_id, batch, variant) WHERE returned;

ALTER TABLE early_cancellations
    -- No transaction that did not see the cancellation can decide its order any more.
    ADD COLUMN settled boolean NOT NULL DEFAULT false,
    -- Those that did not see it are below this one; null until somebody has looked.
    ADD COLUMN missed_below xid8;
CREATE INDEX early_cancellations_open ON early_cancellations (order_id) WHERE NOT settled;

-- For forgetting what is long over.
ALTER TABLE refusals ADD COLUMN refused_at timestamptz NOT NULL DEFAULT now();
CREATE INDEX refusals_by_time ON refusals (refused_at);
CREATE INDEX orders_ended ON orders (ordered_at) WHERE state = 4;
