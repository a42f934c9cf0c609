// What every service needs to be there before it starts: its Postgres schema, and Kafka with the topics it names.
import Kafka
import Models
import Observability
import Postgres
import Synchronization

/// Connects to Postgres and brings the service's schema up to date; then keeps an eye on it, for readiness.
final class PostgresDependency: Component {
    let name = "postgres"
    private let pool: PostgresPool
    private let schema: String
    private let migrations: [Migration]
    private let log: Logger
    private let isReachable = Mutex(true)
    private let watching = Mutex<Task<Void, Never>?>(nil)

    init(_ pool: PostgresPool, schema: String, migrations: [Migration], log: Logger) {
        self.pool = pool
        self.schema = schema
        self.migrations = migrations
        self.log = log
    }

    var isReady: Bool { isReachable.withLock { $0 } }

    func start() async throws {
        try await pool.ping()
        if !migrations.isEmpty { try await pool.migrate(schema: schema, migrations) }
        watching.withLock { $0 = Task { await watch() } }
    }

    func stop() async { watching.withLock { $0 }?.cancel() }

    /// Only a connection that cannot be made counts: a pool that is busy is not away.
    private func watch() async {
        while (try? await Task.sleep(for: .seconds(3))) != nil {
            var reason: String?
            do {
                try await pool.ping()
            } catch {
                if error.isConnectionFailure { reason = error.description }
            }
            let isReachableNow = reason == nil
            let wasReachable = isReachable.withLock { reachable in
                defer { reachable = isReachableNow }
                return reachable
            }
            if wasReachable && !isReachableNow {
                log.error("Postgres is away", ["error": reason ?? ""])
            } else if !wasReachable && isReachableNow {
                log.info("Postgres is back")
            }
        }
    }
}

/// Reaches the Kafka cluster and finds the topics.
final class KafkaDependency: Component {
    let name = "kafka"
    private let configuration: KafkaConfiguration
    private let topics: [Topic]

    init(_ configuration: KafkaConfiguration, topics: [Topic]) {
        self.configuration = configuration
        self.topics = topics
    }

    func start() async throws {
        let admin = try KafkaAdmin(configuration)
        _ = try await admin.clusterID()
        guard !topics.isEmpty else { return }
        // All are asked for: asking for one by its name would make some brokers create it, as it should not be.
        let there = Set(try await admin.describe().map(\.name))
        let missing = topics.map(\.name).filter { !there.contains($0) }
        guard missing.isEmpty else {
            throw NotThereYet(
                description:
                    "Kafka has no topic \(missing.joined(separator: ", ")): make them by `stampede topics create`")
        }
    }

    func stop() async {}
}
