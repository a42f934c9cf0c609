// The configuration that every service has.
import Foundation
import Observability

package enum StandardKeys {
    static let bootstrapServers = "KAFKA_BOOTSTRAP_SERVERS"
    static let postgresDSN = "STAMPEDE_POSTGRES_DSN"
    static let postgresConnections = "STAMPEDE_POSTGRES_CONNECTIONS"
    static let postgresStatementSeconds = "STAMPEDE_POSTGRES_STATEMENT_SECONDS"
    static let httpAddress = "STAMPEDE_HTTP_ADDRESS"
    package static let httpPort = "STAMPEDE_HTTP_PORT"
    static let httpThreads = "STAMPEDE_HTTP_THREADS"
    static let httpConnections = "STAMPEDE_HTTP_CONNECTIONS"
    static let httpRequests = "STAMPEDE_HTTP_REQUESTS"
    static let httpStreams = "STAMPEDE_HTTP_STREAMS"
    static let httpAddressConnections = "STAMPEDE_HTTP_ADDRESS_CONNECTIONS"
    static let httpAccountRate = "STAMPEDE_HTTP_ACCOUNT_RATE"
    static let httpTrustedProxies = "STAMPEDE_HTTP_TRUSTED_PROXIES"
    package static let logLevel = "STAMPEDE_LOG_LEVEL"
    package static let instance = "STAMPEDE_INSTANCE"
    static let traceEndpoint = "STAMPEDE_TRACE_ENDPOINT"
    static let traceRatio = "STAMPEDE_TRACE_RATIO"
    package static let startSeconds = "STAMPEDE_START_SECONDS"
    package static let drainSeconds = "STAMPEDE_DRAIN_SECONDS"

    static func all(httpPort port: Int) -> [ConfigurationKey] {
        [
            .init(bootstrapServers, "Kafka's addresses: host:port, separated by commas", required: true),
            .init(
                postgresDSN, "The service's own database, as libpq reads it: postgresql://user:password@host/name",
                .secret, required: true),
            .init(postgresConnections, "Connections to Postgres at most", .integer(1...200), default: "4"),
            .init(
                postgresStatementSeconds, "A statement that takes longer is ended; 3 seconds later its connection is",
                .integer(1...3600), default: "15"),
            .init(httpAddress, "Where to listen: a literal IPv4 or IPv6 address", default: "127.0.0.1"),
            .init(httpPort, "The port to listen on; 0 takes a free one", .integer(0...65_535), default: "\(port)"),
            .init(httpThreads, "Event loops of the HTTP server", .integer(1...64), default: "1"),
            .init(httpConnections, "Open connections at most", .integer(1...100_000), default: "4096"),
            .init(httpRequests, "Requests at work at a time at most", .integer(1...100_000), default: "2048"),
            .init(httpStreams, "Open event streams at most", .integer(1...1_000_000), default: "15000"),
            .init(
                httpAddressConnections, "Open connections of one address at most, those of trusted proxies not counted",
                .integer(1...100_000), default: "1024"),
            .init(
                httpAccountRate,
                "Requests a second that one account may send to this instance, twice as many in one go",
                .integer(1...1_000_000), default: "100"),
            .init(
                httpTrustedProxies,
                "Proxies whose X-Forwarded-For is believed, and nobody else's: addresses, or networks such as 10.9.8.0/24",
                .list, default: "127.0.0.1,::1"),
            .init(
                logLevel, "The least severity that is logged", .choice(LogLevel.allCases.map(\.description)),
                default: "info"),
            .init(
                instance,
                """
                What this process is called in logs and on the broker, unique in its service (by default host-pid); where it \
                is set, an instance that crashed and comes back at once has its partitions at once
                """),
            .init(
                traceEndpoint,
                "Where spans go by OTLP over HTTP, without /v1/traces: http://collector:4318; nothing is traced without it"
            ),
            .init(
                traceRatio, "The part of traces that begin here that is recorded", .number(0...1), default: "0.01"),
            .init(
                startSeconds, "How long Postgres and Kafka are waited for at the start", .seconds(0...86_400),
                default: "300"),
            .init(
                drainSeconds, "How long what runs may take to end after SIGTERM", .seconds(0.1...3600), default: "10"),
        ]
    }

    /// The host's name and the process's ID.
    static var standardInstance: String {
        "\(ProcessInfo.processInfo.hostName)-\(ProcessInfo.processInfo.processIdentifier)"
    }
}
