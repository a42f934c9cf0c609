// What is new for readers since a position of their streams.
import Models
import Postgres

/// One thing that a reader hears of, and the transaction that wrote it.
struct StreamChange: Sendable {
    enum Subject: Sendable {
        case message(MessageSent)
        case post(BrandPosted)
        case order(StoredOrder)
    }

    let transaction: UInt64
    let subject: Subject
    /// Whom it was looked for; nil where the search was for everybody.
    let reader: AccountID?

    /// Where it stands among the changes of a stream.
    var place: ChangePlace {
        switch subject {
        case .message(let message): ChangePlace(transaction: transaction, id: message.messageId)
        case .post(let post): ChangePlace(transaction: transaction, id: post.messageId)
        case .order(let order):
            ChangePlace(transaction: transaction, id: MessageID(high: order.orderID.high, low: order.orderID.low))
        }
    }
}

/// The order in which changes are given out: by transaction, then by ID.
struct ChangePlace: Hashable, Comparable, Sendable {
    let transaction: UInt64
    let id: MessageID

    static let start = ChangePlace(transaction: 0, id: MessageID(high: 0, low: 0))

    static func < (left: ChangePlace, right: ChangePlace) -> Bool {
        (left.transaction, left.id) < (right.transaction, right.id)
    }
}

/// Changes up to a place, complete.
struct ChangePage: Sendable {
    var changes: [StreamChange]
    /// Where to go on; nil when this is all.
    var next: ChangePlace?

    /// Puts together what was found of several kinds, `limit` of each at the most. A kind that came full may have more
    /// behind its last: nothing beyond that place is complete, so it is left for the next page.
    init(_ kinds: [[StreamChange]], limit: Int) {
        let horizon = kinds.compactMap { $0.count < limit ? nil : $0.last?.place }.min()
        changes = kinds.joined().sorted { $0.place < $1.place }
        if let horizon { changes.removeAll { horizon < $0.place } }
        next = horizon
    }
}

/// Reads are made in two steps: first a snapshot, then what that snapshot includes and the last one did not. So what is
/// given out with a position is exactly what lies between two positions, whatever commits meanwhile.
struct ChangeStorage: Sendable {
    let postgres: PostgresPool

    func currentPosition() async throws(PostgresError) -> StreamPosition {
        let text = try await postgres.query("SELECT pg_current_snapshot()::text").first?.get(0, as: String.self) ?? ""
        guard let position = StreamPosition(text) else {
            throw PostgresError(sqlState: "22P02", message: "expected a snapshot, got \(text)")
        }
        return position
    }

    /// What is new between two positions, for anybody or for the readers alone. Posts are for everybody here: whom one
    /// concerns is asked when there is one.
    func changes(
        from old: StreamPosition, to new: StreamPosition, after place: ChangePlace, readers: [AccountID]?, limit: Int
    ) async throws -> ChangePage {
        let oldest = "\(max(old.xmin, place.transaction))"
        let (old, new) = (old.description, new.description)
        let (transaction, id) = ("\(place.transaction)", place.id)
        let everybody = readers == nil
        let readers = readers ?? []
        let kind = MessageSent.Kind.orderStatus.rawValue
        let results = try await postgres.transaction { tx in
            try await tx.pipeline([
                """
                SELECT changed_in::text::bigint, message_id, conversation_id, sequence, sender_id, recipient_id, kind,
                    body, sale_id, order_id, sent_at
                FROM messages
                WHERE changed_in >= \(oldest)::xid8
                    AND (changed_in, message_id) > (\(transaction)::xid8, \(id))
                    AND NOT pg_visible_in_snapshot(changed_in, \(old)::pg_snapshot)
                    AND pg_visible_in_snapshot(changed_in, \(new)::pg_snapshot)
                    AND (\(everybody) OR recipient_id = ANY(\(readers))
                        OR kind <> \(kind) AND sender_id = ANY(\(readers)))
                ORDER BY changed_in, message_id LIMIT \(limit)
                """,
                """
                SELECT changed_in::text::bigint, message_id, brand_id, sequence, kind, body, sale_id, sent_at
                FROM posts
                WHERE changed_in >= \(oldest)::xid8
                    AND (changed_in, message_id) > (\(transaction)::xid8, \(id))
                    AND NOT pg_visible_in_snapshot(changed_in, \(old)::pg_snapshot)
                    AND pg_visible_in_snapshot(changed_in, \(new)::pg_snapshot)
                ORDER BY changed_in, message_id LIMIT \(limit)
                """,
                """
                SELECT changed_in::text::bigint, order_id, buyer_id, client_order_id, sale_id, brand_id, batch, variant,
                    status, reason, accepted_at, decided_at, hold_until, cancelled_at
                FROM orders
                WHERE changed_in >= \(oldest)::xid8
                    AND (changed_in, order_id) > (\(transaction)::xid8, \(id))
                    AND NOT pg_visible_in_snapshot(changed_in, \(old)::pg_snapshot)
                    AND pg_visible_in_snapshot(changed_in, \(new)::pg_snapshot)
                    AND (\(everybody) OR buyer_id = ANY(\(readers)))
                ORDER BY changed_in, order_id LIMIT \(limit)
                """,
            ])
        }
        return ChangePage(try kinds(of: results), limit: limit)
    }

    /// A reader who comes back, and where the stream stood.
    struct Returning: Sendable {
        let reader: AccountID
        let position: StreamPosition
        var place: ChangePlace
    }

    /// What each of the readers missed up to the new position, in pages of `limit` changes of a kind: by reader, in the
    /// order given. Looks into each reader's own conversations, brands and orders, so it costs by what they have and
    /// not by what happened meanwhile.
    func missed(
        by returning: [Returning], to new: StreamPosition, limit: Int
    ) async throws -> [ChangePage] {
        let readers = returning.map(\.reader)
        let places = returning.indices.map { Int32($0) }
        let olds = returning.map(\.position.description)
        let oldests = returning.map { "\(max($0.position.xmin, $0.place.transaction))" }
        let transactions = returning.map { "\($0.place.transaction)" }
        let ids = returning.map(\.place.id)
        let new = new.description
        let kind = MessageSent.Kind.orderStatus.rawValue
        let results = try await postgres.transaction { tx in
            try await tx.pipeline([
                """
                SELECT r.place, m.changed_in::text::bigint, m.message_id, m.conversation_id, m.sequence, m.sender_id,
                    m.recipient_id, m.kind, m.body, m.sale_id, m.order_id, m.sent_at
                FROM unnest(\(places), \(readers), \(olds), \(oldests), \(transactions), \(ids))
                    AS r(place, reader, old, oldest, transaction, id)
                CROSS JOIN LATERAL (
                    SELECT m.* FROM conversations c JOIN messages m USING (conversation_id)
                    WHERE (c.first_id = r.reader OR c.second_id = r.reader)
                        AND c.newest_in >= r.oldest::xid8
                        AND m.changed_in >= r.oldest::xid8
                        AND (m.changed_in, m.message_id) > (r.transaction::xid8, r.id)
                        AND NOT pg_visible_in_snapshot(m.changed_in, r.old::pg_snapshot)
                        AND pg_visible_in_snapshot(m.changed_in, \(new)::pg_snapshot)
                        AND (m.kind <> \(kind) OR m.recipient_id = r.reader)
                    ORDER BY m.changed_in, m.message_id LIMIT \(limit)
                ) m
                ORDER BY r.place, m.changed_in, m.message_id
                """,
                """
                SELECT r.place, p.changed_in::text::bigint, p.message_id, p.brand_id, p.sequence, p.kind, p.body,
                    p.sale_id, p.sent_at
                FROM unnest(\(places), \(readers), \(olds), \(oldests), \(transactions), \(ids))
                    AS r(place, reader, old, oldest, transaction, id)
                CROSS JOIN LATERAL (
                    SELECT p.* FROM posts p
                    WHERE p.changed_in >= r.oldest::xid8
                        AND (p.changed_in, p.message_id) > (r.transaction::xid8, r.id)
                        AND NOT pg_visible_in_snapshot(p.changed_in, r.old::pg_snapshot)
                        AND pg_visible_in_snapshot(p.changed_in, \(new)::pg_snapshot)
                        AND (EXISTS (SELECT FROM follows f WHERE f.account_id = r.reader AND f.brand_id = p.brand_id)
                            OR EXISTS (SELECT FROM orders o WHERE o.buyer_id = r.reader AND o.sale_id = p.sale_id))
                    ORDER BY p.changed_in, p.message_id LIMIT \(limit)
                ) p
                ORDER BY r.place, p.changed_in, p.message_id
                """,
                """
                SELECT r.place, o.changed_in::text::bigint, o.order_id, o.buyer_id, o.client_order_id, o.sale_id,
                    o.brand_id, o.batch, o.variant, o.status, o.reason, o.accepted_at, o.decided_at, o.hold_until,
                    o.cancelled_at
                FROM unnest(\(places), \(readers), \(olds), \(oldests), \(transactions), \(ids))
                    AS r(place, reader, old, oldest, transaction, id)
                CROSS JOIN LATERAL (
                    SELECT o.* FROM orders o
                    WHERE o.buyer_id = r.reader
                        AND (o.changed_in, o.order_id) > (r.transaction::xid8, r.id)
                        AND NOT pg_visible_in_snapshot(o.changed_in, r.old::pg_snapshot)
                        AND pg_visible_in_snapshot(o.changed_in, \(new)::pg_snapshot)
                    ORDER BY o.changed_in, o.order_id LIMIT \(limit)
                ) o
                ORDER BY r.place, o.changed_in, o.order_id
                """,
            ])
        }
        var kinds = [[[StreamChange]]](repeating: [[], [], []], count: returning.count)
        for (kind, rows) in results.enumerated() {
            for row in rows {
                let place = Int(try row.get(0, as: Int32.self))
                kinds[place][kind].append(try change(kind, row, from: 1, reader: returning[place].reader))
            }
        }
        return kinds.map { ChangePage($0, limit: limit) }
    }

    private func kinds(of results: [Rows]) throws(PostgresError) -> [[StreamChange]] {
        var kinds: [[StreamChange]] = []
        for (kind, rows) in results.enumerated() {
            kinds.append(
                try rows.mapped { (row) throws(PostgresError) in try change(kind, row, from: 0, reader: nil) })
        }
        return kinds
    }

    private func change(
        _ kind: Int, _ row: Row, from first: Int, reader: AccountID?
    ) throws(PostgresError) -> StreamChange {
        let subject: StreamChange.Subject =
            switch kind {
            case 0: .message(try MessageStorage.message(row, from: first + 1))
            case 1: .post(try BrandStorage.post(row, from: first + 1))
            default: .order(try OrderStorage.order(row, from: first + 1))
            }
        return StreamChange(
            transaction: UInt64(try row.get(first, as: Int64.self)), subject: subject, reader: reader)
    }
}
