CREATE TABLE wishes (
    account_id uuid NOT NULL,
    sale_id uuid NOT NULL,
    wished_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (account_id, sale_id)
);
