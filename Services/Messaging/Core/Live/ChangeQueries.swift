// Reads what is new, in the order in which readers are told of it.
import Models
import Postgres

/// Reads are made in two steps: first a snapshot, then what that snapshot includes and the last one did not. So what is
/// given out with a position is exactly what lies between two positions, whatever commits meanwhile.
struct ChangeQueries: Sendable {
    let postgres: PostgresPool

    /// What one reader missed is looked for no longer than this.
    private static let missedSecondsMax = 3

    /// Where the schema stands.
    func currentPosition() async throws -> StreamPosition {
        let rows = try await postgres.query(ChangeStatements.position)
        guard let position = try ChangeStatements.positionRow.first(rows) else { throw UnreadablePosition(text: "") }
        return position
    }

    /// What is new between two positions, for anybody.
    func changes(
        from old: StreamPosition, to new: StreamPosition, after place: ChangePlace, limit: Int
    ) async throws -> ChangePage {
        let span = ChangeStatements.Span(from: old, to: new, after: place, countMax: limit)
        let rows = try await postgres.transaction { transaction in
            try await transaction.pipeline([
                ChangeStatements.messages(span), ChangeStatements.posts(span), ChangeStatements.orders(span),
            ])
        }
        return ChangePage(
            [
                try ChangeStatements.messageRow.all(rows[0]).map { row in
                    let ((place, recipient), sender) = row
                    let audience = [recipient] + (sender.map { $0 == recipient ? [] : [$0] } ?? [])
                    return ChangeKey(kind: .message, place: place, audience: audience)
                },
                try ChangeStatements.postRow.all(rows[1]).map { ChangeKey(kind: .post, place: $0, audience: nil) },
                try ChangeStatements.orderRow.all(rows[2]).map { place, buyer in
                    ChangeKey(kind: .order, place: place, audience: [buyer])
                },
            ], limit: limit)
    }

    /// What a reader missed between two positions, in its order.
    /// - Returns: nil where it is more than `countMax`, or takes too long to find.
    func missed(
        by reader: AccountID, from old: StreamPosition, to new: StreamPosition, countMax: Int
    ) async throws -> [ChangeKey]? {
        let missed = ChangeStatements.Missed(by: reader, from: old, to: new, countMax: countMax + 1)
        let rows: [Rows]
        do {
            rows = try await postgres.transaction { transaction in
                try await transaction.pipeline([
                    ChangeStatements.timeout(seconds: Self.missedSecondsMax), ChangeStatements.messages(missed),
                    ChangeStatements.posts(missed), ChangeStatements.orders(missed),
                ])
            }
        } catch let error as PostgresError where error.sqlState == Self.queryCancelled {
            return nil
        }
        let places: [(ChangeKey.Kind, [ChangePlace])] = [
            (.message, try ChangeStatements.missedMessageRow.all(rows[1])),
            (.post, try ChangeStatements.missedPostRow.all(rows[2])),
            (.order, try ChangeStatements.missedOrderRow.all(rows[3])),
        ]
        let keys = places.flatMap { kind, places in
            places.map { ChangeKey(kind: kind, place: $0, audience: [reader]) }
        }
        return keys.count > countMax ? nil : keys.sorted { $0.place < $1.place }
    }

    private static let queryCancelled = "57014"

    /// The changes themselves, in the order given, as they are now. What is gone is left out.
    func load(_ keys: [ChangeKey]) async throws -> [StreamChange] {
        if keys.isEmpty { return [] }
        func ids(_ kind: ChangeKey.Kind) -> [MessageID] { keys.lazy.filter { $0.kind == kind }.map(\.place.id) }
        let (messages, posts) = (ids(.message), ids(.post))
        let orders = ids(.order).map { OrderID(high: $0.high, low: $0.low) }
        let rows = try await postgres.transaction { transaction in
            try await transaction.pipeline([
                MessageStatements.find(messages), PostStatements.find(posts), OrderStatements.find(orders),
            ])
        }
        var subjects: [ChangeKey.Kind: [MessageID: StreamChange.Subject]] = [:]
        for message in try MessageStatements.messageRow.all(rows[0]) {
            subjects[.message, default: [:]][message.messageId] = .message(message)
        }
        for post in try PostStatements.postRow.all(rows[1]) {
            subjects[.post, default: [:]][post.messageId] = .post(post)
        }
        for order in try OrderStatements.orderRow.all(rows[2]) {
            subjects[.order, default: [:]][MessageID(high: order.orderId.high, low: order.orderId.low)] = .order(order)
        }
        return keys.compactMap { key in
            subjects[key.kind]?[key.place.id].map { StreamChange(key: key, subject: $0) }
        }
    }
}
