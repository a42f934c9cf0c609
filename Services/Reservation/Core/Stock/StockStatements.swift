// The stocks: opened from a sale, leased to partitions, given back by orders that end, passed on to who waits.
import EventPipeline
import Models
import Postgres

/// An order that changed its state, with what its events repeat.
struct ChangedOrder: Sendable {
    let line: OrderLine
    let holdUntil: Timestamp?
    let price: Money
}

/// A stock as a transaction holds it locked, with its leases.
struct LockedStock: Sendable {
    var stock: LeasedStock
    /// Nobody is promoted and nobody waits any more.
    let isClosed: Bool
}

struct StockStorage: Sendable {
    /// Orders of a stock that are promoted, or whose waiting is ended, in one transaction.
    static let changedMax: Int64 = 5000
    /// The outbox streams of the decisions, without the partition.
    static let decisionStreams = "orders/\(Topic.orders.name)/"
    /// An order that came before the end may be decided this much later.
    private static let lateSeconds: Int64 = 86_400

    /// Takes a sale's supply over: new stocks get all of it, known ones what was added since. A revision that was taken
    /// over before changes nothing but the end of a batch, for a sale that was withdrawn may be published again as it was.
    /// A supply that shrank takes what is left in the pool, no more, and so does a waitlist.
    /// - Returns: what had sold out and has supply again.
    func take(_ sale: Sale, at now: Timestamp, _ transaction: Transaction) async throws -> [Availability] {
        var batches: [Int32] = []
        var variants: [String] = []
        var units: [Int64] = []
        var prices: [Int64] = []
        var currencies: [String] = []
        var ends: [Timestamp?] = []
        for batch in sale.batches {
            for line in batch.lines {
                batches.append(Int32(batch.number))
                variants.append(line.variant)
                units.append(line.units)
                prices.append(line.price.amount)
                currencies.append(line.price.currency.code)
                ends.append(batch.closesAt)
            }
        }
        let before = try await transaction.pipeline([
            """
            SELECT batch, variant, supply, sold_out_at IS NOT NULL AND revision < \(sale.revision), sold_out_count
            FROM stock WHERE sale_id = \(sale.saleId) ORDER BY sale_id, batch, variant FOR UPDATE
            """,
            """
            INSERT INTO stock AS s (sale_id, batch, variant, brand_id, price, currency, hold_seconds, revision, supply,
                pool, places, places_max, closes_at)
            SELECT \(sale.saleId), k.batch, k.variant, \(sale.brandId), k.price, k.currency, \(sale.holdSeconds),
                \(sale.revision), k.units, k.units, \(sale.waitlistMax), \(sale.waitlistMax),
                coalesce(k.closes_at, 'infinity')
            FROM unnest(\(batches), \(variants), \(units), \(prices), \(currencies), \(ends))
                AS k(batch, variant, units, price, currency, closes_at)
            ORDER BY k.batch, k.variant
            ON CONFLICT (sale_id, batch, variant) DO UPDATE SET
                brand_id = excluded.brand_id, price = excluded.price, currency = excluded.currency,
                hold_seconds = excluded.hold_seconds, revision = excluded.revision,
                supply = s.supply + greatest(excluded.supply - s.supply, -s.pool),
                pool = s.pool + greatest(excluded.supply - s.supply, -s.pool),
                places = greatest(s.places + excluded.places_max - s.places_max, 0),
                places_max = excluded.places_max, closes_at = excluded.closes_at,
                sold_out_at = CASE WHEN excluded.supply > s.supply THEN NULL ELSE s.sold_out_at END,
                returned = excluded.supply <= s.supply AND s.sold_out_at IS NOT NULL
            WHERE s.revision < excluded.revision
                OR (s.revision = excluded.revision AND s.closes_at <> excluded.closes_at)
            """,
        ])[0]
        return try before.compactMap { row in
            let key = StockKey(
                saleId: sale.saleId, batch: Int(try row.get(0, as: Int32.self)), variant: try row.get(1))
            guard try row.get(3, as: Bool.self), let line = sale.batch(key.batch)?.line(key.variant),
                line.units > (try row.get(2, as: Int64.self))
            else { return nil }
            return .available(key, brandId: sale.brandId, at: now, after: try row.get(4))
        }
    }

    /// Ends the batches of a sale that have not ended.
    func close(_ saleId: SaleID, at now: Timestamp, _ transaction: Transaction) async throws {
        _ = try await transaction.pipeline([
            "SELECT batch FROM stock WHERE sale_id = \(saleId) ORDER BY sale_id, batch, variant FOR UPDATE",
            "UPDATE stock SET closes_at = \(now) WHERE sale_id = \(saleId) AND closes_at > \(now)",
        ])
    }

    /// A stock with its leases, locked: the pool first, then the leases by partition. Whoever decides locks its lease
    /// alone and never waits for the pool while it holds it, so the order cannot turn.
    func lock(_ key: StockKey, at now: Timestamp, _ transaction: Transaction) async throws -> LockedStock? {
        let results = try await transaction.pipeline([
            """
            SELECT pool, places, closes_at <= \(now) FROM stock
            WHERE sale_id = \(key.saleId) AND batch = \(Int32(key.batch)) AND variant = \(key.variant) FOR UPDATE
            """,
            """
            SELECT log_partition, units, places FROM leases
            WHERE sale_id = \(key.saleId) AND batch = \(Int32(key.batch)) AND variant = \(key.variant)
            ORDER BY log_partition FOR UPDATE
            """,
        ])
        guard let row = results[0].first else { return nil }
        let leases = try results[1].map {
            Lease(partition: try $0.get(0), units: try $0.get(1), places: try $0.get(2))
        }
        return LockedStock(
            stock: LeasedStock(pool: try row.get(0), places: try row.get(1), leases: leases), isClosed: try row.get(2))
    }

    func save(_ stock: LeasedStock, _ key: StockKey) -> [SQL] {
        [
            """
            UPDATE stock SET pool = \(stock.pool), places = \(stock.places)
            WHERE sale_id = \(key.saleId) AND batch = \(Int32(key.batch)) AND variant = \(key.variant)
            """,
            """
            INSERT INTO leases (sale_id, batch, variant, log_partition, units, places)
            SELECT \(key.saleId), \(Int32(key.batch)), \(key.variant), k.log_partition, k.units, k.places
            FROM unnest(\(stock.leases.map(\.partition)), \(stock.leases.map(\.units)), \(stock.leases.map(\.places)))
                AS k(log_partition, units, places)
            ON CONFLICT (sale_id, batch, variant, log_partition) DO UPDATE SET
                units = excluded.units, places = excluded.places
            """,
        ]
    }

    /// Marks a stock as sold out if it was not yet and nothing is free anywhere, as not sold out if it was and something
    /// is; the caller holds it locked, and nobody waits for what is free. What comes back after the end is not to be had.
    /// - Returns: what is to be said of that.
    func settleAvailability(
        _ key: StockKey, at now: Timestamp, _ transaction: Transaction
    ) async throws -> Availability? {
        let results = try await transaction.pipeline([
            """
            UPDATE stock s SET sold_out_at = \(now), sold_out_count = sold_out_count + 1
            WHERE sale_id = \(key.saleId) AND batch = \(Int32(key.batch)) AND variant = \(key.variant)
                AND sold_out_at IS NULL AND supply > 0 AND pool = 0
                AND NOT EXISTS (SELECT FROM leases l WHERE (l.sale_id, l.batch, l.variant) = (s.sale_id, s.batch, s.variant)
                    AND l.units > 0)
            RETURNING brand_id, sold_out_count, supply
            """,
            """
            UPDATE stock s SET sold_out_at = NULL
            WHERE sale_id = \(key.saleId) AND batch = \(Int32(key.batch)) AND variant = \(key.variant)
                AND sold_out_at IS NOT NULL AND closes_at > \(now)
                AND (pool > 0 OR EXISTS (SELECT FROM leases l
                    WHERE (l.sale_id, l.batch, l.variant) = (s.sale_id, s.batch, s.variant) AND l.units > 0))
            RETURNING brand_id, sold_out_count
            """,
            """
            UPDATE stock SET returned = false
            WHERE sale_id = \(key.saleId) AND batch = \(Int32(key.batch)) AND variant = \(key.variant) AND returned
            """,
        ])
        if let row = results[0].first {
            return .soldOut(key, brandId: try row.get(0), at: now, number: try row.get(1), units: try row.get(2))
        }
        guard let row = results[1].first else { return nil }
        return .available(key, brandId: try row.get(0), at: now, after: try row.get(1))
    }

    /// Gives up to `units` to the orders that have waited longest, and says how many wait on, up to the units that are
    /// then left. The caller holds the stock locked, and takes the units out of it.
    ///
    /// Decisions leave by the outbox stream of their partition, in which a row begins at the batch's first offset and
    /// is gone when all of it is acknowledged; what is said here leaves by another. An order whose decision may not
    /// have left is passed over and keeps its claim: it is looked at again. The order and the row were committed
    /// together, so one statement sees both or neither.
    /// - Parameter partition: has sent all that it owes.
    func promote(
        _ key: StockKey, units: Int64, at now: Timestamp, sent partition: Int32? = nil, _ transaction: Transaction
    ) async throws -> (orders: [ChangedOrder], waiting: Int64) {
        let results = try await transaction.pipeline([
            """
            WITH chosen AS (
                SELECT order_id FROM orders
                WHERE sale_id = \(key.saleId) AND batch = \(Int32(key.batch)) AND variant = \(key.variant) AND state = 2
                ORDER BY ordered_at, log_partition, log_offset
                LIMIT \(min(units, Self.changedMax)) FOR UPDATE SKIP LOCKED
            ), promoted AS (
                UPDATE orders o SET state = 1, revision = o.revision + 1,
                    hold_until = \(now)::timestamptz + make_interval(secs => s.hold_seconds)
                FROM chosen, stock s
                WHERE o.order_id = chosen.order_id AND (s.sale_id, s.batch, s.variant) = (o.sale_id, o.batch, o.variant)
                    AND (o.log_partition = \(partition ?? -1) OR NOT EXISTS (SELECT FROM outbox b
                        WHERE b.stream = \(Self.decisionStreams)::text || o.log_partition AND b.sequence <= o.log_offset))
                RETURNING o.*, s.brand_id, s.price, s.currency
            )
            SELECT order_id, sale_id, batch, variant, buyer_id, brand_id, hold_until, price, currency, revision, publisher
            FROM promoted ORDER BY ordered_at, log_partition, log_offset
            """,
            """
            SELECT count(*) FROM (SELECT FROM orders
                WHERE sale_id = \(key.saleId) AND batch = \(Int32(key.batch)) AND variant = \(key.variant) AND state = 2
                LIMIT \(units)) waiting
            """,
        ])
        let orders = try results[0].map(ChangedOrder.init(row:))
        let waiting: Int64 = try results[1].first?.get(0) ?? 0
        return (orders, min(waiting, units - Int64(orders.count)))
    }

    /// Locks stocks without their leases, in one order whoever asks.
    static func lockPools(of keys: [StockKey]) -> SQL {
        """
        SELECT s.sale_id FROM stock s
        JOIN unnest(\(keys.map(\.saleId)), \(keys.map { Int32($0.batch) }), \(keys.map(\.variant)))
            AS k(sale_id, batch, variant) USING (sale_id, batch, variant)
        ORDER BY s.sale_id, s.batch, s.variant FOR UPDATE OF s
        """
    }

    /// Puts what orders have let go back into the stocks: units into the pool, places on the waitlist, of which there
    /// are never more than the sale allows.
    func giveBack(units: [StockKey: Int64], places: [StockKey: Int64]) -> [SQL] {
        let keys = Set(units.keys).union(places.keys).sorted {
            ($0.saleId, $0.batch, $0.variant) < ($1.saleId, $1.batch, $1.variant)
        }
        return [
            Self.lockPools(of: keys),
            """
            UPDATE stock s SET pool = s.pool + k.units,
                places = greatest(s.places, least(s.places + k.places, s.places_max)),
                returned = s.returned OR (k.units > 0 AND s.sold_out_at IS NOT NULL)
            FROM unnest(\(keys.map(\.saleId)), \(keys.map { Int32($0.batch) }), \(keys.map(\.variant)),
                \(keys.map { units[$0] ?? 0 }), \(keys.map { places[$0] ?? 0 }))
                AS k(sale_id, batch, variant, units, places)
            WHERE (s.sale_id, s.batch, s.variant) = (k.sale_id, k.batch, k.variant)
            """,
        ]
    }

    /// Stocks that the keeper has something to do for: somebody waits while units are free or after the end, the last unit
    /// is gone and that was not said, or something came back. Costs what is open: the first looks at the first waiting
    /// order of each stock, the second at what has not ended and not sold out, the third at what was noted.
    static func unattended(at now: Timestamp) -> SQL {
        """
        WITH RECURSIVE waiting AS (
            (SELECT sale_id, batch, variant FROM orders WHERE state = 2 ORDER BY sale_id, batch, variant LIMIT 1)
            UNION ALL
            SELECT n.* FROM waiting w CROSS JOIN LATERAL (
                SELECT o.sale_id, o.batch, o.variant FROM orders o
                WHERE o.state = 2 AND (o.sale_id, o.batch, o.variant) > (w.sale_id, w.batch, w.variant)
                ORDER BY o.sale_id, o.batch, o.variant LIMIT 1) n
        )
        SELECT found.* FROM waiting w CROSS JOIN LATERAL (
            SELECT s.sale_id, s.batch, s.variant FROM stock s
            WHERE (s.sale_id, s.batch, s.variant) = (w.sale_id, w.batch, w.variant)
                AND (s.closes_at <= \(now) OR s.pool > 0 OR EXISTS (SELECT FROM leases l
                    WHERE (l.sale_id, l.batch, l.variant) = (s.sale_id, s.batch, s.variant) AND l.units > 0))
            -- One by its key: a join could as well read all that ever was.
            LIMIT 1) found
        UNION
        SELECT s.sale_id, s.batch, s.variant FROM stock s
        WHERE s.sold_out_at IS NULL AND s.closes_at > \(now.adding(seconds: -lateSeconds))
            AND s.pool = 0 AND s.supply > 0 AND NOT EXISTS (SELECT FROM leases l
                WHERE (l.sale_id, l.batch, l.variant) = (s.sale_id, s.batch, s.variant) AND l.units > 0)
        UNION
        SELECT sale_id, batch, variant FROM stock WHERE returned
        """
    }

    func unattended(at now: Timestamp, _ postgres: PostgresPool) async throws -> [StockKey] {
        try await postgres.query(Self.unattended(at: now)).map(StockKey.init(row:))
    }

    /// Stocks that are marked as sold out and have something: a version that did not note what came back ran meanwhile.
    func returnedUnnoted(at now: Timestamp, _ postgres: PostgresPool) async throws -> [StockKey] {
        try await postgres.query(
            """
            SELECT s.sale_id, s.batch, s.variant FROM stock s
            WHERE s.sold_out_at IS NOT NULL AND s.closes_at > \(now) AND (s.pool > 0 OR EXISTS (SELECT FROM leases l
                WHERE (l.sale_id, l.batch, l.variant) = (s.sale_id, s.batch, s.variant) AND l.units > 0))
            """
        ).map(StockKey.init(row:))
    }
}

/// What is to be said of a stock.
enum Availability: Sendable {
    case soldOut(SaleSoldOut, number: Int32)
    case available(SaleAvailable, number: Int32)

    /// - Parameter number: how many times it was said by now. News of a line alternate: the odd revisions say that it sold
    ///   out, the even ones that it is to be had again.
    static func soldOut(
        _ key: StockKey, brandId: BrandID, at time: Timestamp, number: Int32, units: Int64
    ) -> Availability {
        .soldOut(
            SaleSoldOut(
                saleId: key.saleId, batch: key.batch, variant: key.variant, brandId: brandId, soldOutAt: time,
                units: units, lineRevision: 2 * Int(number) - 1), number: number)
    }

    /// - Parameter number: how many times it was said to be sold out.
    static func available(
        _ key: StockKey, brandId: BrandID, at time: Timestamp, after number: Int32
    ) -> Availability {
        .available(
            SaleAvailable(
                saleId: key.saleId, batch: key.batch, variant: key.variant, brandId: brandId, availableAt: time,
                lineRevision: 2 * Int(number)), number: number)
    }
}

extension Row {
    /// From an amount and its currency's code.
    func money(_ amount: Int, _ currency: Int) throws(PostgresError) -> Money {
        Money(try get(amount), try self.currency(currency))
    }
}

extension StockKey {
    /// From `sale_id, batch, variant`.
    init(row: Row) throws {
        self.init(saleId: try row.get(0), batch: Int(try row.get(1, as: Int32.self)), variant: try row.get(2))
    }
}

extension ChangedOrder {
    /// From `order_id, sale_id, batch, variant, buyer_id, brand_id, hold_until, price, currency, revision, publisher`.
    init(row: Row) throws {
        line = OrderLine(
            orderId: try row.get(0), saleId: try row.get(1), batch: Int(try row.get(2, as: Int32.self)),
            variant: try row.get(3), buyerId: try row.get(4), brandId: try row.get(5),
            orderRevision: Int(try row.get(9, as: Int32.self)), publisher: try row.publisher(10))
        holdUntil = try row.get(6)
        price = try row.money(7, 8)
    }

    var key: StockKey { StockKey(saleId: line.saleId, batch: line.batch, variant: line.variant) }
}
