-- What the audit reads of this schema: the tables are the service's own.

CREATE VIEW audit_notifications AS
SELECT notification_id, kind, order_id, order_revision, account_id IS NULL AS is_broadcast, told_at FROM told;
