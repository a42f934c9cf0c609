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
        await keepWatch(.seconds(3), isReachable, log, away: "Postgres is away", back: "Postgres is back") {
            do throws(PostgresError) {
                try await pool.ping()
                return nil
            } catch {
                return error.isConnectionFailure ? error.description : nil
            }
        }
    }
}

/// Reaches the Kafka cluster and finds the topics; then keeps an eye on it, for readiness.
final class KafkaDependency: Component {
    let name = "kafka"
    private let producer: KafkaProducer
    private let bootstrapServers: String
    private let topics: [Topic]
    private let log: Logger
    private let isReachable = Mutex(true)
    private let watching = Mutex<Task<Void, Never>?>(nil)
    private static let answerSeconds = 4.0

    init(_ producer: KafkaProducer, bootstrapServers: String, topics: [Topic], log: Logger) {
        self.producer = producer
        self.bootstrapServers = bootstrapServers
        self.topics = topics
        self.log = log
    }

    var isReady: Bool { isReachable.withLock { $0 } }

    func start() async throws {
        let there: [String: Int]
        do {
            there = try await producer.topicPartitions(timeoutSeconds: Self.answerSeconds)
        } catch {
            throw NotThereYet(
                exitCode: ExitCode.noBroker,
                description: "KAFKA_BOOTSTRAP_SERVERS: no Kafka broker answers at \(bootstrapServers): \(error)")
        }
        let missing = topics.map(\.name).filter { there[$0] == nil }
        guard missing.isEmpty else {
            throw NotThereYet(
                exitCode: ExitCode.noTopic,
                description:
                    "Kafka has no topic \(missing.joined(separator: ", ")): make them by `stampede topics create`"
            )
        }
        let small = topics.filter { there[$0.name] ?? 0 < Int($0.partitions) }
        guard small.isEmpty else {
            let named = small.map { "\($0.name) has \(there[$0.name] ?? 0) partitions, needed are \($0.partitions)" }
            throw StartFailure(
                exitCode: ExitCode.partitions,
                reason: named.joined(separator: "; ")
                    + ": stop the services, delete these topics or give them more partitions while they are empty, and "
                    + "run `stampede topics create`")
        }
        watching.withLock { $0 = Task { await watch() } }
    }

    func stop() async { watching.withLock { $0 }?.cancel() }

    private func watch() async {
        await keepWatch(.seconds(5), isReachable, log, away: "Kafka is away", back: "Kafka is back") {
            do throws(KafkaError) {
                _ = try await producer.topicPartitions(timeoutSeconds: Self.answerSeconds)
                return nil
            } catch {
                return error.isRetriable ? error.description : nil
            }
        }
    }
}

/// Asks again and again until the task is cancelled, and says when the answer turns. `check` gives the reason why the
/// other side is away, or nil.
private func keepWatch(
    _ pause: Duration, _ isReachable: borrowing Mutex<Bool>, _ log: Logger, away: StaticString, back: StaticString,
    check: () async -> String?
) async {
    while (try? await Task.sleep(for: pause)) != nil {
        let reason = await check()
        let wasReachable = isReachable.withLock { reachable in
            defer { reachable = reason == nil }
            return reachable
        }
        if let reason, wasReachable { log.error(away, ["error": reason]) }
        if reason == nil, !wasReachable { log.info(back) }
    }
}
