-- Products and sales as their brands describe them. A document is kept as the event says it, so that what was stored is
-- what was published.

CREATE TABLE products (
    product_id uuid PRIMARY KEY,
    brand_id uuid NOT NULL,
    body jsonb NOT NULL,
    created_at timestamptz NOT NULL
);
CREATE INDEX products_by_brand ON products (brand_id, product_id);

CREATE TABLE sales (
    sale_id uuid PRIMARY KEY,
    brand_id uuid NOT NULL,
    product_id uuid NOT NULL REFERENCES products,
    status text NOT NULL CHECK (status IN ('draft', 'published')),
    revision bigint NOT NULL CHECK (revision >= 1),
    body jsonb NOT NULL,
    created_at timestamptz NOT NULL,
    published_at timestamptz CHECK ((published_at IS NOT NULL) = (status = 'published'))
);
CREATE INDEX sales_by_brand ON sales (brand_id, sale_id);

-- Every state that a sale was in, and who brought it there.
CREATE TABLE sale_changes (
    sale_id uuid NOT NULL REFERENCES sales ON DELETE CASCADE,
    revision bigint NOT NULL,
    action text NOT NULL CHECK (action IN ('created', 'changed', 'published')),
    changed_by uuid NOT NULL,
    changed_at timestamptz NOT NULL,
    body jsonb NOT NULL,
    PRIMARY KEY (sale_id, revision)
);

-- What reservation says of a line. No reference to sales: the log may know more than this table does.
CREATE TABLE line_states (
    sale_id uuid NOT NULL,
    batch integer NOT NULL,
    variant text NOT NULL,
    sold_out_at timestamptz,
    -- When supply last rose: what sold out before is to be had again.
    raised_at timestamptz,
    PRIMARY KEY (sale_id, batch, variant)
);
