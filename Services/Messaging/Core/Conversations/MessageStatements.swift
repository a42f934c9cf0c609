// Messages.
import Models
import Postgres

enum MessageStatements {
    static let messageRow = Columns(
        "message_id", "conversation_id", "sequence", "sender_id", "recipient_id", "kind", "body", "sale_id", "order_id",
        "sent_at"
    ) {
        (
            id: MessageID, conversation: ConversationID, sequence: Int64, sender: AccountID, recipient: AccountID,
            kind: MessageSent.Kind, text: String, sale: SaleID?, order: OrderID?, sentAt: Timestamp
        ) in
        MessageSent(
            messageId: id, conversationId: conversation, sequence: sequence, senderId: sender, recipientId: recipient,
            kind: kind, text: text, saleId: sale, orderId: order, sentAt: sentAt)
    }

    /// Those of the messages that are stored.
    static func find(_ ids: [MessageID]) -> SQL {
        "SELECT \(messageRow) FROM messages WHERE message_id = ANY(\(ids))"
    }

    /// The IDs of those that are stored.
    static func known(_ ids: [MessageID]) -> SQL {
        "SELECT message_id FROM messages WHERE message_id = ANY(\(ids))"
    }

    /// Messages after a sequence number, in their order.
    static func list(of conversation: ConversationID, after: Int64, countMax: Int) -> SQL {
        """
        SELECT \(messageRow) FROM messages WHERE conversation_id = \(conversation) AND sequence > \(after)
        ORDER BY sequence LIMIT \(countMax)
        """
    }

    static let placeRow = Columns("order_id", "max(order_place)") { (order: OrderID, place: Int64) in (order, place) }

    /// How far in its life each of the orders was told of.
    static func lastPlaces(of orders: Set<OrderID>) -> SQL {
        """
        SELECT \(placeRow) FROM messages
        WHERE order_id = ANY(\(orders.sorted())) AND order_place IS NOT NULL GROUP BY order_id
        """
    }

    /// - Parameter sequences: the number of each.
    static func insert(_ messages: [NewMessage], _ sequences: [MessageID: Int64]) -> SQL {
        // In the order of the primary key: neighbours in the index are then written one after the other.
        let sorted = messages.sorted { $0.conversationId < $1.conversationId }
        return """
            INSERT INTO messages (conversation_id, sequence, message_id, sender_id, recipient_id, kind, body, sale_id,
                order_id, notification_id, sent_at, order_place)
            SELECT * FROM unnest(
                \(sorted.map(\.conversationId)), \(sorted.map { sequences[$0.messageId] ?? 0 }),
                \(sorted.map(\.messageId)), \(sorted.map(\.senderId)), \(sorted.map(\.recipientId)),
                \(sorted.map(\.kind)), \(sorted.map(\.text)), \(sorted.map(\.saleId)), \(sorted.map(\.orderId)),
                \(sorted.map { $0.isNotification ? $0.messageId : nil }), \(sorted.map(\.sentAt)),
                \(sorted.map { $0.orderPlace?.number }))
            """
    }
}

extension MessageSent.Kind: PostgresValue {}
