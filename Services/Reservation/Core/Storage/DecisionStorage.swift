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

    /// What a batch finds, its leases and the orders that it may end locked.
    struct Situation: Sendable {
        /// A stock that is not there yet has no entry.
        var stocks: [StockKey: Found] = [:]
        /// Orders of the batch, or named by its cancellations, that have a row.
        var decided: Set<OrderID> = []
        /// Those that its cancellations name and that are not over.
        var live: [OrderID: LiveOrder] = [:]
        /// Those that they name and that are over.
        var over: Set<OrderID> = []
        /// Orders whose cancellations were there first.
        var cancelled: Set<OrderOfBuyer> = []
        /// Whose memory of this partition's refusals is complete, and the offset of the last of them.
        var refused: (holder: Identifier<RefusedOrders>, through: Int64)?
    }

    /// One round trip, two where there are cancellations. They lock their orders first, then the pools that they go back
    /// to, then the leases: whoever holds a lease never waits for a pool.
    func begin(
        _ keys: [StockKey], partition: Int32, orders: [OrderID], cancellations: [CancellationInLog],
        _ transaction: Transaction
    ) async throws -> Situation {
        var situation = Situation()
        var pools: Set<StockKey> = []
        var opening = [EarlyCancellations.beginDecision]
        if !cancellations.isEmpty {
            let results = try await transaction.pipeline(
                opening + [
                    """
                    SELECT order_id, buyer_id, sale_id, batch, variant, state, publisher FROM orders
                    WHERE order_id = ANY(\(cancellations.map(\.order.orderId))) ORDER BY order_id FOR UPDATE
                    """
                ])
            opening = []
            for row in results[1] {
                let (id, state): (OrderID, Int16) = (try row.get(0), try row.get(5))
                situation.decided.insert(id)
                guard state != OrderState.released else {
                    situation.over.insert(id)
                    continue
                }
                let key = StockKey(
                    saleId: try row.get(2), batch: Int(try row.get(3, as: Int32.self)), variant: try row.get(4))
                situation.live[id] = LiveOrder(
                    buyer: SaleBuyer(saleId: key.saleId, buyerId: try row.get(1)), key: key,
                    hasUnit: state != OrderState.waitlisted, publisher: try row.publisher(6))
                pools.insert(key)
            }
        }
        let saleIds = keys.map(\.saleId)
        let batches = keys.map { Int32($0.batch) }
        let variants = keys.map(\.variant)
        // Most batches cancel nothing that holds something.
        if !pools.isEmpty { opening.append(StockStorage.lockPools(of: Array(pools))) }
        let statements: [SQL] = [
            """
            SELECT l.sale_id FROM leases l
            JOIN unnest(\(saleIds), \(batches), \(variants)) AS k(sale_id, batch, variant) USING (sale_id, batch, variant)
            WHERE l.log_partition = \(partition)
            ORDER BY l.sale_id, l.batch, l.variant FOR UPDATE OF l
            """,
            """
            SELECT s.sale_id, s.batch, s.variant, s.revision, s.pool, s.places,
                l.units, l.places, l.units_elsewhere, l.places_elsewhere
            FROM unnest(\(saleIds), \(batches), \(variants)) AS k(sale_id, batch, variant)
            JOIN stock s USING (sale_id, batch, variant)
            CROSS JOIN LATERAL (
                SELECT coalesce(sum(units) FILTER (WHERE log_partition = \(partition)), 0)::bigint AS units,
                    coalesce(sum(places) FILTER (WHERE log_partition = \(partition)), 0)::bigint AS places,
                    coalesce(sum(units) FILTER (WHERE log_partition <> \(partition)), 0)::bigint AS units_elsewhere,
                    coalesce(sum(places) FILTER (WHERE log_partition <> \(partition)), 0)::bigint AS places_elsewhere
                FROM leases WHERE (sale_id, batch, variant) = (s.sale_id, s.batch, s.variant)
            ) l
            """,
            "SELECT order_id FROM orders WHERE order_id = ANY(\(orders))",
            "SELECT order_id, buyer_id, publisher FROM early_cancellations WHERE order_id = ANY(\(orders))",
            "SELECT holder, through FROM refused_memory WHERE log_partition = \(partition)",
        ]
        let results = Array(try await transaction.pipeline(opening + statements).dropFirst(opening.count))
        for row in results[1] {
            let key = StockKey(
                saleId: try row.get(0), batch: Int(try row.get(1, as: Int32.self)), variant: try row.get(2))
            let view = StockView(
                units: try row.get(6), places: try row.get(7),
                unitsElsewhere: try row.get(4, as: Int64.self) + row.get(8, as: Int64.self),
                placesElsewhere: try row.get(5, as: Int64.self) + row.get(9, as: Int64.self))
            situation.stocks[key] = Found(view: view, revision: try row.get(3))
        }
        for row in results[2] { situation.decided.insert(try row.get(0)) }
        for row in results[3] {
            situation.cancelled.insert(
                OrderOfBuyer(orderId: try row.get(0), buyerId: try row.get(1), publisher: try row.publisher(2)))
        }
        if let row = results[4].first { situation.refused = (try row.get(0), try row.get(1)) }
        return situation
    }

    /// The terms of stocks whose sales are not published any more, as they were taken over last.
    func formerTerms(_ keys: [StockKey], _ transaction: Transaction) async throws -> [StockKey: Terms] {
        let rows = try await transaction.query(
            """
            SELECT s.sale_id, s.batch, s.variant, s.brand_id, s.price, s.currency, s.hold_seconds FROM stock s
            JOIN unnest(\(keys.map(\.saleId)), \(keys.map { Int32($0.batch) }), \(keys.map(\.variant)))
                AS k(sale_id, batch, variant) USING (sale_id, batch, variant)
            """)
        var terms: [StockKey: Terms] = [:]
        for row in rows {
            terms[try StockKey(row: row)] = Terms(
                brandId: try row.get(3), price: try row.money(4, 5), holdSeconds: try row.get(6),
                opensAt: .distantPast, closesAt: .distantPast)
        }
        return terms
    }

    /// Buyers who are served already: asked only while there is something to give.
    func served(_ orders: [OrderPlaced], _ transaction: Transaction) async throws -> Set<SaleBuyer> {
        let rows = try await transaction.query(
            """
            SELECT o.sale_id, o.buyer_id FROM unnest(\(orders.map(\.saleId)), \(orders.map(\.buyerId))) AS k(sale_id, buyer_id)
            -- OFFSET: looked up for each key, also where the planner knew the table when it was empty.
            CROSS JOIN LATERAL (
                SELECT sale_id, buyer_id FROM orders
                WHERE sale_id = k.sale_id AND buyer_id = k.buyer_id AND state < 4 OFFSET 0) o
            """)
        var served: Set<SaleBuyer> = []
        for row in rows { served.insert(SaleBuyer(saleId: try row.get(0), buyerId: try row.get(1))) }
        return served
    }

    /// The orders that a partition refused last, at least `RefusedMemory.countMin` if there are as many.
    func refused(_ partition: Int32, _ transaction: Transaction) async throws -> [OrderID] {
        let bytesMin = Int64(RefusedMemory.countMin * PackedIdentifiers.bytesEach)
        let rows = try await transaction.query(
            """
            SELECT order_ids FROM (
                SELECT first_offset, order_ids, octet_length(order_ids) AS size,
                    sum(octet_length(order_ids)) OVER (ORDER BY first_offset DESC, sale_id, batch, variant) AS upto
                FROM (SELECT first_offset, sale_id, batch, variant, order_ids FROM refusals
                    WHERE log_partition = \(partition)
                    ORDER BY first_offset DESC LIMIT \(Int64(RefusedMemory.countMin))) AS last
            ) AS counted
            WHERE upto - size < \(bytesMin) ORDER BY first_offset
            """)
        return try rows.flatMap { PackedIdentifiers.unpack(try $0.get(0)) }
    }

    /// Notes whose memory of the partition's refusals is complete.
    func hold(_ holder: Identifier<RefusedOrders>, _ partition: Int32, through: Int64) -> SQL {
        """
        INSERT INTO refused_memory (log_partition, holder, through) VALUES (\(partition), \(holder), \(through))
        ON CONFLICT (log_partition) DO UPDATE SET holder = excluded.holder, through = excluded.through
        """
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
        let kept = outcomes.indices.filter { outcomes[$0].state != nil }
        if !kept.isEmpty {
            statements.append(
                """
                INSERT INTO orders (order_id, sale_id, buyer_id, batch, variant, state, log_partition, log_offset,
                    ordered_at, hold_until, publisher)
                SELECT order_id, sale_id, buyer_id, batch, variant, state, \(partition), log_offset, ordered_at, hold_until,
                    publisher
                FROM unnest(\(kept.map { orders[$0].order.orderId }), \(kept.map { orders[$0].order.saleId }),
                    \(kept.map { orders[$0].order.buyerId }), \(kept.map { Int32(orders[$0].order.batch) }),
                    \(kept.map { orders[$0].order.variant }),
                    \(kept.compactMap { outcomes[$0].state }),
                    \(kept.map { orders[$0].offset }), \(kept.map { orders[$0].time }), \(kept.map { holdUntil[$0] }),
                    \(kept.map { orders[$0].publisher?.text }))
                    AS k(order_id, sale_id, buyer_id, batch, variant, state, log_offset, ordered_at, hold_until, publisher)
                -- A buyer's orders on two partitions meet in the index: two transactions meet them in one order.
                ORDER BY sale_id, buyer_id
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

extension Outcome {
    /// `orders.state` of a new order; nil where it gets no row.
    fileprivate var state: Int16? {
        switch self {
        case .reserved: OrderState.reserved
        case .waitlisted: OrderState.waitlisted
        case .cancelled: OrderState.released
        case .none, .soldOut, .limitReached, .notOpen, .closed: nil
        }
    }
}

/// Identifiers one after the other, 16 bytes each, high byte first.
enum PackedIdentifiers {
    static let bytesEach = 16

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
