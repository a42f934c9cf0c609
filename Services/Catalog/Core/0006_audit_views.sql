-- What the audit reads of this schema: the tables are the service's own.

-- What published sales offer.
CREATE VIEW audit_offers AS
SELECT sale_id, (batch ->> 'number')::integer AS batch, line ->> 'variant' AS variant, (line ->> 'units')::bigint AS units
FROM sales, jsonb_array_elements(sales.body -> 'batches') AS batch, jsonb_array_elements(batch -> 'lines') AS line
WHERE sales.status = 'published';

-- What readers are shown as sold out.
CREATE VIEW audit_sold_out AS
SELECT sale_id, batch, variant FROM line_states WHERE sold_out_at IS NOT NULL;
