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

struct StockStorage: Sendable {
    /// Takes a sale's supply over: new stocks get all of it, known ones what was added since. A revision that was taken
    /// over before changes nothing. A supply that shrank takes what is left in the pool, no more.
    func take(_ sale: Sale, _ transaction: Transaction) async throws {
        var batches: [Int32] = []
        var variants: [String] = []
        var units: [Int64] = []
        var prices: [Int64] = []
        var currencies: [String] = []
        for batch in sale.batches {
            for line in batch.lines {
                batches.append(Int32(batch.number))
                variants.append(line.variant)
                units.append(line.units)
                prices.append(line.price.amount)
                currencies.append(line.price.currency.code)
            }
        }
        _ = try await transaction.execute(
            """
            INSERT INTO stock AS s (sale_id, batch, variant, brand_id, price, currency, hold_seconds, revision, supply,
                pool, places, places_max)
            SELECT \(sale.saleId), k.batch, k.variant, \(sale.brandId), k.price, k.currency, \(sale.holdSeconds),
                \(sale.revision), k.units, k.units, \(sale.waitlistMax), \(sale.waitlistMax)
            FROM unnest(\(batches), \(variants), \(units), \(prices), \(currencies))
                AS k(batch, variant, units, price, currency)
            ORDER BY k.batch, k.variant
            ON CONFLICT (sale_id, batch, variant) DO UPDATE SET
                brand_id = excluded.brand_id, price = excluded.price, currency = excluded.currency,
                hold_seconds = excluded.hold_seconds, revision = excluded.revision,
                supply = s.supply + greatest(excluded.supply - s.supply, -s.pool),
                pool = s.pool + greatest(excluded.supply - s.supply, -s.pool),
                places = s.places + greatest(excluded.places_max - s.places_max, 0),
                places_max = greatest(excluded.places_max, s.places_max)
            WHERE s.revision < excluded.revision
            """)
    }

    /// A stock with its leases, locked: the pool first, then the leases by partition. Whoever decides locks its lease
    /// alone and never waits for the pool while it holds it, so the order cannot turn.
    func lock(_ key: StockKey, _ transaction: Transaction) async throws -> LeasedStock? {
        let results = try await transaction.pipeline([
            """
            SELECT pool, places FROM stock
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
        return LeasedStock(pool: try row.get(0), places: try row.get(1), leases: leases)
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

    /// Marks a stock as sold out if it was not yet and nothing is free anywhere; the caller holds it locked.
    func markSoldOut(_ key: StockKey, _ transaction: Transaction) async throws -> SaleSoldOut? {
        let rows = try await transaction.query(
            """
            UPDATE stock s SET sold_out_at = now()
            WHERE sale_id = \(key.saleId) AND batch = \(Int32(key.batch)) AND variant = \(key.variant)
                AND sold_out_at IS NULL AND supply > 0 AND pool = 0
                AND NOT EXISTS (SELECT 1 FROM leases l WHERE (l.sale_id, l.batch, l.variant) = (s.sale_id, s.batch, s.variant)
                    AND l.units > 0)
            RETURNING brand_id, sold_out_at
            """)
        guard let row = rows.first else { return nil }
        return SaleSoldOut(
            saleId: key.saleId, batch: key.batch, variant: key.variant, brandId: try row.get(0),
            soldOutAt: try row.get(1))
    }

    /// Passes free units of the pool on to the orders that have waited longest.
    func promote(_ key: StockKey, _ transaction: Transaction) async throws -> [ChangedOrder] {
        let rows = try await transaction.query(
            """
            WITH free AS (
                SELECT pool, hold_seconds FROM stock
                WHERE sale_id = \(key.saleId) AND batch = \(Int32(key.batch)) AND variant = \(key.variant) AND pool > 0
                FOR UPDATE
            ), chosen AS (
                SELECT order_id FROM orders
                WHERE sale_id = \(key.saleId) AND batch = \(Int32(key.batch)) AND variant = \(key.variant) AND state = 2
                ORDER BY ordered_at, log_partition, log_offset
                LIMIT (SELECT least(pool, 5000) FROM free) FOR UPDATE SKIP LOCKED
            ), promoted AS (
                UPDATE orders o SET state = 1, revision = o.revision + 1,
                    hold_until = now() + make_interval(secs => free.hold_seconds)
                FROM chosen, free WHERE o.order_id = chosen.order_id
                RETURNING o.*
            ), taken AS (
                UPDATE stock SET pool = stock.pool - (SELECT count(*) FROM promoted)
                WHERE sale_id = \(key.saleId) AND batch = \(Int32(key.batch)) AND variant = \(key.variant)
                    AND EXISTS (SELECT 1 FROM promoted)
                RETURNING 1
            )
            SELECT o.order_id, o.sale_id, o.batch, o.variant, o.buyer_id, s.brand_id, o.hold_until, s.price, s.currency,
                o.revision
            FROM promoted o JOIN stock s USING (sale_id, batch, variant)
            ORDER BY o.ordered_at, o.log_partition, o.log_offset
            """)
        return try rows.map(ChangedOrder.init(row:))
    }

    /// Puts the units of released orders back into their pools.
    func giveBack(_ units: [StockKey: Int64]) -> SQL {
        let keys = units.keys.sorted { ($0.saleId, $0.batch, $0.variant) < ($1.saleId, $1.batch, $1.variant) }
        return """
            UPDATE stock s SET pool = pool + k.units
            FROM (SELECT s.sale_id, s.batch, s.variant, k.units FROM stock s
                JOIN unnest(\(keys.map(\.saleId)), \(keys.map { Int32($0.batch) }), \(keys.map(\.variant)),
                    \(keys.map { units[$0] ?? 0 })) AS k(sale_id, batch, variant, units) USING (sale_id, batch, variant)
                ORDER BY s.sale_id, s.batch, s.variant FOR UPDATE OF s) k
            WHERE (s.sale_id, s.batch, s.variant) = (k.sale_id, k.batch, k.variant)
            """
    }

    /// Stocks that the keeper has something to do for: somebody waits while units are free, or the last is gone and
    /// that was not said.
    func unattended(_ postgres: PostgresPool) async throws -> [StockKey] {
        try await postgres.query(
            """
            SELECT sale_id, batch, variant FROM (
                SELECT s.*, (SELECT coalesce(sum(l.units), 0) FROM leases l
                    WHERE (l.sale_id, l.batch, l.variant) = (s.sale_id, s.batch, s.variant)) AS leased
                FROM stock s) s
            WHERE (pool + leased = 0 AND supply > 0 AND sold_out_at IS NULL)
                OR (pool + leased > 0 AND EXISTS (SELECT 1 FROM orders o
                    WHERE (o.sale_id, o.batch, o.variant) = (s.sale_id, s.batch, s.variant) AND o.state = 2))
            """
        ).map { StockKey(saleId: try $0.get(0), batch: Int(try $0.get(1, as: Int32.self)), variant: try $0.get(2)) }
    }
}

extension ChangedOrder {
    /// From `order_id, sale_id, batch, variant, buyer_id, brand_id, hold_until, price, currency, revision`.
    init(row: Row) throws {
        line = OrderLine(
            orderId: try row.get(0), saleId: try row.get(1), batch: Int(try row.get(2, as: Int32.self)),
            variant: try row.get(3), buyerId: try row.get(4), brandId: try row.get(5),
            orderRevision: Int(try row.get(9, as: Int32.self)))
        holdUntil = try row.get(6)
        price = Money(try row.get(7), Currency(try row.get(8, as: String.self)) ?? .cny)
    }

    var key: StockKey { StockKey(saleId: line.saleId, batch: line.batch, variant: line.variant) }
}
