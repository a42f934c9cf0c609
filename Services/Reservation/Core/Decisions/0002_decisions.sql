-- The place of the order's newest event in its life: 1 is the decision, every change is one more.
ALTER TABLE orders ADD COLUMN revision integer NOT NULL DEFAULT 1;
-- Of an order that has ended: its payment is on the way back already. A repeat of the payment says nothing more.
ALTER TABLE orders ADD COLUMN refunded boolean NOT NULL DEFAULT false;

-- Cancellations that came before their orders: such an order ends when it comes. For seven days, as long as the topic
-- holds records.
CREATE TABLE early_cancellations (
    order_id uuid NOT NULL,
    buyer_id uuid NOT NULL,
    -- The log's time.
    cancelled_at timestamptz NOT NULL,
    PRIMARY KEY (order_id, buyer_id)
);
CREATE INDEX early_cancellations_by_buyer ON early_cancellations (buyer_id, cancelled_at);
CREATE INDEX early_cancellations_by_time ON early_cancellations (cancelled_at);

-- Which program has a partition's last refusals in its memory; nobody else has refused anything there since it read them.
CREATE TABLE refused_memory (
    log_partition integer PRIMARY KEY,
    holder uuid NOT NULL,
    -- The offset of the partition's last refusal.
    through bigint NOT NULL
) WITH (fillfactor = 10);
-- For reading the last refusals of a partition.
CREATE INDEX refusals_by_offset ON refusals (log_partition, first_offset);
