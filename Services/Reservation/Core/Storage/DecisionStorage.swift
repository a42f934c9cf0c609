// What a decision reads and writes, in the transaction of its batch.
import EventPipeline
import Models
import Postgres

struct DecisionStorage: Sendable {
    /// A stock as a batch finds it.
    struct Found: Sendable {
        let view: StockView
        let revision: Int64
    }

    /// The stocks' state, this partition's leases locked, and which of the orders were decided before. One round trip.
    /// A stock that is not there yet has no entry.
    func begin(
        _ keys: [StockKey], partition: Int32, orders: [OrderID], _ transaction: Transaction
    ) async throws -> (stocks: [StockKey: Found], decided: Set<OrderID>) {
        let saleIds = keys.map(\.saleId)
        let batches = keys.map { Int32($0.batch) }
        let variants = keys.map(\.variant)
        let results = try await transaction.pipeline([
            """
            SELECT l.sale_id FROM leases l
            JOIN unnest(\(saleIds), \(batches), \(variants)) AS k(sale_id, batch, variant) USING (sale_id, batch, variant)
            WHERE l.log_partition = \(partition)
            ORDER BY l.sale_id, l.batch, l.variant FOR UPDATE OF l
            """,
            """
            SELECT s.sale_id, s.batch, s.variant, s.revision, s.pool, s.places,
                coalesce(own.units, 0), coalesce(own.places, 0),
                (SELECT coalesce(sum(o.units), 0)::bigint FROM leases o
                 WHERE (o.sale_id, o.batch, o.variant) = (s.sale_id, s.batch, s.variant) AND o.log_partition <> \(partition)),
                (SELECT coalesce(sum(o.places), 0)::bigint FROM leases o
                 WHERE (o.sale_id, o.batch, o.variant) = (s.sale_id, s.batch, s.variant) AND o.log_partition <> \(partition))
            FROM unnest(\(saleIds), \(batches), \(variants)) AS k(sale_id, batch, variant)
            JOIN stock s USING (sale_id, batch, variant)
            LEFT JOIN leases own ON (own.sale_id, own.batch, own.variant) = (s.sale_id, s.batch, s.variant)
                AND own.log_partition = \(partition)
            """,
            "SELECT order_id FROM orders WHERE order_id = ANY(\(orders))",
        ])
        var stocks: [StockKey: Found] = [:]
        for row in results[1] {
            let key = StockKey(
                saleId: try row.get(0), batch: Int(try row.get(1, as: Int32.self)), variant: try row.get(2))
            let view = StockView(
                units: try row.get(6), places: try row.get(7),
                unitsElsewhere: try row.get(4, as: Int64.self) + row.get(8, as: Int64.self),
                placesElsewhere: try row.get(5, as: Int64.self) + row.get(9, as: Int64.self))
            stocks[key] = Found(view: view, revision: try row.get(3))
        }
        var decided: Set<OrderID> = []
        for row in results[2] { decided.insert(try row.get(0)) }
        return (stocks, decided)
    }

    /// Buyers who are served already, and orders that were refused before: asked only while there is something to give.
    func history(
        _ orders: [OrderPlaced], keys: [StockKey], _ transaction: Transaction
    ) async throws -> (served: Set<SaleBuyer>, refused: Set<OrderID>) {
        let ids = orders.map(\.orderId)
        guard let least = ids.min(), let greatest = ids.max() else { return ([], []) }
        let results = try await transaction.pipeline([
            """
            SELECT o.sale_id, o.buyer_id FROM unnest(\(orders.map(\.saleId)), \(orders.map(\.buyerId))) AS k(sale_id, buyer_id)
            JOIN orders o ON o.sale_id = k.sale_id AND o.buyer_id = k.buyer_id AND o.state < 4
            """,
            // Few: IDs of version 7 are made in the order of time, and refusals lie before what comes now.
            """
            SELECT r.order_ids FROM refusals r
            JOIN unnest(\(keys.map(\.saleId)), \(keys.map { Int32($0.batch) }), \(keys.map(\.variant)))
                AS k(sale_id, batch, variant) USING (sale_id, batch, variant)
            WHERE r.order_id_max >= \(least) AND r.order_id_min <= \(greatest)
            """,
        ])
        var served: Set<SaleBuyer> = []
        for row in results[0] { served.insert(SaleBuyer(saleId: try row.get(0), buyerId: try row.get(1))) }
        let asked = Set(ids)
        var refused: Set<OrderID> = []
        for row in results[1] {
            for id: OrderID in PackedIdentifiers.unpack(try row.get(0)) where asked.contains(id) { refused.insert(id) }
        }
        return (served, refused)
    }

    /// The statements that keep a batch's decisions; they go out with the commit.
    func keep(
        _ orders: [OrderInLog], outcomes: [Outcome], holdUntil: [Timestamp?], partition: Int32,
        used: [StockKey: StockView],
        refusals: [Refusal]
    ) -> [SQL] {
        var statements: [SQL] = []
        if !used.isEmpty {
            let keys = Array(used.keys)
            statements.append(
                """
                UPDATE leases l SET units = k.units, places = k.places
                FROM unnest(\(keys.map(\.saleId)), \(keys.map { Int32($0.batch) }), \(keys.map(\.variant)),
                    \(keys.map { used[$0]?.units ?? 0 }), \(keys.map { used[$0]?.places ?? 0 }))
                    AS k(sale_id, batch, variant, units, places)
                WHERE (l.sale_id, l.batch, l.variant) = (k.sale_id, k.batch, k.variant) AND l.log_partition = \(partition)
                """)
        }
        let kept = outcomes.indices.filter { outcomes[$0] == .reserved || outcomes[$0] == .waitlisted }
        if !kept.isEmpty {
            statements.append(
                """
                INSERT INTO orders (order_id, sale_id, buyer_id, batch, variant, state, log_partition, log_offset,
                    ordered_at, hold_until)
                SELECT order_id, sale_id, buyer_id, batch, variant, state, \(partition), log_offset, ordered_at, hold_until
                FROM unnest(\(kept.map { orders[$0].order.orderId }), \(kept.map { orders[$0].order.saleId }),
                    \(kept.map { orders[$0].order.buyerId }), \(kept.map { Int32(orders[$0].order.batch) }),
                    \(kept.map { orders[$0].order.variant }),
                    \(kept.map { outcomes[$0] == .reserved ? OrderState.reserved : OrderState.waitlisted }),
                    \(kept.map { orders[$0].offset }), \(kept.map { orders[$0].time }), \(kept.map { holdUntil[$0] }))
                    AS k(order_id, sale_id, buyer_id, batch, variant, state, log_offset, ordered_at, hold_until)
                """)
        }
        if !refusals.isEmpty {
            statements.append(
                """
                INSERT INTO refusals (sale_id, batch, variant, log_partition, first_offset, last_offset, reason,
                    order_ids, order_id_min, order_id_max)
                SELECT sale_id, batch, variant, \(partition), first_offset, last_offset, reason, order_ids, least, greatest
                FROM unnest(\(refusals.map(\.key.saleId)), \(refusals.map { Int32($0.key.batch) }),
                    \(refusals.map(\.key.variant)), \(refusals.map(\.firstOffset)), \(refusals.map(\.lastOffset)),
                    \(refusals.map(\.reason.rawValue)), \(refusals.map { PackedIdentifiers.pack($0.orderIds) }),
                    \(refusals.map { $0.orderIds.min() }), \(refusals.map { $0.orderIds.max() }))
                    AS k(sale_id, batch, variant, first_offset, last_offset, reason, order_ids, least, greatest)
                """)
        }
        return statements
    }
}

/// `orders.state`.
enum OrderState {
    static let reserved: Int16 = 1
    static let waitlisted: Int16 = 2
    static let confirmed: Int16 = 3
    static let released: Int16 = 4
}

/// Identifiers one after the other, 16 bytes each, high byte first.
enum PackedIdentifiers {
    static func pack<Kind>(_ identifiers: [Identifier<Kind>]) -> [UInt8] {
        var bytes: [UInt8] = []
        bytes.reserveCapacity(identifiers.count * 16)
        for identifier in identifiers {
            for half in [identifier.high, identifier.low] {
                for shift in stride(from: 56, through: 0, by: -8) {
                    bytes.append(UInt8(truncatingIfNeeded: half >> UInt64(shift)))
                }
            }
        }
        return bytes
    }

    static func unpack<Kind>(_ bytes: [UInt8]) -> [Identifier<Kind>] {
        stride(from: 0, to: bytes.count - bytes.count % 16, by: 16).map { start in
            func half(_ start: Int) -> UInt64 { bytes[start..<start + 8].reduce(0) { $0 << 8 | UInt64($1) } }
            return Identifier(high: half(start), low: half(start + 8))
        }
    }
}
