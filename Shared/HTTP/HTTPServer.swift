// The server: routes, bounds and event loops put together.
import JSON
import Observability

/// Serves HTTP/1.1 over libmicrohttpd.
public final class HTTPServer: Sendable {
    private let router: Router

    public init(
        _ configuration: HTTPServerConfiguration, routes: [Route], log: Logger, metrics: Metrics,
        problem: @escaping @Sendable (any Error) -> Problem? = { _ in nil }
    ) throws(HTTPError) {
        router = try Router(routes)
    }

    /// Listens. Returns the port, which is the configured one unless that is 0.
    public func start() throws(HTTPError) -> UInt16 { throw .system("not landed yet") }

    /// Stops accepting, finishes what runs (answers say `Connection: close`), then closes; whatever is left after so
    /// many seconds is broken off. Returns when all is closed.
    public func drain(withinSeconds: Double) async {}
}
