-- Everything that messaging keeps. Rows that a reader hears of live carry `changed_in`, the transaction that wrote them:
-- a stream's position is a snapshot of transactions, and what is new is what that snapshot did not see.

-- Whom there is. A handle and a password for those who signed up here; an issuer and a subject for those whom another
-- identity provider knows.
CREATE TABLE accounts (
    account_id     uuid PRIMARY KEY,
    kind           text NOT NULL CHECK (kind IN ('person', 'brand')),
    handle         text UNIQUE,
    password_hash  text,
    issuer         text,
    subject        text,
    display_name   text NOT NULL,
    locale         text NOT NULL,
    authorisations text NOT NULL DEFAULT '[]',
    created_at     timestamptz NOT NULL,
    UNIQUE (issuer, subject),
    CHECK ((handle IS NULL) = (password_hash IS NULL)),
    CHECK ((issuer IS NULL) = (subject IS NULL)),
    CHECK (handle IS NOT NULL OR issuer IS NOT NULL)
);
CREATE INDEX accounts_that_are_brands ON accounts (account_id) WHERE kind = 'brand';

-- A device that signed in.
CREATE TABLE sessions (
    session_id   uuid PRIMARY KEY,
    account_id   uuid NOT NULL REFERENCES accounts,
    device       text NOT NULL,
    created_at   timestamptz NOT NULL,
    last_used_at timestamptz NOT NULL,
    expires_at   timestamptz NOT NULL,
    ended_at     timestamptz
);
CREATE INDEX sessions_of_account ON sessions (account_id);

-- Digests of the refresh tokens that a session was given. One that comes a second time was stolen: the session ends.
CREATE TABLE refresh_tokens (
    digest     bytea PRIMARY KEY,
    session_id uuid NOT NULL REFERENCES sessions ON DELETE CASCADE,
    used_at    timestamptz
);
CREATE INDEX refresh_tokens_of_session ON refresh_tokens (session_id);

-- Keys that sign tokens, shared by the instances: one at a time signs, the next is published before its turn, the last
-- verifies until its tokens have run out. The private half never leaves this schema.
CREATE TABLE keys (
    key_id      text PRIMARY KEY,
    jwk         text NOT NULL,
    private_jwk text NOT NULL,
    signs_until timestamptz NOT NULL,
    not_after   timestamptz NOT NULL
);

-- A direct conversation of two accounts. Its ID is derived from theirs. Members need no row in `accounts`: a buyer whose
-- order came from outside is told as well. A brand that buys from itself is told in a conversation with itself.
CREATE TABLE conversations (
    conversation_id uuid PRIMARY KEY,
    first_id        uuid NOT NULL,
    second_id       uuid NOT NULL,
    last_sequence   bigint NOT NULL,
    created_at      timestamptz NOT NULL,
    changed_at      timestamptz NOT NULL,
    -- The newest transaction that added a message: a stream whose position includes all up to it has nothing to look for.
    newest_in       xid8 NOT NULL DEFAULT pg_current_xact_id(),
    CHECK (first_id <= second_id)
) WITH (fillfactor = 80);
CREATE INDEX conversations_of_first ON conversations (first_id);
CREATE INDEX conversations_of_second ON conversations (second_id);

-- `message_id` is derived from the sender's own ID of the message, or is the notification's: the same thing sent again
-- is the same row, and one index answers for both.
CREATE TABLE messages (
    conversation_id uuid NOT NULL,
    sequence        bigint NOT NULL,
    message_id      uuid NOT NULL UNIQUE,
    sender_id       uuid NOT NULL,
    recipient_id    uuid NOT NULL,
    kind            text NOT NULL,
    body            text NOT NULL,
    sale_id         uuid,
    order_id        uuid,
    notification_id uuid CHECK (notification_id = message_id),
    sent_at         timestamptz NOT NULL,
    changed_in      xid8 NOT NULL DEFAULT pg_current_xact_id(),
    PRIMARY KEY (conversation_id, sequence)
);
CREATE INDEX messages_by_transaction ON messages (changed_in);

CREATE TABLE follows (
    account_id  uuid NOT NULL,
    brand_id    uuid NOT NULL,
    followed_at timestamptz NOT NULL,
    PRIMARY KEY (account_id, brand_id)
);

-- The last number given to a post of a brand.
CREATE TABLE post_counters (
    brand_id      uuid PRIMARY KEY,
    last_sequence bigint NOT NULL
);

-- Stored once, read by all who follow: `body` is the text by language, as JSON.
CREATE TABLE posts (
    brand_id        uuid NOT NULL,
    sequence        bigint NOT NULL,
    message_id      uuid NOT NULL UNIQUE,
    kind            text NOT NULL,
    body            text NOT NULL,
    sale_id         uuid,
    notification_id uuid CHECK (notification_id = message_id),
    sent_at         timestamptz NOT NULL,
    changed_in      xid8 NOT NULL DEFAULT pg_current_xact_id(),
    PRIMARY KEY (brand_id, sequence)
);
CREATE INDEX posts_by_transaction ON posts (changed_in);

-- An order as its buyer sees it. `order_id` is derived from buyer and client order ID where it was placed here.
-- Batch and variant are unknown while only the refund of an order has been heard of. `rank` is the status's place in an
-- order's life: it only rises, so that the same events in any order end the same.
CREATE TABLE orders (
    order_id        uuid PRIMARY KEY,
    buyer_id        uuid NOT NULL,
    client_order_id text,
    sale_id         uuid NOT NULL,
    brand_id        uuid NOT NULL,
    batch           integer,
    variant         text,
    status          text NOT NULL,
    rank            smallint NOT NULL,
    reason          text,
    accepted_at     timestamptz NOT NULL,
    decided_at      timestamptz,
    hold_until      timestamptz,
    cancelled_at    timestamptz,
    changed_in      xid8 NOT NULL DEFAULT pg_current_xact_id()
);
CREATE INDEX orders_of_buyer ON orders (buyer_id, accepted_at);
CREATE INDEX orders_by_transaction ON orders (changed_in);
