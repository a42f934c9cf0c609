// `SERVICE migrate`: the schema's owner brings it up to date, so that the service itself needs no right to change tables.
import Observability
import Postgres
import Runtime

/// Applies what is missing and ends. Harmless when all is there, and beside services that run.
struct MigrateCommand<Running: Service> {
    private let configuration: Configuration
    private let log: Logger

    /// The service's own environment, of which only the DSN is needed: here the owner's.
    init(environment: [String: String], sink: LogSink) throws(ConfigurationError) {
        let keys = Running.allConfigurationKeys.map { key in
            ConfigurationKey(
                key.name, key.summary, key.kind, default: key.defaultValue,
                required: key.name == StandardKeys.postgresDSN)
        }
        configuration = try Configuration(keys: keys, environment: environment)
        log = Logger(
            service: Running.name, level: LogLevel(configuration.string(StandardKeys.logLevel)) ?? .info, sink: sink
        ).redacting(configuration.secretTexts)
    }

    /// Waits for Postgres as a service that starts does.
    func run() async throws(StartFailure) {
        let pool: PostgresPool
        do {
            pool = try PostgresPool(
                dsn: configuration.secret(StandardKeys.postgresDSN).value, connectionsMax: 1,
                applicationName: "\(Running.name)/migrate", log: log, metrics: Metrics())
        } catch {
            throw StartFailure(
                exitCode: ExitCode.configuration,
                reason:
                    "\(StandardKeys.postgresDSN): not readable as a DSN, expected postgresql://user:password@host:port/database"
            )
        }
        let deadline = ContinuousClock.now + configuration.duration(StandardKeys.startSeconds)
        var backoff = Backoff(isJittered: true)
        var failure: StartFailure?
        repeat {
            do {
                try await pool.migrate(schema: Running.name, Running.migrations)
                failure = nil
                break
            } catch {
                switch StartError(error) {
                case .waiting(let reason, let exitCode) where !error.isSchemaOlder:
                    failure = StartFailure(exitCode: exitCode, reason: reason)
                    log.warning("waiting for Postgres", ["reason": reason])
                    try? await Task.sleep(for: backoff.next())
                case .waiting(let reason, let exitCode), .final(let reason, let exitCode):
                    await pool.close()
                    throw StartFailure(exitCode: exitCode, reason: reason)
                }
            }
        } while ContinuousClock.now < deadline
        await pool.close()
        if let failure { throw failure }
        log.info("the schema is up to date", ["schema": Running.name])
    }
}
