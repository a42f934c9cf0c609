-- What the audit reads of this schema: the tables are the service's own.

CREATE VIEW audit_orders AS
SELECT order_id, buyer_id, payment_id, state::text AS state, amount, currency, authorised, authorised_publisher
FROM orders;

CREATE VIEW audit_accounts AS
SELECT ledger_account_id, owner_id, kind::text AS kind, currency, balance FROM accounts;

CREATE VIEW audit_credits AS
SELECT transfer_id, credit_account AS ledger_account_id, created_at FROM transfers;

CREATE VIEW audit_postings AS
SELECT transfer_id, ledger_account_id, amount, currency FROM postings;
