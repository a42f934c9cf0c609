-- Attempts that were taken within a window, whatever they are at: `name` is a digest of what and whose. Counted by all
-- instances, and worth no write-ahead log: after a crash everybody has all attempts again.
CREATE UNLOGGED TABLE attempts (
    name    bytea PRIMARY KEY,
    taken   integer NOT NULL,
    ends_at timestamptz NOT NULL
);
CREATE INDEX attempts_by_end ON attempts (ends_at);

-- Sessions that are gone while access tokens of theirs may be out, as the topic `keys` says.
CREATE TABLE ended_sessions (
    session_id    uuid PRIMARY KEY,
    refused_until timestamptz NOT NULL
);
CREATE INDEX ended_sessions_by_end ON ended_sessions (refused_until);

-- What has served its time is looked for and removed.
CREATE INDEX sessions_by_expiry ON sessions (expires_at);
CREATE INDEX refresh_tokens_by_use ON refresh_tokens (used_at) WHERE used_at IS NOT NULL;

-- Accounts that are gone: all that is left of them here.
CREATE TABLE deleted_accounts (
    account_id uuid PRIMARY KEY,
    revision   bigint NOT NULL,
    deleted_at timestamptz NOT NULL
);

-- Keys that sign tokens, as `keys` has them, with the private half sealed by the root secret. Those that a version before
-- left in `keys` are moved here.
CREATE TABLE signing_keys (
    key_id      text PRIMARY KEY,
    jwk         text NOT NULL,
    sealed      bytea NOT NULL,
    signs_until timestamptz NOT NULL,
    not_after   timestamptz NOT NULL
);
