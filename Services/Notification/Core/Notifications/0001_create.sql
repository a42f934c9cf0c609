-- What was told, each thing once: the identifier is derived from the event and its reader.
CREATE TABLE told (
    notification_id uuid PRIMARY KEY,
    kind text NOT NULL,
    -- None: a broadcast.
    account_id uuid,
    order_id uuid,
    sale_id uuid NOT NULL,
    told_at timestamptz NOT NULL
);

-- The language of readers who are not told in English, as the topic accounts says it.
CREATE TABLE readers (
    account_id uuid PRIMARY KEY,
    locale text NOT NULL
);
