// Conversations: making them, giving their numbers, listing them.
import Models
import Postgres

enum ConversationStatements {
    static let conversationRow = Columns(
        "conversation_id", "first_id", "second_id", "last_sequence", "created_at", "changed_at", "first_read",
        "second_read"
    ) {
        (
            id: ConversationID, first: AccountID, second: AccountID, lastSequence: Int64, createdAt: Timestamp,
            changedAt: Timestamp, firstRead: Int64, secondRead: Int64
        ) in
        Conversation(
            conversationId: id, firstId: first, secondId: second, lastSequence: lastSequence, createdAt: createdAt,
            changedAt: changedAt, firstRead: firstRead, secondRead: secondRead)
    }

    static func one(_ id: ConversationID) -> SQL {
        "SELECT \(conversationRow) FROM conversations WHERE conversation_id = \(id)"
    }

    /// Makes the conversation of two accounts unless there is one.
    static func open(_ id: ConversationID, _ one: AccountID, _ other: AccountID, at now: Timestamp) -> SQL {
        """
        INSERT INTO conversations (conversation_id, first_id, second_id, last_sequence, created_at, changed_at)
        VALUES (\(id), \(min(one, other)), \(max(one, other)), 0, \(now), \(now))
        ON CONFLICT (conversation_id) DO NOTHING
        """
    }

    /// A member has read up to a message, and never less than before; what is not there yet is not read.
    static func read(_ id: ConversationID, by account: AccountID, upTo sequence: Int64) -> SQL {
        """
        UPDATE conversations SET
            first_read = CASE WHEN first_id = \(account)
                THEN greatest(first_read, least(last_sequence, \(sequence))) ELSE first_read END,
            second_read = CASE WHEN second_id = \(account)
                THEN greatest(second_read, least(last_sequence, \(sequence))) ELSE second_read END
        WHERE conversation_id = \(id)
        """
    }

    static let summaryRow = conversationRow.of("c").and("a.display_name", as: String?.self)
        .and("a.kind", as: AccountKind?.self).and(MessageStatements.messageRow.of("m").optional)

    /// An account's conversations, the last changed first, from before the cursor on. Sorts all that the account has:
    /// a row's place changes with every message, and an index of that would cost each message more than a list does.
    static func list(of account: AccountID, before: TimedPosition<ConversationID>?, countMax: Int) -> SQL {
        let bound = before ?? TimedPosition(time: .distantFuture, id: ConversationID(high: .max, low: .max))
        return """
            SELECT \(summaryRow)
            FROM (
                SELECT * FROM conversations
                WHERE (first_id = \(account) OR second_id = \(account))
                    AND (changed_at, conversation_id) < (\(bound.time), \(bound.id))
                ORDER BY changed_at DESC, conversation_id DESC LIMIT \(countMax)
            ) c
            -- OFFSET: looked up for each, also where the planner knew the tables when they were empty.
            LEFT JOIN LATERAL (
                SELECT * FROM accounts
                WHERE account_id = CASE WHEN c.first_id = \(account) THEN c.second_id ELSE c.first_id END OFFSET 0
            ) a ON true
            LEFT JOIN LATERAL (
                SELECT * FROM messages
                WHERE conversation_id = c.conversation_id AND sequence = c.last_sequence OFFSET 0
            ) m ON true
            ORDER BY c.changed_at DESC, c.conversation_id DESC
            """
    }

    static func summaries(_ rows: Rows) throws -> [ConversationSummary] {
        try summaryRow.all(rows).map { row in
            let (((conversation, name), kind), message) = row
            return ConversationSummary(
                conversation: conversation, otherName: name, otherKind: kind, lastMessage: message)
        }
    }

    // MARK: Numbers of messages

    static let numberRow = Columns("conversation_id", "last_sequence") {
        (id: ConversationID, last: Int64) in (id: id, last: last)
    }

    /// Locks the conversations, making those that do not exist, and moves each on by as many numbers as it has messages
    /// here. Returns the last of these numbers.
    static func reserve(_ numbers: MessageNumbers) -> SQL {
        let sorted = numbers.counts.sorted { $0.key < $1.key }
        let firsts = sorted.map { min($0.value.first.senderId, $0.value.first.recipientId) }
        let seconds = sorted.map { max($0.value.first.senderId, $0.value.first.recipientId) }
        return """
            INSERT INTO conversations AS c (conversation_id, first_id, second_id, last_sequence, created_at, changed_at)
            SELECT n.id, n.first_id, n.second_id, n.added, n.sent_at, n.sent_at
            FROM unnest(\(sorted.map(\.key)), \(firsts), \(seconds), \(sorted.map(\.value.count)),
                    \(sorted.map(\.value.last)))
                AS n(id, first_id, second_id, added, sent_at)
            ON CONFLICT (conversation_id) DO UPDATE SET
                last_sequence = c.last_sequence + excluded.last_sequence,
                changed_at = greatest(c.changed_at, excluded.changed_at),
                newest_in = greatest(c.newest_in, excluded.newest_in)
            RETURNING \(numberRow)
            """
    }

    /// Puts the conversations, which are locked, back to what they were without the messages that are not stored again.
    /// - Parameter next: the first number of each that was reserved.
    static func giveBack(
        _ reserved: MessageNumbers, except used: MessageNumbers, _ next: [ConversationID: Int64]
    ) -> SQL {
        let surplus = reserved.counts.filter { $0.value.count > used.counts[$0.key]?.count ?? 0 }.sorted {
            $0.key < $1.key
        }
        let ids = surplus.map(\.key)
        let lasts = ids.map { (next[$0] ?? 1) - 1 + (used.counts[$0]?.count ?? 0) }
        let before = ids.map { (next[$0] ?? 1) - 1 }
        let times = ids.map { used.counts[$0]?.last }
        // By the place of each among the sorted IDs: no join, so nothing that the planner could do the other way round.
        return """
            UPDATE conversations c SET
                last_sequence = n.lasts[width_bucket(conversation_id, n.ids)],
                changed_at = greatest(c.created_at, n.times[width_bucket(conversation_id, n.ids)], (
                    SELECT m.sent_at FROM messages m WHERE m.conversation_id = c.conversation_id
                        AND m.sequence = n.before[width_bucket(c.conversation_id, n.ids)]))
            FROM (SELECT \(ids) AS ids, \(lasts) AS lasts, \(before) AS before, \(times) AS times) AS n
            WHERE conversation_id = ANY(n.ids)
            """
    }
}
