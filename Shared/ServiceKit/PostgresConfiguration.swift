// The connections to Postgres that a service's configuration asks for.
import Observability
import Postgres

extension Configuration {
    /// Nothing is connected yet.
    func postgresPool(
        _ applicationName: String, log: Logger, metrics: Metrics
    ) throws(ConfigurationError) -> PostgresPool {
        var options = PostgresOptions()
        options.statementTimeoutSeconds = integer(StandardKeys.postgresStatementSeconds)
        do {
            return try PostgresPool(
                dsn: secret(StandardKeys.postgresDSN).value, connectionsMax: integer(StandardKeys.postgresConnections),
                applicationName: applicationName, log: log, metrics: metrics, options: options)
        } catch {
            throw ConfigurationError([
                "\(StandardKeys.postgresDSN): not readable as a DSN, expected postgresql://user:password@host:port/database"
            ])
        }
    }
}
