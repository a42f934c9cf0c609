// What is left of the sales that go on, as metrics.
import Models
import Runtime
import ServiceKit
import Synchronization

/// Looks at the stocks every few seconds. Every instance tells of the same table: take the greatest, not the sum.
final class StockWatch: Component {
    let name = "stock watch"

    private static let interval = Duration.seconds(2)
    /// A stock is told of for this long after it sold out or closed.
    private static let endedSeconds: Int64 = 3600
    private let watching: Periodic

    /// In an object of its own, because the metrics' readers hold it too.
    private final class Seen: Sendable {
        /// Nothing is told while Postgres cannot be asked.
        let lines = Mutex<[StockLevel]>([])
    }

    init(_ context: ServiceContext) {
        let now = context.now
        let seen = Seen()
        let postgres = context.postgres
        watching = .watched(name, every: Self.interval, context) {
            do {
                let lines = try StockLevelStatements.levelRow.all(
                    try await postgres.query(
                        StockLevelStatements.newest(endedAfter: now().adding(seconds: -Self.endedSeconds))))
                seen.lines.withLock { $0 = lines }
            } catch {
                seen.lines.withLock { $0 = [] }
                throw error
            }
        }
        func tell(_ name: String, _ help: String, _ value: @escaping @Sendable (StockLevel) -> Int64) {
            context.metrics.collected(name, help: help) {
                seen.lines.withLock { $0 }.map { ($0.labels, Double(value($0))) }
            }
        }
        tell("stampede_stock_supply_units", "Units that the sale offers of a variant") { $0.supply }
        tell("stampede_stock_pool_units", "Units that are neither leased to a partition nor with an order") { $0.pool }
        tell("stampede_stock_leased_units", "Units that partitions may give away and have not yet") { $0.leased }
        tell("stampede_stock_waitlist_places", "Places on the waitlist that are not taken") { $0.places }
    }

    func start() async throws { watching.start() }

    func stop() async { await watching.stop() }
}
