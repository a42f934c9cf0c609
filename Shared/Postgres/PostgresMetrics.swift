// What a pool counts.
import Observability

/// The pool's series, under `postgres_…`.
struct PostgresMetrics: Sendable {
    let connections: Gauge
    private let statements: Counter
    private let steps: Histogram
    private let waits: Histogram
    private let refusals: Counter
    private let errors: Counter
    private let connectFailures: Counter
    private let losses: Counter

    init(_ metrics: Metrics) {
        connections = metrics.gauge("postgres_connections", help: "Connections that are up.")
        statements = metrics.counter("postgres_statements_total", help: "Statements that were answered.")
        steps = metrics.histogram(
            "postgres_round_trip_seconds", help: "From sending statements to their sync.",
            buckets: Histogram.latencySecondsBuckets)
        waits = metrics.histogram(
            "postgres_wait_seconds", help: "Waiting for a free connection, where there was none.",
            buckets: Histogram.latencySecondsBuckets)
        refusals = metrics.counter("postgres_refused_total", help: "Callers who got no connection within the bounds.")
        errors = metrics.counter("postgres_errors_total", help: "Statements that the server refused.")
        connectFailures = metrics.counter("postgres_connect_failures_total", help: "Attempts to connect that failed.")
        losses = metrics.counter("postgres_connections_lost_total", help: "Connections that died.")
    }

    func stepEnded(after duration: Duration, statements count: Int) {
        statements.add(count)
        steps.observe(duration)
    }

    func failed(_ error: PostgresError) { (error.isConnectionFailure ? losses : errors).add() }
    func connectFailed() { connectFailures.add() }
    func waited(_ duration: Duration) { waits.observe(duration) }
    func refused() { refusals.add() }
}
