// Conversations and their messages.
import Models
import Postgres

/// A message before it has a place in its conversation.
struct NewMessage: Sendable, Equatable {
    let messageID: MessageID
    let conversationID: ConversationID
    let senderID: AccountID
    let recipientID: AccountID
    let kind: MessageSent.Kind
    let text: String
    let saleID: SaleID?
    let orderID: OrderID?
    /// Where what it tells stands in the order's life.
    var orderPlace: OrderPlace?
    let isNotification: Bool
    let sentAt: Timestamp

    func stored(at sequence: Int64) -> MessageSent {
        MessageSent(
            messageId: messageID, conversationId: conversationID, sequence: sequence, senderId: senderID,
            recipientId: recipientID, kind: kind, text: text, saleId: saleID, orderId: orderID, sentAt: sentAt)
    }
}

struct Conversation: Sendable, Equatable {
    let conversationID: ConversationID
    let firstID: AccountID
    let secondID: AccountID
    let lastSequence: Int64
    let createdAt: Timestamp
    let changedAt: Timestamp

    func isMember(_ account: AccountID) -> Bool { account == firstID || account == secondID }
    func other(than account: AccountID) -> AccountID { account == firstID ? secondID : firstID }
}

struct MessageStorage: Sendable {
    let postgres: PostgresPool

    /// Gives each message the next number of its conversation, in the order given, and stores it. Conversations that
    /// do not exist yet are made. Messages that are stored already are left out: their IDs say so. So are those that tell
    /// of an order what a newer one overtook: one reader's notifications are stored by one transaction at a time.
    ///
    /// The conversations' rows are locked first, in the order of their IDs, so that two transactions cannot wait for one
    /// another; who holds the row gives the numbers, and only then looks which of the messages are there: what another
    /// transaction stored of the conversation meanwhile is seen. None of the statements has a join: the planner does not
    /// know how many there are, and a join that it took for small cost more than all the rest.
    /// - Parameter messages: no ID twice.
    /// - Returns: the sequence of each message that is new, by its ID.
    static func store(
        _ messages: [NewMessage], in transaction: Transaction
    ) async throws(PostgresError) -> [MessageID: Int64] {
        if messages.isEmpty { return [:] }
        let reserved = Numbers(of: messages)
        let wanted = messages.map(\.messageID)
        var statements: [SQL] = [
            reserve(reserved), "SELECT message_id FROM messages WHERE message_id = ANY(\(wanted))",
        ]
        let orders = Set(messages.lazy.filter { $0.orderPlace != nil }.compactMap(\.orderID))
        if !orders.isEmpty { statements.append(lastPlaces(of: orders)) }
        let answers = try await transaction.pipeline(statements)
        let known = Set(try answers[1].column(0, as: MessageID.self))
        var told: [OrderID: Int64] = [:]
        if !orders.isEmpty {
            for row in answers[2] { told[try row.get(0)] = try row.get(1, as: Int64.self) }
        }
        let new =
            known.isEmpty && told.isEmpty
            ? messages
            : messages.filter { message in
                if known.contains(message.messageID) { return false }
                guard let place = message.orderPlace, let last = message.orderID.flatMap({ told[$0] }) else {
                    return true
                }
                return place.number >= last
            }
        var next: [ConversationID: Int64] = [:]
        next.reserveCapacity(answers[0].count)
        for row in answers[0] {
            let id: ConversationID = try row.get(0)
            next[id] = try row.get(1, as: Int64.self) - (reserved.counts[id]?.count ?? 0) + 1
        }
        if new.count < messages.count {
            _ = try await transaction.execute(giveBack(reserved, except: Numbers(of: new), next))
        }
        if new.isEmpty { return [:] }

        var sequences: [MessageID: Int64] = [:]
        sequences.reserveCapacity(new.count)
        for message in new {
            let sequence = next[message.conversationID, default: 1]
            next[message.conversationID] = sequence + 1
            sequences[message.messageID] = sequence
        }
        // In the order of the primary key: neighbours in the index are then written one after the other.
        let sorted = new.sorted { $0.conversationID < $1.conversationID }
        let conversations = sorted.map(\.conversationID)
        let numbers = sorted.map { sequences[$0.messageID] ?? 0 }
        let ids = sorted.map(\.messageID)
        let senders = sorted.map(\.senderID)
        let recipients = sorted.map(\.recipientID)
        let kinds = sorted.map(\.kind.rawValue)
        let bodies = sorted.map(\.text)
        let sales = sorted.map(\.saleID)
        let ofOrders = sorted.map(\.orderID)
        let notifications = sorted.map { $0.isNotification ? $0.messageID : nil }
        let times = sorted.map(\.sentAt)
        let places = sorted.map { $0.orderPlace?.number }
        _ = try await transaction.execute(
            """
            INSERT INTO messages (conversation_id, sequence, message_id, sender_id, recipient_id, kind, body, sale_id,
                order_id, notification_id, sent_at, order_place)
            SELECT * FROM unnest(\(conversations), \(numbers), \(ids), \(senders), \(recipients), \(kinds), \(bodies),
                \(sales), \(ofOrders), \(notifications), \(times), \(places))
            """)
        return sequences
    }

    /// How far in its life each of the orders was told of.
    private static func lastPlaces(of orders: Set<OrderID>) -> SQL {
        """
        SELECT order_id, max(order_place) FROM messages
        WHERE order_id = ANY(\(orders.sorted())) AND order_place IS NOT NULL GROUP BY order_id
        """
    }

    /// How many messages each conversation is to have, and when the last of them was sent.
    private struct Numbers {
        var counts: [ConversationID: (first: NewMessage, last: Timestamp, count: Int64)] = [:]

        init(of messages: [NewMessage]) {
            counts.reserveCapacity(messages.count)
            for message in messages {
                if let known = counts[message.conversationID] {
                    counts[message.conversationID] = (known.first, max(known.last, message.sentAt), known.count + 1)
                } else {
                    counts[message.conversationID] = (message, message.sentAt, 1)
                }
            }
        }
    }

    /// Locks the conversations, making those that do not exist, and moves each on by as many numbers as it has messages
    /// here. Returns the last of these numbers.
    private static func reserve(_ numbers: Numbers) -> SQL {
        let sorted = numbers.counts.sorted { $0.key < $1.key }
        let ids = sorted.map(\.key)
        let firsts = sorted.map { min($0.value.first.senderID, $0.value.first.recipientID) }
        let seconds = sorted.map { max($0.value.first.senderID, $0.value.first.recipientID) }
        let added = sorted.map(\.value.count)
        let times = sorted.map(\.value.last)
        return """
            INSERT INTO conversations AS c (conversation_id, first_id, second_id, last_sequence, created_at, changed_at)
            SELECT n.id, n.first_id, n.second_id, n.added, n.sent_at, n.sent_at
            FROM unnest(\(ids), \(firsts), \(seconds), \(added), \(times))
                AS n(id, first_id, second_id, added, sent_at)
            ON CONFLICT (conversation_id) DO UPDATE SET
                last_sequence = c.last_sequence + excluded.last_sequence,
                changed_at = greatest(c.changed_at, excluded.changed_at),
                newest_in = greatest(c.newest_in, excluded.newest_in)
            RETURNING conversation_id, last_sequence
            """
    }

    /// Puts the conversations, which are locked, back to what they were without the messages that are not stored again.
    /// - Parameter next: the first number of each that was reserved.
    private static func giveBack(
        _ reserved: Numbers, except used: Numbers, _ next: [ConversationID: Int64]
    ) -> SQL {
        let surplus = reserved.counts.filter { $0.value.count > used.counts[$0.key]?.count ?? 0 }.sorted {
            $0.key < $1.key
        }
        let ids = surplus.map(\.key)
        let lasts = ids.map { (next[$0] ?? 1) - 1 + (used.counts[$0]?.count ?? 0) }
        let before = ids.map { (next[$0] ?? 1) - 1 }
        let times = ids.map { used.counts[$0]?.last }
        return """
            UPDATE conversations c SET
                last_sequence = n.last_sequence,
                changed_at = greatest(c.created_at, n.sent_at, (
                    SELECT m.sent_at FROM messages m
                    WHERE m.conversation_id = n.id AND m.sequence = n.before))
            FROM unnest(\(ids), \(lasts), \(before), \(times)) AS n(id, last_sequence, before, sent_at)
            WHERE c.conversation_id = n.id
            """
    }

    /// Those of the messages that are stored.
    static func find(_ ids: [MessageID]) -> SQL {
        """
        SELECT message_id, conversation_id, sequence, sender_id, recipient_id, kind, body, sale_id, order_id, sent_at
        FROM messages WHERE message_id = ANY(\(ids))
        """
    }

    static func stored(_ ids: [MessageID], in transaction: Transaction) async throws(PostgresError) -> [MessageSent] {
        try await transaction.query(find(ids)).mapped(message)
    }

    /// Makes the conversation of two accounts unless there is one. Whether it is new.
    func open(
        _ id: ConversationID, _ one: AccountID, _ other: AccountID, at now: Timestamp
    ) async throws(PostgresError) -> Bool {
        try await postgres.execute(
            """
            INSERT INTO conversations (conversation_id, first_id, second_id, last_sequence, created_at, changed_at)
            VALUES (\(id), \(min(one, other)), \(max(one, other)), 0, \(now), \(now))
            ON CONFLICT (conversation_id) DO NOTHING
            """) > 0
    }

    func conversation(_ id: ConversationID) async throws(PostgresError) -> Conversation? {
        try await postgres.query(
            """
            SELECT conversation_id, first_id, second_id, last_sequence, created_at, changed_at
            FROM conversations WHERE conversation_id = \(id)
            """
        ).first.map(Self.conversation)
    }

    /// A conversation in a list: with the other's name and the last message.
    struct Summary: Sendable {
        let conversation: Conversation
        let otherName: String?
        let otherKind: String?
        let lastMessage: MessageSent?
    }

    /// An account's conversations, the last changed first, from before the cursor on. Sorts all that the account has:
    /// a row's place changes with every message, and an index of that would cost each message more than a list does.
    func conversations(
        of account: AccountID, before: (changedAt: Timestamp, id: ConversationID)?, limit: Int
    ) async throws(PostgresError) -> [Summary] {
        let changedAt = before?.changedAt ?? .distantFuture
        let id = before?.id ?? ConversationID(high: .max, low: .max)
        let rows = try await postgres.query(
            """
            SELECT c.conversation_id, c.first_id, c.second_id, c.last_sequence, c.created_at, c.changed_at,
                a.display_name, a.kind,
                m.message_id, m.conversation_id, m.sequence, m.sender_id, m.recipient_id, m.kind, m.body, m.sale_id,
                m.order_id, m.sent_at
            FROM (
                SELECT * FROM conversations
                WHERE (first_id = \(account) OR second_id = \(account))
                    AND (changed_at, conversation_id) < (\(changedAt), \(id))
                ORDER BY changed_at DESC, conversation_id DESC LIMIT \(limit)
            ) c
            LEFT JOIN accounts a
                ON a.account_id = CASE WHEN c.first_id = \(account) THEN c.second_id ELSE c.first_id END
            LEFT JOIN messages m ON m.conversation_id = c.conversation_id AND m.sequence = c.last_sequence
            ORDER BY c.changed_at DESC, c.conversation_id DESC
            """)
        return try rows.mapped { (row) throws(PostgresError) in
            let hasMessage = try row.get(8, as: MessageID?.self) != nil
            return Summary(
                conversation: try Self.conversation(row), otherName: try row.get(6), otherKind: try row.get(7),
                lastMessage: hasMessage ? try Self.message(row, from: 8) : nil)
        }
    }

    /// Messages after a sequence number, in their order.
    func messages(
        of conversation: ConversationID, after: Int64, limit: Int
    ) async throws(PostgresError) -> [MessageSent] {
        try await postgres.query(
            """
            SELECT message_id, conversation_id, sequence, sender_id, recipient_id, kind, body, sale_id, order_id, sent_at
            FROM messages WHERE conversation_id = \(conversation) AND sequence > \(after)
            ORDER BY sequence LIMIT \(limit)
            """
        ).mapped(Self.message)
    }

    static func conversation(_ row: Row) throws(PostgresError) -> Conversation {
        Conversation(
            conversationID: try row.get(0), firstID: try row.get(1), secondID: try row.get(2),
            lastSequence: try row.get(3), createdAt: try row.get(4), changedAt: try row.get(5))
    }

    static func message(_ row: Row) throws(PostgresError) -> MessageSent { try message(row, from: 0) }

    /// - Parameter first: the column of the message's ID; the others follow in the order of the statements above.
    static func message(_ row: Row, from first: Int) throws(PostgresError) -> MessageSent {
        MessageSent(
            messageId: try row.get(first), conversationId: try row.get(first + 1), sequence: try row.get(first + 2),
            senderId: try row.get(first + 3), recipientId: try row.get(first + 4),
            kind: try row.choice(first + 5), text: try row.get(first + 6),
            saleId: try row.get(first + 7), orderId: try row.get(first + 8), sentAt: try row.get(first + 9))
    }
}

extension Rows {
    func mapped<Value>(_ read: (Row) throws(PostgresError) -> Value) throws(PostgresError) -> [Value] {
        var values: [Value] = []
        values.reserveCapacity(count)
        for row in self { values.append(try read(row)) }
        return values
    }
}
