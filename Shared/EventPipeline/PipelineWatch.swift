// What a service owes to Kafka, as a metric: rows that stay in the outbox are records that nobody gets.
import Observability
import Postgres
import Runtime
import ServiceKit
import Synchronization

/// Looks at the service's outbox now and then. Every instance tells of the same table: take the greatest, not the sum.
public final class PipelineWatch: Component {
    public let name = "pipeline watch"

    private static let interval = Duration.seconds(5)

    private let watching: Periodic

    /// In an object of its own, because the metrics' readers hold it too.
    private final class Seen: Sendable {
        /// Nil while Postgres cannot be asked: then nothing is told.
        let outbox = Mutex<(rows: Double, oldestSeconds: Double)?>(nil)
    }

    public init(_ context: ServiceContext) {
        let seen = Seen()
        let postgres = context.postgres
        watching = .watched(name, every: Self.interval, context) {
            do {
                let outbox = try await Self.look(postgres)
                seen.outbox.withLock { $0 = outbox }
            } catch {
                seen.outbox.withLock { $0 = nil }
                throw error
            }
        }
        context.metrics.observed(
            "stampede_outbox_rows", help: "Committed batches and commands whose records are not known to be published"
        ) { seen.outbox.withLock { $0?.rows } }
        context.metrics.observed("stampede_outbox_oldest_seconds", help: "Age of the oldest row of the outbox") {
            seen.outbox.withLock { $0?.oldestSeconds }
        }
    }

    public func start() async throws { watching.start() }

    public func stop() async { await watching.stop() }

    private static func look(_ postgres: PostgresPool) async throws -> (rows: Double, oldestSeconds: Double) {
        let rows = try await postgres.query(
            """
            SELECT count(*), coalesce(greatest(extract(epoch FROM clock_timestamp() - min(created_at)), 0), 0)::float8
            -- Reads more: counts what is not published yet; commands bound that by bytes, partitions by batches.
            FROM outbox
            """)
        return (Double(try rows[0].get(0, as: Int64.self)), try rows[0].get(1))
    }
}
