// What is new for readers since a position of their streams.
//
// A row that was dumped and restored bears the number of a transaction of the cluster that it came from. Such a number may
// still lie ahead here, and would make the row new when it is reached: a row counts only where its number is not younger
// than the transaction that put the row here (`age(changed_in::xid) >= age(xmin)`).
import Models
import Postgres

enum ChangeStatements {
    static let positionRow = Columns(
        """
        to_hex(hashtextextended(concat_ws('/', system_identifier,
            left(pg_walfile_name(pg_current_wal_lsn()), 8), pg_relation_filenode(to_regclass('messages')),
            pg_relation_filenode(to_regclass('posts')), pg_relation_filenode(to_regclass('orders'))), 0))
        """, "pg_current_snapshot()::text"
    ) { (history: String, snapshot: String) in
        let text = String(repeating: "0", count: max(0, 16 - history.utf8.count)) + history + ":" + snapshot
        guard let position = StreamPosition(text) else { throw UnreadablePosition(text: text) }
        return position
    }

    /// Where the schema stands. Its history is another one in another cluster (`system_identifier`), in this one after it
    /// was recovered to an earlier point or a standby took over (its timeline), and after the tables were restored from a
    /// dump (their files).
    static let position: SQL = "SELECT \(positionRow) FROM pg_control_system()"

    static let messageRow = placeRow("message_id").and("recipient_id", as: AccountID.self)
        .and("sender_id", as: AccountID?.self)
    static let postRow = placeRow("message_id")
    static let orderRow = placeRow("order_id").and("buyer_id", as: AccountID.self)

    private static func placeRow(_ id: StaticString) -> Columns<ChangePlace> {
        Columns("changed_in::text::bigint", id) { (transaction: Int64, id: MessageID) in
            ChangePlace(transaction: UInt64(transaction), id: id)
        }
    }

    /// Between two positions: the transactions that the old one did not see are those that ran then and have ended, and
    /// those that began since.
    struct Span: Sendable {
        /// Ran then and have ended.
        let ended: [String]
        /// Began since: from the first on, before the end, without those that still run.
        let first: String
        let end: String
        let running: [String]
        /// Only what comes behind this place.
        let transaction: String
        let id: MessageID
        let countMax: Int

        init(from old: StreamPosition, to new: StreamPosition, after place: ChangePlace, countMax: Int) {
            ended = old.running.filter { new.includes($0) && $0 >= place.transaction }.map(String.init)
            first = "\(max(old.xmax, place.transaction))"
            end = "\(new.xmax)"
            running = new.running.filter { $0 >= old.xmax }.map(String.init)
            transaction = "\(place.transaction)"
            id = place.id
            self.countMax = countMax
        }
    }

    /// Messages that are new, for anybody. Reads no more rows than it returns.
    static func messages(_ span: Span) -> SQL {
        let news = MessageSent.Kind.orderStatus
        return """
            SELECT \(messageRow) FROM (
                (SELECT changed_in, message_id, recipient_id, CASE WHEN kind <> \(news) THEN sender_id END AS sender_id
                FROM messages
                WHERE changed_in = ANY(\(span.ended)::xid8[])
                    AND (changed_in, message_id) > (\(span.transaction)::xid8, \(span.id))
                    AND age(changed_in::xid) >= age(xmin)
                ORDER BY changed_in, message_id LIMIT \(span.countMax))
                UNION ALL
                (SELECT changed_in, message_id, recipient_id, CASE WHEN kind <> \(news) THEN sender_id END
                FROM messages
                WHERE changed_in >= \(span.first)::xid8 AND changed_in < \(span.end)::xid8
                    AND changed_in <> ALL(\(span.running)::xid8[])
                    AND (changed_in, message_id) > (\(span.transaction)::xid8, \(span.id))
                    AND age(changed_in::xid) >= age(xmin)
                ORDER BY changed_in, message_id LIMIT \(span.countMax))
            ) AS found ORDER BY changed_in, message_id LIMIT \(span.countMax)
            """
    }

    /// The same of posts.
    static func posts(_ span: Span) -> SQL {
        """
        SELECT \(postRow) FROM (
            (SELECT changed_in, message_id FROM posts
            WHERE changed_in = ANY(\(span.ended)::xid8[])
                AND (changed_in, message_id) > (\(span.transaction)::xid8, \(span.id))
                AND age(changed_in::xid) >= age(xmin)
            ORDER BY changed_in, message_id LIMIT \(span.countMax))
            UNION ALL
            (SELECT changed_in, message_id FROM posts
            WHERE changed_in >= \(span.first)::xid8 AND changed_in < \(span.end)::xid8
                AND changed_in <> ALL(\(span.running)::xid8[])
                AND (changed_in, message_id) > (\(span.transaction)::xid8, \(span.id))
                AND age(changed_in::xid) >= age(xmin)
            ORDER BY changed_in, message_id LIMIT \(span.countMax))
        ) AS found ORDER BY changed_in, message_id LIMIT \(span.countMax)
        """
    }

    /// The same of orders.
    static func orders(_ span: Span) -> SQL {
        """
        SELECT \(orderRow) FROM (
            (SELECT changed_in, order_id, buyer_id FROM orders
            WHERE changed_in = ANY(\(span.ended)::xid8[])
                AND (changed_in, order_id) > (\(span.transaction)::xid8, \(span.id))
                AND age(changed_in::xid) >= age(xmin)
            ORDER BY changed_in, order_id LIMIT \(span.countMax))
            UNION ALL
            (SELECT changed_in, order_id, buyer_id FROM orders
            WHERE changed_in >= \(span.first)::xid8 AND changed_in < \(span.end)::xid8
                AND changed_in <> ALL(\(span.running)::xid8[])
                AND (changed_in, order_id) > (\(span.transaction)::xid8, \(span.id))
                AND age(changed_in::xid) >= age(xmin)
            ORDER BY changed_in, order_id LIMIT \(span.countMax))
        ) AS found ORDER BY changed_in, order_id LIMIT \(span.countMax)
        """
    }

    // MARK: One reader's

    /// A reader's way from one position to a later one.
    struct Missed: Sendable {
        let reader: AccountID
        let oldest: String
        let old: String
        let new: String
        let countMax: Int

        init(by reader: AccountID, from old: StreamPosition, to new: StreamPosition, countMax: Int) {
            self.reader = reader
            oldest = "\(old.xmin)"
            self.old = old.snapshot
            self.new = new.snapshot
            self.countMax = countMax
        }
    }

    /// Bounds the statements that follow in the transaction.
    static func timeout(seconds: Int) -> SQL { "SELECT set_config('statement_timeout', \("\(seconds)s"), true)" }

    static let missedMessageRow = placeRow("message_id").of("m")

    /// Messages that the reader missed. Looks into the reader's own conversations, so it costs by what they have and not by
    /// what happened meanwhile.
    static func messages(_ missed: Missed) -> SQL {
        """
        SELECT \(missedMessageRow)
        FROM conversations c CROSS JOIN LATERAL (
            SELECT changed_in, message_id FROM messages
            WHERE conversation_id = c.conversation_id AND changed_in >= \(missed.oldest)::xid8
                AND NOT pg_visible_in_snapshot(changed_in, (SELECT \(missed.old)::pg_snapshot))
                AND pg_visible_in_snapshot(changed_in, (SELECT \(missed.new)::pg_snapshot))
                AND (kind <> \(MessageSent.Kind.orderStatus) OR recipient_id = \(missed.reader))
                AND age(changed_in::xid) >= age(xmin)
            LIMIT \(missed.countMax)
        ) m
        WHERE (c.first_id = \(missed.reader) OR c.second_id = \(missed.reader))
            AND c.newest_in >= \(missed.oldest)::xid8
        ORDER BY m.changed_in, m.message_id LIMIT \(missed.countMax)
        """
    }

    static let missedPostRow = placeRow("message_id").of("p")

    /// Posts that the reader missed, of brands that it follows and of sales that it ordered in.
    static func posts(_ missed: Missed) -> SQL {
        """
        SELECT \(missedPostRow) FROM posts p
        WHERE p.changed_in >= \(missed.oldest)::xid8
            AND NOT pg_visible_in_snapshot(p.changed_in, (SELECT \(missed.old)::pg_snapshot))
            AND pg_visible_in_snapshot(p.changed_in, (SELECT \(missed.new)::pg_snapshot))
            AND age(p.changed_in::xid) >= age(p.xmin)
            AND (EXISTS (SELECT FROM follows f WHERE f.account_id = \(missed.reader) AND f.brand_id = p.brand_id)
                OR EXISTS (SELECT FROM orders o WHERE o.buyer_id = \(missed.reader) AND o.sale_id = p.sale_id))
        ORDER BY p.changed_in, p.message_id LIMIT \(missed.countMax)
        """
    }

    static let missedOrderRow = placeRow("order_id")

    /// The reader's own orders that changed.
    static func orders(_ missed: Missed) -> SQL {
        """
        SELECT \(missedOrderRow) FROM orders
        WHERE buyer_id = \(missed.reader) AND changed_in >= \(missed.oldest)::xid8
            AND NOT pg_visible_in_snapshot(changed_in, (SELECT \(missed.old)::pg_snapshot))
            AND pg_visible_in_snapshot(changed_in, (SELECT \(missed.new)::pg_snapshot))
            AND age(changed_in::xid) >= age(xmin)
        ORDER BY changed_in, order_id LIMIT \(missed.countMax)
        """
    }
}

/// Postgres wrote a snapshot in another form than the one that is known.
struct UnreadablePosition: Error, Sendable, CustomStringConvertible {
    let text: String
    var description: String { "expected a history and a snapshot, got \(text)" }
}
