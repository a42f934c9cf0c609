// Deletes what is long over, so that a database does not grow with every sale that ever was.
import Models
import Postgres
import Runtime

/// Runs a service's deletions once a minute. Each takes `rowsMax` rows at most, those that nobody else has locked, so that
/// it is short and several instances do not wait for each other.
public final class Forgetting: Component {
    public let name = "forgetting"

    public static let rowsMax: Int64 = 10_000
    /// By the database's clock: one that a service's host puts forward costs nothing.
    public static let daysKept = Int32(Retention.endedOrderDays)

    private let running: Periodic

    public init(_ context: ServiceContext, _ deletions: [SQL]) {
        let postgres = context.postgres
        running = .watched(name, every: .seconds(60), context) {
            for deletion in deletions { try await postgres.execute(deletion) }
        }
    }

    public func start() async throws { running.start() }

    public func stop() async { await running.stop() }
}
