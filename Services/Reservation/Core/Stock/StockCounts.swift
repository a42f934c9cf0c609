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
        try StockLevelStatements.countRow.all(try await postgres.query(StockLevelStatements.counts(of: saleId)))
    }
}
