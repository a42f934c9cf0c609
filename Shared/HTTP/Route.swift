// One line of a service's table of routes.

/// A method, a path pattern and who answers.
///
/// A pattern is made of segments that stand for themselves and of `{name}`s that match one segment:
/// `/v1/orders/{id}`. A literal segment is preferred to a parameter. GET routes answer HEAD too.
public struct Route: Sendable {
    enum Handler: Sendable {
        /// Runs on the connection's event loop; its awaits let others run.
        case onLoop(@Sendable (HTTPRequest) async throws -> HTTPResponse)
        /// Runs on the shared pool of threads.
        case inPool(@Sendable (HTTPRequest) async throws -> HTTPResponse)
        /// Answers in place, without a task.
        case inline(@Sendable (HTTPRequest) throws -> HTTPResponse)
    }

    public let method: HTTPMethod
    public let pattern: String
    public let bodyBytesMax: Int
    let handler: Handler
    /// Asked as soon as the head is here.
    let admission: (@Sendable (HTTPRequest) throws -> Void)?

    /// A handler that may wait.
    ///
    /// It runs on the event loop of its connection, so that a request that finds all it needs is answered without
    /// waking another thread. It must therefore not block a thread, and compute for milliseconds only where
    /// `computes` says so: then it runs on the shared pool.
    /// - Parameter bodyBytesMax: a longer body is answered 413 without being read.
    public init(
        _ method: HTTPMethod, _ pattern: String, bodyBytesMax: Int = 16 << 10, computes: Bool = false,
        _ handler: @escaping @Sendable (HTTPRequest) async throws -> HTTPResponse
    ) {
        self.init(method, pattern, bodyBytesMax: bodyBytesMax, handler: computes ? .inPool(handler) : .onLoop(handler))
    }

    /// A handler that never waits and takes microseconds: health, metrics, a look into memory.
    public static func inline(
        _ method: HTTPMethod, _ pattern: String, bodyBytesMax: Int = 16 << 10,
        _ handler: @escaping @Sendable (HTTPRequest) throws -> HTTPResponse
    ) -> Route {
        Route(method, pattern, bodyBytesMax: bodyBytesMax, handler: .inline(handler))
    }

    private init(
        _ method: HTTPMethod, _ pattern: String, bodyBytesMax: Int, handler: Handler,
        admission: (@Sendable (HTTPRequest) throws -> Void)? = nil
    ) {
        self.method = method
        self.pattern = pattern
        self.bodyBytesMax = bodyBytesMax
        self.handler = handler
        self.admission = admission
    }

    /// The same route, which asks by the head alone whether a body is read at all: what `admission` throws is the answer.
    /// For routes of large bodies, which would else let anybody fill memory. It runs on the event loop and must not wait;
    /// its request has no body, and is counted against no caller.
    public func admitting(_ admission: @escaping @Sendable (HTTPRequest) throws -> Void) -> Route {
        Route(method, pattern, bodyBytesMax: bodyBytesMax, handler: handler, admission: admission)
    }

    /// The same route, whose answers go through `transform`. What is thrown does not: errors become answers later.
    public func answering(
        _ transform: @escaping @Sendable (HTTPRequest, HTTPResponse) -> HTTPResponse
    ) -> Route {
        let transformed: Handler =
            switch handler {
            case .onLoop(let handler): .onLoop { request in transform(request, try await handler(request)) }
            case .inPool(let handler): .inPool { request in transform(request, try await handler(request)) }
            case .inline(let handler): .inline { request in transform(request, try handler(request)) }
            }
        return with(transformed)
    }

    /// The same route, whose handler runs only where `gate` lets it: what it throws is the answer.
    public func guarded(by gate: @escaping @Sendable () throws -> Void) -> Route {
        let guarded: Handler =
            switch handler {
            case .onLoop(let handler):
                .onLoop { request in
                    try gate()
                    return try await handler(request)
                }
            case .inPool(let handler):
                .inPool { request in
                    try gate()
                    return try await handler(request)
                }
            case .inline(let handler):
                .inline { request in
                    try gate()
                    return try handler(request)
                }
            }
        let route = with(guarded)
        guard let admission else { return route }
        return route.admitting { request in
            try gate()
            try admission(request)
        }
    }

    private func with(_ handler: Handler) -> Route {
        Route(method, pattern, bodyBytesMax: bodyBytesMax, handler: handler, admission: admission)
    }
}
