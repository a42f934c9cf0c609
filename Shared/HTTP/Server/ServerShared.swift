// What all event loops of one server share: its settings, its counts, and how errors become answers.
import JSON
import Observability
import Synchronization

/// Constant or atomic throughout.
final class ServerShared: Sendable {
    let configuration: HTTPServerConfiguration
    let routes: [Route]
    let router: Router
    let log: Logger
    let metrics: Metrics
    let tracer: Tracer
    let refusedConnections: Counter
    let callers: CallerLimiter
    private let problem: @Sendable (any Error) -> Problem?

    /// Counts against the configuration's bounds.
    let connections = Atomic<Int>(0)
    let streams = Atomic<Int>(0)
    let running = Atomic<Int>(0)
    let bodyBytes = Atomic<Int>(0)
    /// Connections by whose they are, those of trusted proxies not counted.
    private let connectionsByAddress = Mutex<[IPAddress: Int]>([:])

    init(
        _ configuration: HTTPServerConfiguration, routes: [Route], log: Logger, metrics: Metrics, tracer: Tracer,
        problem: @escaping @Sendable (any Error) -> Problem?
    ) throws(HTTPError) {
        self.configuration = configuration
        self.routes = routes
        router = try Router(routes)
        self.log = log
        self.metrics = metrics
        self.tracer = tracer
        refusedConnections = metrics.counter(
            "http_connections_refused_total", help: "Connections that were refused because there were too many.")
        callers = CallerLimiter(requestsPerSecond: configuration.callerRequestsPerSecondMax)
        self.problem = problem
    }

    /// Takes `amount` of what is bounded by `max`, or leaves the count as it was.
    static func take(_ amount: Int, of count: borrowing Atomic<Int>, max: Int) -> Bool {
        if count.wrappingAdd(amount, ordering: .relaxed).newValue <= max { return true }
        count.wrappingSubtract(amount, ordering: .relaxed)
        return false
    }

    /// Counts a connection, or says why it is refused. `connectionEnded` takes it back.
    func connectionCame(from peer: IPAddress?) -> Problem? {
        guard Self.take(1, of: connections, max: configuration.connectionsMax) else {
            return .unavailable(retryAfterSeconds: 1, "Too many connections.")
        }
        guard let address = counted(peer) else { return nil }
        let isTaken = connectionsByAddress.withLock { counts in
            let count = counts[address, default: 0]
            guard count < configuration.connectionsPerAddressMax else { return false }
            counts[address] = count + 1
            return true
        }
        if isTaken { return nil }
        connections.wrappingSubtract(1, ordering: .relaxed)
        return .tooManyRequests(retryAfterSeconds: 1, "Too many connections of this address.")
    }

    func connectionEnded(of peer: IPAddress?) {
        connections.wrappingSubtract(1, ordering: .relaxed)
        guard let address = counted(peer) else { return }
        connectionsByAddress.withLock { counts in
            let count = counts[address, default: 1] - 1
            counts[address] = count > 0 ? count : nil
        }
    }

    private func counted(_ peer: IPAddress?) -> IPAddress? {
        guard let peer, !configuration.trustedProxies.contains(peer) else { return nil }
        return peer.household
    }

    func answer(
        _ request: HTTPRequest, _ handler: @Sendable (HTTPRequest) async throws -> HTTPResponse
    ) async -> HTTPResponse {
        do {
            return try await TraceContext.$current.withValue(request.trace) { try await handler(request) }
        } catch {
            return response(to: error, request)
        }
    }

    func answerInline(
        _ request: HTTPRequest, _ handler: (HTTPRequest) throws -> HTTPResponse
    ) -> HTTPResponse {
        do {
            return try TraceContext.$current.withValue(request.trace) { try handler(request) }
        } catch {
            return response(to: error, request)
        }
    }

    func response(to error: any Error, _ request: HTTPRequest) -> HTTPResponse {
        let traceID = request.trace.traceID
        let known = error as? Problem ?? (error as? any ProblemConvertible)?.problem ?? self.problem(error)
        if let problem = known ?? Self.inputProblem(error) {
            return problem.response(traceID: traceID)
        }
        if error is CancellationError { return Problem.unavailable(retryAfterSeconds: 1).response(traceID: traceID) }
        log.error(
            "a handler failed",
            ["method": request.method.rawValue, "path": request.path, "error": "\(error)", "trace": traceID])
        return Problem.internalError().response(traceID: traceID)
    }

    /// What is wrong with a document, named by its field.
    private static func inputProblem(_ error: any Error) -> Problem? {
        (error as? JSONError).map {
            .badRequest($0.description, fields: [FieldProblem($0.path, expected: $0.expected)])
        }
    }
}
