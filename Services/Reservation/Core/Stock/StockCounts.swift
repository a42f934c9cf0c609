// The counts of a sale's stocks, taken at most once a second however many ask.
import Models
import Postgres
import Synchronization

final class StockCounts: Sendable {
    private static let fresh = Duration.seconds(1)
    private static let salesMax = 1000

    private let postgres: PostgresPool
    private let now: @Sendable () -> ContinuousClock.Instant
    private let known = Mutex<[SaleID: Entry]>([:])

    private struct Entry {
        let task: Task<[StockCount], any Error>
        let until: ContinuousClock.Instant
    }

    /// - Parameter now: monotonic: a wall clock that is put back would keep an answer for as long.
    init(
        _ postgres: PostgresPool, now: @escaping @Sendable () -> ContinuousClock.Instant = { .now }
    ) {
        self.postgres = postgres
        self.now = now
    }

    /// One line a stock, by batch and variant; none for a sale that is not known here.
    func of(_ saleId: SaleID) async throws -> [StockCount] {
        let time = now()
        let task = known.withLock { known in
            if let entry = known[saleId], entry.until > time { return entry.task }
            if known.count >= Self.salesMax { known = known.filter { $0.value.until > time } }
            let task = Task { try await self.count(saleId) }
            known[saleId] = Entry(task: task, until: time + Self.fresh)
            return task
        }
        return try await task.value
    }

    private func count(_ saleId: SaleID) async throws -> [StockCount] {
        try await postgres.query(
            """
            SELECT s.batch, s.variant, s.supply, s.pool + coalesce(l.units, 0)::bigint, coalesce(o.reserved, 0),
                coalesce(o.sold, 0), coalesce(o.waiting, 0), s.sold_out_at
            FROM stock s
            LEFT JOIN (SELECT batch, variant, sum(units)::bigint AS units FROM leases WHERE sale_id = \(saleId)
                GROUP BY batch, variant) l USING (batch, variant)
            LEFT JOIN (SELECT batch, variant, count(*) FILTER (WHERE state = 1) AS reserved,
                    count(*) FILTER (WHERE state = 3) AS sold, count(*) FILTER (WHERE state = 2) AS waiting
                FROM orders WHERE sale_id = \(saleId) AND state < 4 GROUP BY batch, variant) o USING (batch, variant)
            WHERE s.sale_id = \(saleId) ORDER BY s.batch, s.variant
            """
        ).map {
            StockCount(
                batch: Int(try $0.get(0, as: Int32.self)), variant: try $0.get(1), supply: try $0.get(2),
                free: try $0.get(3), reserved: try $0.get(4), sold: try $0.get(5), waiting: try $0.get(6),
                soldOutAt: try $0.get(7))
        }
    }
}
