-- What is counted: a variant of a batch of a sale. Units are in the pool, leased to a partition, or with an order.
CREATE TABLE stock (
    sale_id uuid NOT NULL,
    batch integer NOT NULL,
    variant text NOT NULL,
    brand_id uuid NOT NULL,
    price bigint NOT NULL CHECK (price >= 0),
    currency text NOT NULL,
    hold_seconds bigint NOT NULL CHECK (hold_seconds > 0),
    -- The sale's revision that supply, price and hold were taken from.
    revision bigint NOT NULL,
    supply bigint NOT NULL CHECK (supply >= 0),
    pool bigint NOT NULL CHECK (pool >= 0),
    -- Places on the waitlist that are neither leased nor taken.
    places bigint NOT NULL CHECK (places >= 0),
    places_max bigint NOT NULL,
    sold_out_at timestamptz,
    PRIMARY KEY (sale_id, batch, variant)
) WITH (fillfactor = 50);

-- The part of the stock that one partition decides on alone.
CREATE TABLE leases (
    sale_id uuid NOT NULL,
    batch integer NOT NULL,
    variant text NOT NULL,
    log_partition integer NOT NULL,
    units bigint NOT NULL CHECK (units >= 0),
    places bigint NOT NULL CHECK (places >= 0),
    PRIMARY KEY (sale_id, batch, variant, log_partition),
    FOREIGN KEY (sale_id, batch, variant) REFERENCES stock
) WITH (fillfactor = 50);

-- Orders that got a unit or a place on the waitlist, whatever became of them.
CREATE TABLE orders (
    order_id uuid PRIMARY KEY,
    sale_id uuid NOT NULL,
    buyer_id uuid NOT NULL,
    batch integer NOT NULL,
    variant text NOT NULL,
    -- 1 reserved, 2 waitlisted, 3 confirmed, 4 released
    state smallint NOT NULL CHECK (state BETWEEN 1 AND 4),
    log_partition integer NOT NULL,
    log_offset bigint NOT NULL,
    -- The log's time: the order of arrival.
    ordered_at timestamptz NOT NULL,
    hold_until timestamptz
);
-- The last guard of the limit per buyer.
CREATE UNIQUE INDEX orders_live ON orders (sale_id, buyer_id) WHERE state < 4;
CREATE INDEX orders_waiting ON orders (sale_id, batch, variant, ordered_at, log_partition, log_offset) WHERE state = 2;
CREATE INDEX orders_held ON orders (hold_until) WHERE state = 1;

-- Orders that got nothing: one row for a run of them, from this offset to that one of a partition. An order of the
-- same stock between the two that is a row of `orders` got something.
CREATE TABLE refusals (
    sale_id uuid NOT NULL,
    batch integer NOT NULL,
    variant text NOT NULL,
    log_partition integer NOT NULL,
    first_offset bigint NOT NULL,
    last_offset bigint NOT NULL,
    -- soldOut, limitReached, notOpen, closed
    reason text NOT NULL,
    -- Their IDs, 16 bytes each, in the order of the log; the least and the greatest to find one by.
    order_ids bytea NOT NULL,
    order_id_min uuid NOT NULL,
    order_id_max uuid NOT NULL,
    PRIMARY KEY (sale_id, batch, variant, log_partition, first_offset)
);
ALTER TABLE refusals ALTER COLUMN order_ids SET STORAGE EXTERNAL;
