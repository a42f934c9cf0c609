-- What the audit reads of this schema, states as words: the tables are the service's own.

CREATE VIEW audit_stock AS
SELECT sale_id, batch, variant, supply, pool, price, hold_seconds, sold_out_count,
    sold_out_at IS NOT NULL AS is_sold_out, closes_at <= now() AS is_closed,
    coalesce((SELECT sum(units) FROM leases
        WHERE (leases.sale_id, leases.batch, leases.variant) = (stock.sale_id, stock.batch, stock.variant)), 0)::bigint
        AS leased
FROM stock;

CREATE VIEW audit_orders AS
SELECT order_id, sale_id, buyer_id, batch, variant,
    CASE state WHEN 1 THEN 'reserved' WHEN 2 THEN 'waitlisted' WHEN 3 THEN 'confirmed' WHEN 4 THEN 'released' END
        AS state,
    ordered_at, hold_until, publisher
FROM orders;

CREATE VIEW audit_refusals AS
SELECT sale_id, batch, variant, log_partition, first_offset, order_ids, refused_at FROM refusals;
