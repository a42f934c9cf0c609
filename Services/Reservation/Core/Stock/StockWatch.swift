// What is left of the sales that go on, as metrics.
import Models
import Observability
import Postgres
import Runtime
import ServiceKit
import Synchronization

/// Looks at the stocks every few seconds. Every instance tells of the same table: take the greatest, not the sum.
final class StockWatch: Component {
    let name = "stock watch"

    private static let interval = Duration.seconds(2)
    /// A stock is told of for this long after it sold out or closed.
    private static let endedSeconds: Int64 = 3600
    /// The newest stocks: labels have a bound.
    private static let stocksMax: Int32 = 100

    private struct Line: Sendable {
        let labels: [String: String]
        let supply: Double
        let pool: Double
        let leased: Double
        let places: Double
    }

    private let watching: Periodic

    /// In an object of its own, because the metrics' readers hold it too.
    private final class Seen: Sendable {
        /// Nothing is told while Postgres cannot be asked.
        let lines = Mutex<[Line]>([])
    }

    init(_ context: ServiceContext) {
        let now = context.now
        let seen = Seen()
        let postgres = context.postgres
        watching = .watched(name, every: Self.interval, context) {
            do {
                let lines = try await Self.look(postgres, endedAfter: now().adding(seconds: -Self.endedSeconds))
                seen.lines.withLock { $0 = lines }
            } catch {
                seen.lines.withLock { $0 = [] }
                throw error
            }
        }
        func tell(_ name: String, _ help: String, _ value: @escaping @Sendable (Line) -> Double) {
            context.metrics.collected(name, help: help) {
                seen.lines.withLock { $0 }.map { ($0.labels, value($0)) }
            }
        }
        tell("stampede_stock_supply_units", "Units that the sale offers of a variant") { $0.supply }
        tell("stampede_stock_pool_units", "Units that are neither leased to a partition nor with an order") { $0.pool }
        tell("stampede_stock_leased_units", "Units that partitions may give away and have not yet") { $0.leased }
        tell("stampede_stock_waitlist_places", "Places on the waitlist that are not taken") { $0.places }
    }

    func start() async throws { watching.start() }

    func stop() async { await watching.stop() }

    private static func look(_ postgres: PostgresPool, endedAfter since: Timestamp) async throws -> [Line] {
        try await postgres.query(
            """
            SELECT s.sale_id::text, s.batch, s.variant, s.supply, s.pool, coalesce(l.units, 0), s.places + coalesce(l.places, 0)
            FROM (
                SELECT * FROM stock WHERE sold_out_at IS NULL AND closes_at > \(since)
                UNION ALL
                SELECT * FROM stock WHERE sold_out_at > \(since)
                ORDER BY sale_id DESC, batch, variant LIMIT \(stocksMax)
            ) s
            LEFT JOIN LATERAL (SELECT sum(units)::bigint AS units, sum(places)::bigint AS places FROM leases
                WHERE (sale_id, batch, variant) = (s.sale_id, s.batch, s.variant)) l ON true
            ORDER BY 1, 2, 3
            """
        ).map { row in
            Line(
                labels: [
                    "sale": try row.get(0), "batch": "\(try row.get(1, as: Int32.self))", "variant": try row.get(2),
                ],
                supply: Double(try row.get(3, as: Int64.self)), pool: Double(try row.get(4, as: Int64.self)),
                leased: Double(try row.get(5, as: Int64.self)), places: Double(try row.get(6, as: Int64.self)))
        }
    }
}
