// The connections to Postgres that a service's configuration asks for.
import Observability
import Postgres

extension Configuration {
    /// Nothing is connected yet.
    /// - Parameter findsByIndex: for a service's own statements, which name few rows of tables of any size.
    func postgresPool(
        _ applicationName: String, findsByIndex: Bool, log: Logger, metrics: Metrics
    ) throws(ConfigurationError) -> PostgresPool {
        var options = PostgresOptions()
        options.findsByIndex = findsByIndex
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
