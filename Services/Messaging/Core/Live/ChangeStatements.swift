// What is new for readers since a position of their streams.
import Models
import Postgres

/// The order in which changes are given out: by transaction, then by ID.
struct ChangePlace: Hashable, Comparable, Sendable {
    let transaction: UInt64
    let id: MessageID

    static let start = ChangePlace(transaction: 0, id: MessageID(high: 0, low: 0))

    static func < (left: ChangePlace, right: ChangePlace) -> Bool {
        (left.transaction, left.id) < (right.transaction, right.id)
    }
}

/// That something changed, and for whom: enough to see whether it must be read.
struct ChangeKey: Hashable, Sendable {
    enum Kind: CaseIterable, Sendable { case message, post, order }

    let kind: Kind
    let place: ChangePlace
    /// Whom it concerns; nil where that is to be asked.
    let audience: [AccountID]?
}

/// One thing that a reader hears of.
struct StreamChange: Sendable {
    enum Subject: Sendable {
        case message(MessageSent)
        case post(BrandPosted)
        case order(StoredOrder)
    }

    let key: ChangeKey
    let subject: Subject
}

/// Keys up to a place, complete.
struct ChangePage: Sendable {
    var keys: [ChangeKey]
    /// Where to go on; nil when this is all.
    var next: ChangePlace?

    /// Puts together what was found of several kinds, `limit` of each at the most. A kind that came full may have more
    /// behind its last: nothing beyond that place is complete, so it is left for the next page.
    init(_ kinds: [[ChangeKey]], limit: Int) {
        let horizon = kinds.compactMap { $0.count < limit ? nil : $0.last?.place }.min()
        keys = kinds.joined().sorted { $0.place < $1.place }
        if let horizon { keys.removeAll { horizon < $0.place } }
        next = horizon
    }
}

/// Reads are made in two steps: first a snapshot, then what that snapshot includes and the last one did not. So what is
/// given out with a position is exactly what lies between two positions, whatever commits meanwhile.
///
/// A row that was dumped and restored bears the number of a transaction of the cluster that it came from. Such a number may
/// still lie ahead here, and would make the row new when it is reached: a row counts only where its number is not younger
/// than the transaction that put the row here (`age(changed_in::xid) >= age(xmin)`).
struct ChangeStorage: Sendable {
    let postgres: PostgresPool

    /// What one reader missed is looked for no longer than this.
    private static let missedSecondsMax = 3

    /// Where the schema stands. Its history is another one in another cluster (`system_identifier`), in this one after it
    /// was recovered to an earlier point or a standby took over (its timeline), and after the tables were restored from a
    /// dump (their files).
    func currentPosition() async throws(PostgresError) -> StreamPosition {
        let row = try await postgres.query(
            """
            SELECT to_hex(hashtextextended(concat_ws('/', system_identifier,
                    left(pg_walfile_name(pg_current_wal_lsn()), 8), pg_relation_filenode(to_regclass('messages')),
                    pg_relation_filenode(to_regclass('posts')), pg_relation_filenode(to_regclass('orders'))), 0)),
                pg_current_snapshot()::text
            FROM pg_control_system()
            """
        )[0]
        let (history, snapshot): (String, String) = (try row.get(0), try row.get(1))
        let text = String(repeating: "0", count: max(0, 16 - history.utf8.count)) + history + ":" + snapshot
        guard let position = StreamPosition(text) else {
            throw PostgresError(sqlState: "22P02", message: "expected a snapshot, got \(text)")
        }
        return position
    }

    /// What is new between two positions, for anybody. Reads no more rows than it returns: the transactions that the
    /// old position did not see are those that ran then and have ended, and those that began since.
    func changes(
        from old: StreamPosition, to new: StreamPosition, after place: ChangePlace, limit: Int
    ) async throws -> ChangePage {
        let ended = old.running.filter { new.includes($0) && $0 >= place.transaction }.map(String.init)
        let first = "\(max(old.xmax, place.transaction))"
        let end = "\(new.xmax)"
        let running = new.running.filter { $0 >= old.xmax }.map(String.init)
        let (transaction, id) = ("\(place.transaction)", place.id)
        let kind = MessageSent.Kind.orderStatus.rawValue
        let results = try await postgres.transaction { tx in
            try await tx.pipeline([
                """
                SELECT changed_in::text::bigint, message_id, recipient_id, sender_id FROM (
                    (SELECT changed_in, message_id, recipient_id, CASE WHEN kind <> \(kind) THEN sender_id END AS sender_id
                    FROM messages
                    WHERE changed_in = ANY(\(ended)::xid8[]) AND (changed_in, message_id) > (\(transaction)::xid8, \(id))
                        AND age(changed_in::xid) >= age(xmin)
                    ORDER BY changed_in, message_id LIMIT \(limit))
                    UNION ALL
                    (SELECT changed_in, message_id, recipient_id, CASE WHEN kind <> \(kind) THEN sender_id END
                    FROM messages
                    WHERE changed_in >= \(first)::xid8 AND changed_in < \(end)::xid8
                        AND changed_in <> ALL(\(running)::xid8[])
                        AND (changed_in, message_id) > (\(transaction)::xid8, \(id)) AND age(changed_in::xid) >= age(xmin)
                    ORDER BY changed_in, message_id LIMIT \(limit))
                ) AS found ORDER BY changed_in, message_id LIMIT \(limit)
                """,
                """
                SELECT changed_in::text::bigint, message_id FROM (
                    (SELECT changed_in, message_id FROM posts
                    WHERE changed_in = ANY(\(ended)::xid8[]) AND (changed_in, message_id) > (\(transaction)::xid8, \(id))
                        AND age(changed_in::xid) >= age(xmin)
                    ORDER BY changed_in, message_id LIMIT \(limit))
                    UNION ALL
                    (SELECT changed_in, message_id FROM posts
                    WHERE changed_in >= \(first)::xid8 AND changed_in < \(end)::xid8
                        AND changed_in <> ALL(\(running)::xid8[])
                        AND (changed_in, message_id) > (\(transaction)::xid8, \(id)) AND age(changed_in::xid) >= age(xmin)
                    ORDER BY changed_in, message_id LIMIT \(limit))
                ) AS found ORDER BY changed_in, message_id LIMIT \(limit)
                """,
                """
                SELECT changed_in::text::bigint, order_id, buyer_id FROM (
                    (SELECT changed_in, order_id, buyer_id FROM orders
                    WHERE changed_in = ANY(\(ended)::xid8[]) AND (changed_in, order_id) > (\(transaction)::xid8, \(id))
                        AND age(changed_in::xid) >= age(xmin)
                    ORDER BY changed_in, order_id LIMIT \(limit))
                    UNION ALL
                    (SELECT changed_in, order_id, buyer_id FROM orders
                    WHERE changed_in >= \(first)::xid8 AND changed_in < \(end)::xid8
                        AND changed_in <> ALL(\(running)::xid8[])
                        AND (changed_in, order_id) > (\(transaction)::xid8, \(id)) AND age(changed_in::xid) >= age(xmin)
                    ORDER BY changed_in, order_id LIMIT \(limit))
                ) AS found ORDER BY changed_in, order_id LIMIT \(limit)
                """,
            ])
        }
        return ChangePage(
            [
                try results[0].mapped { (row) throws(PostgresError) in
                    let recipient: AccountID = try row.get(2)
                    let sender: AccountID? = try row.get(3)
                    return try Self.key(.message, row, [recipient] + (sender.map { $0 == recipient ? [] : [$0] } ?? []))
                },
                try results[1].mapped { (row) throws(PostgresError) in try Self.key(.post, row, nil) },
                try results[2].mapped { (row) throws(PostgresError) in try Self.key(.order, row, [try row.get(2)]) },
            ], limit: limit)
    }

    /// What a reader missed between two positions, in its order. Looks into the reader's own conversations, brands and
    /// orders, so it costs by what they have and not by what happened meanwhile.
    /// - Returns: nil where it is more than `countMax`, or takes too long to find.
    func missed(
        by reader: AccountID, from old: StreamPosition, to new: StreamPosition, countMax: Int
    ) async throws -> [ChangeKey]? {
        let oldest = "\(old.xmin)"
        let (old, new) = (old.snapshot, new.snapshot)
        let kind = MessageSent.Kind.orderStatus.rawValue
        let limit = countMax + 1
        let timeout = "\(Self.missedSecondsMax)s"
        let results: [Rows]
        do {
            results = try await postgres.transaction { tx in
                try await tx.pipeline([
                    "SELECT set_config('statement_timeout', \(timeout), true)",
                    """
                    SELECT m.changed_in::text::bigint, m.message_id
                    FROM conversations c CROSS JOIN LATERAL (
                        SELECT changed_in, message_id FROM messages
                        WHERE conversation_id = c.conversation_id AND changed_in >= \(oldest)::xid8
                            AND NOT pg_visible_in_snapshot(changed_in, (SELECT \(old)::pg_snapshot))
                            AND pg_visible_in_snapshot(changed_in, (SELECT \(new)::pg_snapshot))
                            AND (kind <> \(kind) OR recipient_id = \(reader)) AND age(changed_in::xid) >= age(xmin)
                        LIMIT \(limit)
                    ) m
                    WHERE (c.first_id = \(reader) OR c.second_id = \(reader)) AND c.newest_in >= \(oldest)::xid8
                    ORDER BY m.changed_in, m.message_id LIMIT \(limit)
                    """,
                    """
                    SELECT p.changed_in::text::bigint, p.message_id FROM posts p
                    WHERE p.changed_in >= \(oldest)::xid8
                        AND NOT pg_visible_in_snapshot(p.changed_in, (SELECT \(old)::pg_snapshot))
                        AND pg_visible_in_snapshot(p.changed_in, (SELECT \(new)::pg_snapshot))
                        AND age(p.changed_in::xid) >= age(p.xmin)
                        AND (EXISTS (SELECT FROM follows f WHERE f.account_id = \(reader) AND f.brand_id = p.brand_id)
                            OR EXISTS (SELECT FROM orders o WHERE o.buyer_id = \(reader) AND o.sale_id = p.sale_id))
                    ORDER BY p.changed_in, p.message_id LIMIT \(limit)
                    """,
                    """
                    SELECT changed_in::text::bigint, order_id FROM orders
                    WHERE buyer_id = \(reader) AND changed_in >= \(oldest)::xid8
                        AND NOT pg_visible_in_snapshot(changed_in, (SELECT \(old)::pg_snapshot))
                        AND pg_visible_in_snapshot(changed_in, (SELECT \(new)::pg_snapshot))
                        AND age(changed_in::xid) >= age(xmin)
                    ORDER BY changed_in, order_id LIMIT \(limit)
                    """,
                ])
            }
        } catch let error as PostgresError where error.sqlState == "57014" {
            return nil
        }
        var keys: [ChangeKey] = []
        for (kind, rows) in zip(ChangeKey.Kind.allCases, results.dropFirst()) {
            keys += try rows.mapped { (row) throws(PostgresError) in try Self.key(kind, row, [reader]) }
        }
        return keys.count > countMax ? nil : keys.sorted { $0.place < $1.place }
    }

    /// The changes themselves, in the order given, as they are now. What is gone is left out.
    func load(_ keys: [ChangeKey]) async throws -> [StreamChange] {
        func ids(_ kind: ChangeKey.Kind) -> [MessageID] { keys.lazy.filter { $0.kind == kind }.map(\.place.id) }
        let (messages, posts) = (ids(.message), ids(.post))
        let orders = ids(.order).map { OrderID(high: $0.high, low: $0.low) }
        if keys.isEmpty { return [] }
        var subjects: [ChangeKey.Kind: [MessageID: StreamChange.Subject]] = [:]
        let results = try await postgres.transaction { tx in
            try await tx.pipeline([
                MessageStorage.find(messages), BrandStorage.find(posts), OrderStorage.find(orders),
            ])
        }
        for row in results[0] {
            let message = try MessageStorage.message(row)
            subjects[.message, default: [:]][message.messageId] = .message(message)
        }
        for row in results[1] {
            let post = try BrandStorage.post(row)
            subjects[.post, default: [:]][post.messageId] = .post(post)
        }
        for row in results[2] {
            let order = try OrderStorage.order(row)
            subjects[.order, default: [:]][MessageID(high: order.orderID.high, low: order.orderID.low)] = .order(order)
        }
        return keys.compactMap { key in
            subjects[key.kind]?[key.place.id].map { StreamChange(key: key, subject: $0) }
        }
    }

    private static func key(
        _ kind: ChangeKey.Kind, _ row: Row, _ audience: [AccountID]?
    ) throws(PostgresError) -> ChangeKey {
        let place = ChangePlace(transaction: UInt64(try row.get(0, as: Int64.self)), id: try row.get(1))
        return ChangeKey(kind: kind, place: place, audience: audience)
    }
}
