-- Wallets, the journal, and what payment knows of each order.
--
-- Every transaction locks in one order, so that none waits for another in a circle: rows of `orders` by order_id, then
-- rows of `accounts` by ledger_account_id.

CREATE TYPE account_kind AS ENUM (
    -- What its owner can spend. Never below zero.
    'wallet',
    -- What a brand's captures brought in; refunds go out of it. Never below zero.
    'proceeds',
    -- The world outside, where top-ups come from: below zero by as much as all wallets and proceeds hold.
    'bank'
);

-- The ledger's accounts. A brand's proceeds are split by `slot`, the partition that an order was read from, so that
-- partitions that capture for the same brand at the same time do not wait for one row.
CREATE TABLE accounts (
    ledger_account_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    owner_id uuid NOT NULL,
    balance bigint NOT NULL DEFAULT 0,
    slot integer NOT NULL DEFAULT 0,
    kind account_kind NOT NULL,
    currency text NOT NULL CHECK (currency ~ '^[A-Z]{3}$'),
    CONSTRAINT accounts_identity UNIQUE (owner_id, kind, slot, currency),
    CONSTRAINT accounts_never_below_zero CHECK (balance >= 0 OR kind = 'bank')
) WITH (fillfactor = 50);  -- A balance is updated in its page, without touching an index.

CREATE TYPE transfer_kind AS ENUM ('capture', 'refund', 'topup');

-- The journal. A transfer takes one amount of one currency from one account and gives it to another: it cannot be
-- written unbalanced.
CREATE TABLE transfers (
    transfer_id uuid PRIMARY KEY,
    order_id uuid,
    debit_account bigint NOT NULL,
    credit_account bigint NOT NULL,
    amount bigint NOT NULL,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    kind transfer_kind NOT NULL,
    currency text NOT NULL,
    CONSTRAINT transfers_amount_not_negative CHECK (amount >= 0),
    CONSTRAINT transfers_between_two_accounts CHECK (debit_account <> credit_account),
    CONSTRAINT transfers_order CHECK ((order_id IS NULL) = (kind = 'topup'))
);
-- An order is captured once and refunded once.
CREATE UNIQUE INDEX transfers_once_per_order ON transfers (order_id, kind) WHERE order_id IS NOT NULL;
-- An owner's entries, newest first. Transfer IDs sort by time.
CREATE INDEX transfers_debits ON transfers (debit_account, transfer_id);
CREATE INDEX transfers_credits ON transfers (credit_account, transfer_id);

-- The journal in the form of double entry: what is taken is negative; the two of a transfer sum to zero.
CREATE VIEW postings AS
    SELECT transfer_id, debit_account AS ledger_account_id, -amount AS amount, currency FROM transfers
    UNION ALL
    SELECT transfer_id, credit_account, amount, currency FROM transfers;

-- Balances follow the journal and nothing else. Nested loops: a batch touches thousands of millions of accounts, and
-- they are locked already.
CREATE FUNCTION post_transfers() RETURNS trigger LANGUAGE plpgsql
SET enable_hashjoin = off SET enable_mergejoin = off AS $$
DECLARE
    all_posted boolean;
BEGIN
    WITH changes AS MATERIALIZED (
        SELECT account, currency, sum(change)::bigint AS change
        FROM (
            SELECT debit_account AS account, currency, -amount AS change FROM posted
            UNION ALL
            SELECT credit_account, currency, amount FROM posted
        ) AS posting
        GROUP BY account, currency
        ORDER BY account
    ), updated AS (
        UPDATE accounts SET balance = accounts.balance + changes.change
        FROM changes
        WHERE accounts.ledger_account_id = changes.account AND accounts.currency = changes.currency
        RETURNING 1
    )
    SELECT (SELECT count(*) FROM changes) = (SELECT count(*) FROM updated) INTO all_posted;
    IF NOT all_posted THEN
        RAISE EXCEPTION 'a transfer names an account that is not there or keeps another currency'
            USING ERRCODE = 'foreign_key_violation';
    END IF;
    RETURN NULL;
END
$$;
CREATE TRIGGER transfers_post AFTER INSERT ON transfers
    REFERENCING NEW TABLE AS posted FOR EACH STATEMENT EXECUTE FUNCTION post_transfers();

CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% of % is refused: %', TG_OP, TG_TABLE_NAME, TG_ARGV[0] USING ERRCODE = 'restrict_violation';
END
$$;
CREATE TRIGGER transfers_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON transfers
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change('the journal is only ever added to');
CREATE TRIGGER accounts_stay BEFORE DELETE OR TRUNCATE ON accounts
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change('the journal refers to accounts');
CREATE TRIGGER accounts_follow_the_journal BEFORE UPDATE ON accounts
    FOR EACH STATEMENT WHEN (pg_trigger_depth() = 0)
    EXECUTE FUNCTION refuse_change('balances change by transfers');

CREATE TYPE order_state AS ENUM (
    -- Held for the buyer, who may pay by hand before `hold_until`.
    'payable',
    'captured',
    'refunded',
    -- A standing authorisation was there and the wallet could not pay: the order's hold ends.
    'failed',
    -- Nothing was paid, nothing will be.
    'released'
);

-- What payment knows of an order. A release that came before its reservation leaves a row too, and is respected.
CREATE TABLE orders (
    order_id uuid PRIMARY KEY,
    sale_id uuid NOT NULL,
    buyer_id uuid NOT NULL,
    brand_id uuid NOT NULL,
    -- The capture's transfer.
    payment_id uuid,
    hold_until timestamptz,
    amount bigint,
    -- Which of the brand's proceeds a capture goes to and a refund comes from.
    slot integer NOT NULL,
    state order_state NOT NULL,
    currency text,
    CONSTRAINT orders_paid CHECK ((payment_id IS NOT NULL) = (state IN ('captured', 'refunded'))),
    CONSTRAINT orders_price CHECK (
        state = 'released' OR (hold_until IS NOT NULL AND amount IS NOT NULL AND currency IS NOT NULL))
) WITH (fillfactor = 90);
-- What a wallet that opens late still has to pay.
CREATE INDEX orders_payable ON orders (buyer_id) WHERE state = 'payable';

CREATE VIEW payments AS
    SELECT payment_id, order_id, sale_id, buyer_id, brand_id, amount, currency, state
    FROM orders WHERE payment_id IS NOT NULL;

-- The owner lets a payee take up to the limit for one order without asking.
CREATE TABLE authorisations (
    owner_id uuid NOT NULL,
    payee_id uuid NOT NULL,
    limit_amount bigint NOT NULL CHECK (limit_amount >= 0),
    currency text NOT NULL,
    PRIMARY KEY (owner_id, payee_id)
);

-- Answers to commands that move money, by the key that the client gave each.
CREATE TABLE idempotency_keys (
    owner_id uuid NOT NULL,
    key text NOT NULL,
    -- SHA-256 of the command.
    fingerprint bytea NOT NULL,
    status integer NOT NULL,
    location text,
    answer bytea NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (owner_id, key)
);
CREATE INDEX idempotency_keys_age ON idempotency_keys (created_at);

-- The command's key for the rest of the transaction, false while another transaction has it.
CREATE FUNCTION try_claim_key(owner uuid, key text) RETURNS boolean LANGUAGE sql AS $$
    SELECT pg_try_advisory_xact_lock(hashtextextended('payment:' || owner || ':' || key, 0))
$$;

-- Ends a transaction that lost a race, so that it is tried again and sees who won.
CREATE FUNCTION lost_race(expected bigint, written bigint) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'another transaction was first: % rows written, not %', written, expected
        USING ERRCODE = 'serialization_failure';
END
$$;
