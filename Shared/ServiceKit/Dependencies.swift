// What every service needs to be there before it starts: its Postgres schema, and Kafka with the topics it names.
import Kafka
import Models
import Observability
import Postgres
import Runtime

/// Connects to Postgres and brings the service's schema up to date; then keeps an eye on it, for readiness.
final class PostgresDependency: Component {
    let name = "postgres"
    private let pool: PostgresPool
    private let schema: String
    private let migrations: [Migration]
    private let watching: Periodic

    init(_ pool: PostgresPool, schema: String, migrations: [Migration], log: Logger) {
        self.pool = pool
        self.schema = schema
        self.migrations = migrations
        // Only a connection that cannot be made counts: a pool that is busy is not away.
        watching = watch(.seconds(3), log, away: "Postgres is away", back: "Postgres is back") {
            do throws(PostgresError) {
                try await pool.ping()
            } catch {
                if error.isConnectionFailure { throw error }
            }
        }
    }

    var isReady: Bool { watching.isReady }
    var detail: String? { watching.lastError }

    func start() async throws {
        try await pool.ping()
        if !migrations.isEmpty { try await pool.migrate(schema: schema, migrations) }
        watching.start()
    }

    func stop() async { watching.cancel() }
}

/// Reaches the Kafka cluster and finds the topics; then keeps an eye on it, for readiness.
final class KafkaDependency: Component {
    let name = "kafka"
    private let producer: KafkaProducer
    private let bootstrapServers: String
    private let topics: [Topic]
    private let watching: Periodic
    private static let answerSeconds = 4.0

    init(_ producer: KafkaProducer, bootstrapServers: String, topics: [Topic], log: Logger) {
        self.producer = producer
        self.bootstrapServers = bootstrapServers
        self.topics = topics
        watching = watch(.seconds(5), log, away: "Kafka is away", back: "Kafka is back") {
            do throws(KafkaError) {
                _ = try await producer.topicPartitions(timeoutSeconds: Self.answerSeconds)
            } catch {
                if error.isRetriable { throw error }
            }
        }
    }

    var isReady: Bool { watching.isReady }
    var detail: String? { watching.lastError }

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
        watching.start()
    }

    func stop() async { watching.cancel() }
}

/// Asks again and again, and says when the answer turns. `check` throws when the other side is away.
private func watch(
    _ interval: Duration, _ log: Logger, away: StaticString, back: StaticString,
    check: @escaping @Sendable () async throws -> Void
) -> Periodic {
    Periodic(
        every: interval, runsAtOnce: false,
        told: { outcome in
            switch outcome {
            case .failed(let error, isFirst: true): log.error(away, ["error": "\(error)"])
            case .failed: break
            case .recovered: log.info(back)
            }
        }, check)
}
