// `SERVICE migrate`: the schema's owner brings it up to date, so that the service itself needs no right to change tables.
import Observability
import Postgres
import Runtime

/// Applies what is missing and ends. Harmless when all is there, and beside services that run.
struct MigrateCommand<Running: Service> {
    private let pool: PostgresPool
    private let waiting: Duration
    private let log: Logger

    /// The service's own environment, of which only the DSN is needed: here the owner's.
    init(environment: [String: String], sink: LogSink) throws(ConfigurationError) {
        let keys = Running.allConfigurationKeys.map { key in
            ConfigurationKey(
                key.name, key.summary, key.kind, default: key.defaultValue,
                required: key.name == StandardKeys.postgresDSN)
        }
        let configuration = try Configuration(keys: keys, environment: environment)
        log = Logger(
            service: Running.name, level: LogLevel(configuration.string(StandardKeys.logLevel)) ?? .info, sink: sink
        ).redacting(configuration.secretTexts)
        pool = try configuration.postgresPool(
            "\(Running.name)/migrate", findsByIndex: false, log: log, metrics: Metrics())
        waiting = configuration.duration(StandardKeys.startSeconds)
    }

    func run() async throws(StartFailure) {
        do throws(StartFailure) {
            try await migrate()
        } catch {
            await pool.close()
            throw error
        }
        await pool.close()
        log.info("the schema is up to date", ["schema": Running.name])
    }

    /// Waits for Postgres as a service that starts does.
    private func migrate() async throws(StartFailure) {
        let deadline = ContinuousClock.now + waiting
        var backoff = Backoff(isJittered: true)
        while true {
            do throws(PostgresError) {
                return try await pool.migrate(schema: Running.name, Running.migrations)
            } catch {
                switch StartError(error) {
                // An owner that may not change the schema does not come to by waiting.
                case .waiting(let reason, _) where !error.isSchemaOlder && ContinuousClock.now < deadline:
                    log.warning("waiting for Postgres", ["reason": reason])
                    try? await Task.sleep(for: backoff.next())
                case .waiting(let reason, let exitCode), .final(let reason, let exitCode):
                    throw StartFailure(exitCode: exitCode, reason: reason)
                }
            }
        }
    }
}
