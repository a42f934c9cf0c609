-- What the audit reads of this schema: the tables are the service's own.

CREATE VIEW audit_orders AS
SELECT order_id, status, client_order_id IS NOT NULL AS was_placed_here, accepted_at FROM orders;

-- Messages that tell somebody in person what became of an order, by the IDs of their notifications.
CREATE VIEW audit_notices AS
SELECT message_id, conversation_id, sequence, order_id, order_place, sent_at FROM messages
WHERE notification_id IS NOT NULL;

-- Posts that tell everybody.
CREATE VIEW audit_posts AS
SELECT message_id FROM posts WHERE notification_id IS NOT NULL;
