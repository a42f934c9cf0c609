// The server: routes, bounds and event loops put together.
import Observability
import Synchronization

/// Serves HTTP/1.1 over libmicrohttpd.
///
/// Answered without a route: 400, 404, 405 with `Allow`, 408, 413, 414, 417, 431, 501, 503, 505, HEAD by GET's handler,
/// OPTIONS, and 429 by callers and addresses. Every answer has an `X-Request-Id`. A thrown `Problem` is sent as it is;
/// what `problem` knows is what it says; a `JSONError` is 400 and names the field; anything else is 500, logged, without
/// details to the client.
public final class HTTPServer: Sendable {
    private enum State {
        case ready
        case running([ServerLoop])
        case drained
    }

    private let shared: ServerShared
    private let state = Mutex(State.ready)

    public init(
        _ configuration: HTTPServerConfiguration, routes: [Route], log: Logger, metrics: Metrics,
        tracer: Tracer = .off, problem: @escaping @Sendable (any Error) -> Problem? = { _ in nil }
    ) throws(HTTPError) {
        shared = try ServerShared(
            configuration, routes: routes, log: log, metrics: metrics, tracer: tracer, problem: problem)
    }

    deinit {
        guard case .running(let loops) = state.withLock({ $0 }) else { return }
        Task.detached { for loop in loops { await loop.drain(withinSeconds: 0) } }
    }

    /// Listens. Returns the port, which is the configured one unless that is 0. Once only.
    @discardableResult
    public func start() throws(HTTPError) -> UInt16 {
        try state.withLock { state throws(HTTPError) in
            guard case .ready = state else { throw .system("the server was started before") }
            let configuration = shared.configuration
            let listener = try Listener(address: configuration.address, port: configuration.port, log: shared.log)
            var loops: [ServerLoop] = []
            do throws(HTTPError) {
                for index in 0..<max(1, configuration.threads) {
                    let loop = try ServerLoop(shared, index: index)
                    try loop.start()
                    loops.append(loop)
                }
            } catch {
                listener.discard()
                let started = loops
                Task.detached { for loop in started { await loop.drain(withinSeconds: 0) } }
                throw error
            }
            observe()
            let (first, all) = (loops[0], loops)
            let box = ListenerBox(listener)
            first.events.execute { first.open(box.listener, handTo: all) }
            state = .running(loops)
            return listener.port
        }
    }

    /// Stops accepting, finishes what runs (answers say `Connection: close`), ends event streams after what was sent
    /// on them, then closes; what is left after so many seconds is broken off. Returns when all is closed.
    public func drain(withinSeconds seconds: Double) async {
        let loops = state.withLock { state -> [ServerLoop] in
            guard case .running(let loops) = state else {
                state = .drained
                return []
            }
            return loops
        }
        await withTaskGroup { group in
            for loop in loops { group.addTask { await loop.drain(withinSeconds: seconds) } }
        }
    }

    private func observe() {
        let gauges: [(String, String, @Sendable (ServerShared) -> Int)] = [
            (
                "http_connections", "Open connections, event streams not counted.",
                { $0.connections.load(ordering: .relaxed) }
            ),
            ("http_event_streams", "Open event streams.", { $0.streams.load(ordering: .relaxed) }),
            ("http_requests_running", "Requests whose handlers run.", { $0.running.load(ordering: .relaxed) }),
        ]
        for (name, help, value) in gauges {
            shared.metrics.observed(name, help: help) { [weak shared] in shared.map { Double(value($0)) } }
        }
    }

    /// Carries the listener to the first loop. `@unchecked Sendable`: handed over once and not kept.
    private final class ListenerBox: @unchecked Sendable {
        let listener: Listener
        init(_ listener: Listener) { self.listener = listener }
    }
}
