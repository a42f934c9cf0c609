// One event loop of a server: a libmicrohttpd daemon, its connections and its event streams, all on one thread.
//
// A request goes through these hands: `targetCame`, `headCame` (checked, routed, bounded), `bodyCame`, `requestCame`
// (the handler starts; when it ends without having waited, it is answered here and now, else the connection is
// suspended), `finish` (the handler's answer; the connection is resumed with others of the same turn), `requestEnded`.
import CMicroHTTPD
import Foundation
import Observability
import Runtime

/// `@unchecked Sendable`: touched by its loop's thread only, other threads come in through `EventLoop.execute`; `init`'s
/// caller is done before the thread starts.
final class ServerLoop: @unchecked Sendable {
    /// How often deadlines are looked at and streams get their heartbeats.
    private static let tickSeconds = 0.25
    /// Read and thrown away of a body whose answer is known already, so that the connection can be kept.
    private static let discardedBytesMax = 256 << 10
    private static let lastWordsMax = 256
    /// Turns of the library in a row before streams and other threads get theirs.
    private static let runsInARowMax = 8

    private enum Drain {
        case no
        case until(Double, [CheckedContinuation<Void, Never>])
        case done
    }

    private struct Finished {
        let connection: ServerConnection
        let response: HTTPResponse
    }

    private struct Series: Hashable {
        let route: Int
        let method: HTTPMethod
        let status: Int
    }

    let events: EventLoop
    private let shared: ServerShared
    private var daemon: OpaquePointer?
    private var daemonSource: DaemonSource?
    private var connections: [ServerConnection] = []
    /// Connections whose peers have closed their side and that are to end with what was asked before.
    private var halfClosed: [ServerConnection] = []
    private var streams: [StreamSocket] = []
    private var lastWords: [LastWords] = []
    private var finished: [Finished] = []
    private var beatIndex = 0
    private var nextTick = 0.0
    private var now = 0.0
    private var listener: Listener?
    private var drain = Drain.no
    private var isDraining = false
    private var generator = FastRandom()
    private var counters: [Series: Counter] = [:]
    private let latencies: [Histogram]

    init(_ shared: ServerShared, index: Int) throws(HTTPError) {
        self.shared = shared
        do throws(EventLoopError) {
            events = try EventLoop(name: "http-\(index)")
        } catch {
            throw .system(error.description)
        }
        latencies = shared.routes.map {
            shared.metrics.histogram(
                "http_request_duration_seconds", help: "From a request's head to its answer.",
                labels: ["route": $0.pattern, "method": $0.method.rawValue])
        }
    }

    /// Starts the daemon and the thread.
    func start() throws(HTTPError) {
        let bytes = max(8 << 10, shared.configuration.headerBytesMax * 2) + (4 << 10)
        daemon = stampede_start_daemon(
            Unmanaged.passUnretained(self).toOpaque(), UInt32(clamping: shared.configuration.connectionsMax + 1), bytes,
            DaemonCallbacks.handle, DaemonCallbacks.target, DaemonCallbacks.unescape, DaemonCallbacks.completed,
            DaemonCallbacks.connection)
        guard let daemon else { throw .system("libmicrohttpd did not start") }
        let descriptor = stampede_daemon_epoll(daemon)
        let source = DaemonSource()
        guard descriptor >= 0, events.add(source, descriptor: descriptor, events: EventLoop.readable) != nil else {
            MHD_stop_daemon(daemon)
            self.daemon = nil
            throw .system("libmicrohttpd has nothing to wait on")
        }
        daemonSource = source
        // The closure keeps the loop while its thread runs.
        do throws(EventLoopError) {
            try events.start { self.turn() }
        } catch {
            MHD_stop_daemon(daemon)
            self.daemon = nil
            throw .system(error.description)
        }
    }

    // MARK: Connections

    func open(_ listener: Listener, handTo loops: [ServerLoop]) {
        self.listener = listener
        var next = 0
        listener.open(on: events) { [shared, unowned self] descriptor, address, length in
            let peer = withUnsafePointer(to: address) { pointer in
                pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { IPAddress($0) }
            }
            if let problem = shared.connectionCame(from: peer) {
                self.shared.refusedConnections.add()
                return self.say(RawResponse.bytes(problem, requestID: self.newRequestID()), to: descriptor)
            }
            let loop = loops[next % loops.count]
            next += 1
            if loop === self { return self.adopt(descriptor, address, length, peer) }
            loop.events.execute { loop.adopt(descriptor, address, length, peer) }
        }
    }

    private func adopt(
        _ descriptor: Int32, _ address: sockaddr_storage, _ length: socklen_t, _ peer: IPAddress?
    ) {
        guard let daemon, !isDraining else {
            shared.connectionEnded(of: peer)
            Glibc.close(descriptor)
            return
        }
        now = EventLoop.now()
        var address = address
        let count = connections.count
        withUnsafePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                // The library closes the descriptor when it refuses.
                _ = MHD_add_connection(daemon, descriptor, $0, length)
            }
        }
        if connections.count == count { shared.connectionEnded(of: peer) }
    }

    func connectionCame(_ handle: OpaquePointer) -> ServerConnection? {
        guard let descriptor = stampede_connection_info(handle, .CONNECTION_INFO_CONNECTION_FD)?.pointee.connect_fd,
            let address = stampede_connection_info(handle, .CONNECTION_INFO_CLIENT_ADDRESS)?.pointee.client_addr
        else { return nil }
        let peer = IPAddress(address)
        let connection = ServerConnection(
            loop: self, handle: handle, descriptor: descriptor, peer: peer,
            peerIsProxy: peer.map(shared.configuration.trustedProxies.contains) ?? false,
            deadline: now + shared.configuration.headerSeconds)
        connection.index = connections.count
        connections.append(connection)
        connection.token = events.add(
            connection, descriptor: descriptor, events: EventLoop.peerClosed | EventLoop.once)
        return connection
    }

    /// Nothing more will come from the peer. What it asked before is still answered.
    ///
    /// The library waits for changes of its sockets (edge-triggered) and stops reading when it got less than it had
    /// room for: an end that came together with the last bytes is then never seen.
    func peerClosed(_ connection: ServerConnection) { halfClosed.append(connection) }

    private func endHalfClosed() {
        halfClosed.removeAll { connection in
            guard connection.phase == .head, !connection.hasUnreadBytes else { return connection.phase == .leaving }
            shutdown(connection.descriptor, Int32(SHUT_RDWR))
            return true
        }
    }

    func connectionEnded(_ connection: ServerConnection) {
        // Before the library closes the descriptor: a duplicate of it may live on.
        if let token = connection.token { events.remove(token, descriptor: connection.descriptor) }
        if !halfClosed.isEmpty { halfClosed.removeAll { $0 === connection } }
        let last = connections.removeLast()
        if last !== connection {
            connections[connection.index] = last
            last.index = connection.index
        }
        shared.connectionEnded(of: connection.peer)
    }

    // MARK: A request comes in

    func targetCame(_ connection: ServerConnection, _ target: UnsafePointer<CChar>) {
        connection.clear()
        connection.head.target = Array(UnsafeRawBufferPointer(start: target, count: strlen(target)))
        connection.deadline = min(connection.deadline, now + shared.configuration.headerSeconds)
    }

    func headCame(_ connection: ServerConnection, method: String, version: String) -> MHD_Result {
        let configuration = shared.configuration
        connection.phase = .body
        connection.deadline = now + configuration.bodySeconds
        connection.head.startedAt = now
        connection.head.method = HTTPMethod(rawValue: method)
        withUnsafeMutablePointer(to: &connection.head) {
            _ = MHD_get_connection_values_n(connection.handle, .HEADER_KIND, DaemonCallbacks.field, $0)
        }
        beginTrace(connection)
        let bytes =
            stampede_connection_info(connection.handle, .CONNECTION_INFO_REQUEST_HEADER_SIZE)?.pointee.header_size
            ?? 0
        if let problem = connection.head.framingProblem(
            version: version, headerBytes: bytes, headerBytesMax: configuration.headerBytesMax)
        {
            return refuse(connection, problem)
        }
        if let problem = route(connection) { return answerEarly(connection, problem) }
        if connection.answer != nil { return .YES }
        if let length = connection.head.contentLength {
            guard length <= connection.head.bodyBytesMax else {
                return refuse(connection, .payloadTooLarge(bytesMax: connection.head.bodyBytesMax))
            }
        }
        guard connection.head.hasBody, let index = connection.head.route, let admission = shared.routes[index].admission
        else { return .YES }
        let request = makeRequest(connection, route: index)
        do { try admission(request) } catch { return refuse(connection, shared.response(to: error, request)) }
        return .YES
    }

    /// The caller's trace continued, or a new one. Whether it is recorded, a caller says who is trusted and speaks for
    /// itself; for any other it is chosen here.
    private func beginTrace(_ connection: ServerConnection) {
        let caller = connection.head.traceparent.flatMap { TraceContext($0) }
        connection.head.caller = caller
        guard let caller else {
            connection.head.trace = shared.tracer.newTrace(using: &generator)
            return
        }
        let mayChoose = connection.peerIsProxy && connection.head.forwardedFor.isEmpty
        connection.head.trace = mayChoose ? caller.child() : shared.tracer.span(of: caller, using: &generator)
    }

    private func newRequestID() -> String { TraceContext.new(using: &generator).traceID }

    /// Finds the route; answers what needs none.
    private func route(_ connection: ServerConnection) -> Problem? {
        let target = connection.head.target
        if connection.head.method == .options, target == [UInt8(ascii: "*")] {
            connection.answer = HTTPResponse(
                204, headers: [("Allow", HTTPMethod.allCases.map(\.rawValue).joined(separator: ", "))])
            return nil
        }
        guard let parts = RequestTarget.parse(target) else {
            return .badRequest("The request target is not a path with an optional query.")
        }
        connection.head.path = parts.path
        connection.head.query = parts.query
        switch shared.router.match(connection.head.method, path: target[parts.path]) {
        case .route(let index, let parameters):
            connection.head.route = index
            connection.head.parameters = parameters
            connection.head.bodyBytesMax = shared.routes[index].bodyBytesMax
            return nil
        case .otherMethods(let allow):
            if connection.head.method == .options {
                connection.answer = HTTPResponse(204, headers: [("Allow", allow)])
                return nil
            }
            guard connection.head.method != nil else {
                return Problem(501, type: "not-implemented", title: "Not implemented", detail: "The method is unknown.")
            }
            var problem = Problem(405, type: "method-not-allowed", title: "The method is not allowed here")
            problem.headers = [("Allow", allow)]
            return problem
        case .notFound: return .notFound()
        case .invalid: return .badRequest("The path holds an escape or a segment that is not allowed.")
        }
    }

    /// Answers after the body, which is thrown away, so that the connection stays in use; at once where the client
    /// waits to be asked for the body, or where the body is too long for that.
    private func answerEarly(_ connection: ServerConnection, _ problem: Problem) -> MHD_Result {
        if connection.head.expectsContinue || connection.head.contentLength ?? 0 > Self.discardedBytesMax {
            return refuse(connection, problem)
        }
        connection.answer = response(problem, connection)
        return .YES
    }

    func bodyCame(_ connection: ServerConnection, _ piece: UnsafeRawBufferPointer) -> MHD_Result {
        guard connection.phase == .body else { return .NO }
        if connection.answer != nil {
            connection.discardedBytes += piece.count
            return connection.discardedBytes > Self.discardedBytesMax ? leave(connection) : .YES
        }
        guard connection.body.count + piece.count <= connection.head.bodyBytesMax else {
            return refuse(connection, .payloadTooLarge(bytesMax: connection.head.bodyBytesMax))
        }
        guard ServerShared.take(piece.count, of: shared.bodyBytes, max: shared.configuration.bodyBytesMax) else {
            releaseBody(connection)
            connection.answer = response(Self.overloaded, connection)
            return .YES
        }
        connection.bodyBytesTaken += piece.count
        connection.body.append(contentsOf: piece)
        return .YES
    }

    private static let overloaded = Problem.unavailable(
        retryAfterSeconds: 1, "More requests are under way than this service takes on.")

    func requestCame(_ connection: ServerConnection) -> MHD_Result {
        switch connection.phase {
        case .head, .responding: return .YES
        case .leaving: return .NO
        case .running: return .YES
        case .body: break
        }
        if let answer = connection.answer { return respond(connection, answer) }
        guard let index = connection.head.route else { return .NO }
        guard ServerShared.take(1, of: shared.running, max: shared.configuration.requestsMax) else {
            return respond(connection, response(Self.overloaded, connection))
        }
        var request = makeRequest(connection, route: index)
        request.callers = shared.callers
        connection.phase = .running
        connection.generation += 1
        switch shared.routes[index].handler {
        case .inline(let handler):
            let response = shared.answerInline(request, handler)
            shared.running.wrappingSubtract(1, ordering: .relaxed)
            return respond(connection, response)
        case .onLoop(let handler):
            run(connection, request, handler, on: events)
            events.runJobs()
            if let answer = connection.answer { return respond(connection, answer) }
        case .inPool(let handler):
            run(connection, request, handler, on: nil)
        }
        connection.deadline = now + shared.configuration.handlerSeconds
        connection.isSuspended = true
        MHD_suspend_connection(connection.handle)
        return .YES
    }

    private func makeRequest(_ connection: ServerConnection, route index: Int) -> HTTPRequest {
        let head = connection.head
        let names = shared.router.parameterNames[index]
        var parameters: [String: String] = [:]
        for (name, value) in zip(names, head.parameters) { parameters[name] = value }
        let client = connection.peer.map {
            shared.configuration.trustedProxies.client(of: $0, forwarded: head.forwardedFor)
        }
        let request = HTTPRequest(
            head.method ?? .get, String(decoding: head.target[head.path], as: UTF8.self), pathParameters: parameters,
            queryString: head.query.isEmpty ? "" : String(decoding: head.target[head.query], as: UTF8.self),
            headers: head.headers, body: connection.body,
            remoteAddress: client?.description ?? "unknown", trace: head.trace ?? .new(using: &generator))
        connection.body = []
        return request
    }

    private func run(
        _ connection: ServerConnection, _ request: HTTPRequest,
        _ handler: @escaping @Sendable (HTTPRequest) async throws -> HTTPResponse, on executor: EventLoop?
    ) {
        let generation = connection.generation
        connection.task = Task.detached(executorPreference: executor) { [shared] in
            let response = await shared.answer(request, handler)
            shared.running.wrappingSubtract(1, ordering: .relaxed)
            if self.events.isCurrent {
                self.finish(connection, generation, response)
            } else if !self.events.execute({ self.finish(connection, generation, response) }) {
                Self.discard(response)
            }
        }
    }

    // MARK: Answers

    /// A handler has answered.
    private func finish(_ connection: ServerConnection, _ generation: UInt64, _ response: HTTPResponse) {
        guard connection.generation == generation, connection.phase == .running, connection.answer == nil else {
            return Self.discard(response)
        }
        connection.answer = response
        connection.task = nil
        if connection.isSuspended { finished.append(Finished(connection: connection, response: response)) }
    }

    /// Closes the stream of an answer that nobody will get.
    private static func discard(_ response: HTTPResponse) {
        if case .events(let stream) = response.body { stream.close() }
    }

    /// Sends the answers of the handlers that have finished since. True: there were some.
    private func flushFinished() -> Bool {
        if finished.isEmpty { return false }
        for item in finished { resume(item.connection, with: item.response) }
        finished.removeAll(keepingCapacity: true)
        return true
    }

    private func resume(_ connection: ServerConnection, with response: HTTPResponse) {
        // The library may be told from outside its callback, because the connection is suspended. When it is told
        // nothing, it asks `requestCame` again and is told to forget the connection there.
        if respond(connection, response) == .NO { connection.phase = .leaving }
        connection.isSuspended = false
        MHD_resume_connection(connection.handle)
    }

    private func respond(_ connection: ServerConnection, _ response: HTTPResponse) -> MHD_Result {
        releaseBody(connection)
        guard (200...599).contains(response.status),
            response.headers.allSatisfy({ RawResponse.isSafe($0.0) && RawResponse.isSafe($0.1) })
        else {
            Self.discard(response)
            shared.log.error(
                "a handler's answer cannot be sent: status out of range or control character in a header field",
                ["status": "\(response.status)", "path": String(decoding: connection.head.target, as: UTF8.self)])
            return respond(connection, self.response(.internalError(), connection))
        }
        guard case .bytes(let body) = response.body else { return openStream(connection, response) }
        let made = body.withUnsafeBytes {
            MHD_create_response_from_buffer(
                $0.count, UnsafeMutableRawPointer(mutating: $0.baseAddress), .RESPMEM_MUST_COPY)
        }
        guard let made else { return .NO }
        defer { MHD_destroy_response(made) }
        for (name, value) in forbidCaching(response, connection).headers where !Self.isOwn(name) {
            MHD_add_response_header(made, name, value)
        }
        MHD_add_response_header(made, "X-Request-Id", requestID(connection))
        if isDraining { MHD_add_response_header(made, "Connection", "close") }
        observe(connection, status: response.status)
        connection.phase = .responding
        connection.deadline = now + shared.configuration.responseSeconds
        return ParserAnswers.queue(connection.handle, UInt32(response.status), made)
    }

    /// A problem as the answer to what the connection asked.
    private func response(_ problem: Problem, _ connection: ServerConnection) -> HTTPResponse {
        problem.response(traceID: connection.head.trace?.traceID)
    }

    private func requestID(_ connection: ServerConnection) -> String {
        let trace = connection.head.trace ?? .new(using: &generator)
        connection.head.trace = trace
        return trace.traceID
    }

    /// What only the one who asked may keep: answers to commands, which may hold tokens, and errors.
    private func forbidCaching(_ response: HTTPResponse, _ connection: ServerConnection) -> HTTPResponse {
        let isRead = connection.head.method == .get || connection.head.method == .head
        return isRead && response.status < 400 ? response : response.withCachingForbidden
    }

    /// The library refuses by itself what its parser cannot read; it is said here, unless something was said already.
    func parserRefused(_ connection: ServerConnection, status: Int) {
        guard connection.phase == .head || connection.phase == .body else { return }
        _ = refuse(connection, ParserAnswers.problem(status))
    }

    /// Fields that say how the message is framed are not a handler's.
    private static func isOwn(_ name: String) -> Bool {
        guard name.utf8.count == 10 || name.utf8.count == 14 || name.utf8.count == 17 else { return false }
        return ["connection", "content-length", "transfer-encoding"].contains(name.lowercased())
    }

    private func releaseBody(_ connection: ServerConnection) {
        connection.body = []
        shared.bodyBytes.wrappingSubtract(connection.bodyBytesTaken, ordering: .relaxed)
        connection.bodyBytesTaken = 0
    }

    private func observe(_ connection: ServerConnection, status: Int) {
        let series = Series(route: connection.head.route ?? -1, method: connection.head.method ?? .get, status: status)
        if let route = connection.head.route { latencies[route].observe(EventLoop.now() - connection.head.startedAt) }
        if shared.tracer.records(connection.head.trace) { record(connection, status: status) }
        if let counter = counters[series] { return counter.add() }
        let counter = shared.metrics.counter(
            "http_requests_total", help: "Requests answered, by route and status.",
            labels: [
                "route": connection.head.route.map { shared.routes[$0].pattern } ?? "none",
                "method": connection.head.method?.rawValue ?? "other", "status": String(status),
            ])
        counters[series] = counter
        counter.add()
    }

    private func record(_ connection: ServerConnection, status: Int) {
        guard let trace = connection.head.trace, let route = connection.head.route else { return }
        let method = connection.head.method?.rawValue ?? "_OTHER"
        let end = Tracer.now()
        let pattern = shared.routes[route].pattern
        shared.tracer.record(
            Span(
                "\(method) \(pattern)", .server, trace, parent: connection.head.caller,
                start: end - Int64((EventLoop.now() - connection.head.startedAt) * 1e9), end: end,
                attributes: [
                    ("http.request.method", .text(method)), ("http.route", .text(pattern)),
                    ("http.response.status_code", .number(Int64(status))),
                ], failure: status >= 500 ? "status \(status)" : nil))
    }

    /// The answer has been sent, or the connection broke.
    func requestEnded(_ connection: ServerConnection, well: Bool) {
        releaseBody(connection)
        if connection.phase == .leaving { return }
        connection.requestsServed += 1
        connection.clear()
        connection.phase = .head
        connection.deadline = isDraining ? now : now + shared.configuration.keepAliveSeconds
    }

    // MARK: Sockets that leave the library

    /// Refuses a request whose rest must not be waited for; the connection ends with it.
    private func refuse(_ connection: ServerConnection, _ problem: Problem) -> MHD_Result {
        refuse(connection, problem.response(traceID: requestID(connection)))
    }

    private func refuse(_ connection: ServerConnection, _ answer: HTTPResponse) -> MHD_Result {
        observe(connection, status: answer.status)
        connection.answer = answer
        return leave(connection)
    }

    /// Says the answer that is known and closes.
    private func leave(_ connection: ServerConnection) -> MHD_Result {
        releaseBody(connection)
        connection.phase = .leaving
        guard let answer = connection.answer else { return .NO }
        let descriptor = fcntl(connection.descriptor, F_DUPFD_CLOEXEC, 0)
        guard descriptor >= 0 else { return .NO }
        let words = RawResponse.bytes(
            forbidCaching(answer, connection), requestID: requestID(connection),
            withoutBody: connection.head.method == .head)
        say(words, to: descriptor)
        return .NO
    }

    /// Sends a refusal and closes, patiently while there is room for patience.
    private func say(_ words: [UInt8], to descriptor: Int32) {
        if lastWords.count < Self.lastWordsMax {
            let last = LastWords(loop: events, descriptor: descriptor, words: words)
            if !last.isClosed { lastWords.append(last) }
        } else {
            var outgoing = OutgoingBytes()
            outgoing.append(words)
            _ = outgoing.send(to: descriptor)
            Glibc.close(descriptor)
        }
    }

    /// Moves the connection's socket from the library to a `StreamSocket`: the library's suspended connections cost
    /// memory each and time at every resumption of any.
    private func openStream(_ connection: ServerConnection, _ response: HTTPResponse) -> MHD_Result {
        guard case .events(let stream) = response.body else { return .NO }
        let head = [
            ("Content-Type", "text/event-stream"), ("Cache-Control", "no-store"), ("X-Accel-Buffering", "no"),
        ]
        if connection.head.method == .head {
            stream.close()
            return respond(connection, HTTPResponse(200, headers: head + response.headers))
        }
        guard !isDraining, ServerShared.take(1, of: shared.streams, max: shared.configuration.streamsMax) else {
            stream.close()
            let problem = Problem.unavailable(retryAfterSeconds: 1, "No further event stream can be opened.")
            return respond(connection, self.response(problem, connection))
        }
        observe(connection, status: 200)
        connection.phase = .leaving
        let descriptor = fcntl(connection.descriptor, F_DUPFD_CLOEXEC, 0)
        guard descriptor >= 0 else {
            shared.streams.wrappingSubtract(1, ordering: .relaxed)
            stream.close()
            return .NO
        }
        let raw = RawResponse.bytes(
            HTTPResponse(200, headers: head + response.headers, body: response.body), requestID: requestID(connection))
        let socket = StreamSocket(server: self, loop: events, descriptor: descriptor, stream: stream, head: raw)
        guard socket.open() else {
            shared.streams.wrappingSubtract(1, ordering: .relaxed)
            return .NO
        }
        socket.index = streams.count
        streams.append(socket)
        return .NO
    }

    func closed(_ socket: StreamSocket) {
        guard socket.index < streams.count, streams[socket.index] === socket else { return }
        let last = streams.removeLast()
        if last !== socket {
            streams[socket.index] = last
            last.index = socket.index
        }
        shared.streams.wrappingSubtract(1, ordering: .relaxed)
    }

    // MARK: Turns

    private func turn() -> EventLoop.Wait {
        guard let daemon else { return .over }
        now = EventLoop.now()
        _ = flushFinished()
        var runs = 0
        repeat {
            MHD_run(daemon)
            runs += 1
        } while flushFinished() && runs < Self.runsInARowMax
        if now >= nextTick {
            nextTick = now + Self.tickSeconds
            tick()
        }
        if case .until(let deadline, let waiting) = drain {
            let isEmpty = connections.isEmpty && streams.isEmpty && lastWords.isEmpty
            if isEmpty || now >= deadline {
                stop(daemon)
                for continuation in waiting { continuation.resume() }
                return .over
            }
        }
        if runs == Self.runsInARowMax { return .milliseconds(0) }
        return .milliseconds(timeToWait(daemon))
    }

    private func timeToWait(_ daemon: OpaquePointer) -> Int32 {
        var library: UInt64 = 0
        if MHD_get_timeout(daemon, &library) == .YES, library == 0 { return 0 }
        // Without any of these there is nothing for a tick to do.
        let idle =
            connections.isEmpty && streams.isEmpty && lastWords.isEmpty && !isDraining
            && listener?.isWatching ?? true
        return idle ? -1 : Int32(max(1, (nextTick - now) * 1_000))
    }

    private func tick() {
        let configuration = shared.configuration
        listener?.watch()
        for connection in connections where connection.deadline < now { expire(connection) }
        if !halfClosed.isEmpty { endHalfClosed() }
        lastWords.removeAll { words in
            if words.deadline < now { words.close() }
            return words.isClosed
        }
        guard !streams.isEmpty else { return }
        // A slice of the streams at each tick, so that heartbeats do not come in bursts; each is visited at least four
        // times in `heartbeatSeconds`.
        let visits = max(configuration.heartbeatSeconds / 4, Self.tickSeconds)
        let slice = Double(streams.count) * Self.tickSeconds / visits
        for _ in 0..<min(Int(slice) + 1, streams.count) where !streams.isEmpty {
            beatIndex = beatIndex + 1 < streams.count ? beatIndex + 1 : 0
            streams[beatIndex].beat(
                now: now, silentSecondsMax: configuration.heartbeatSeconds,
                stuckSecondsMax: configuration.responseSeconds)
        }
    }

    /// A connection's time is up.
    private func expire(_ connection: ServerConnection) {
        switch connection.phase {
        case .leaving: return
        case .running:
            guard connection.isSuspended else { return }
            connection.task?.cancel()
            connection.generation += 1
            shared.log.warning(
                "a handler took too long", ["path": String(decoding: connection.head.target, as: UTF8.self)])
            resume(
                connection, with: response(.unavailable(retryAfterSeconds: 1, "The answer took too long."), connection))
        case .head where connection.requestsServed > 0, .responding:
            shutdown(connection.descriptor, Int32(SHUT_RDWR))
        case .head, .body:
            var words = OutgoingBytes()
            let problem = Problem(408, type: "request-timeout", title: "The request took too long to arrive")
            words.append(RawResponse.bytes(problem, requestID: requestID(connection)))
            _ = words.send(to: connection.descriptor)
            shutdown(connection.descriptor, Int32(SHUT_RDWR))
        }
    }

    // MARK: The end

    /// From any thread. Returns when everything is closed.
    func drain(withinSeconds seconds: Double) async {
        await withCheckedContinuation { continuation in
            if !events.execute({ self.beginDrain(seconds, continuation) }) { continuation.resume() }
        }
    }

    private func beginDrain(_ seconds: Double, _ continuation: CheckedContinuation<Void, Never>) {
        switch drain {
        case .done: return continuation.resume()
        case .until(let deadline, let waiting):
            drain = .until(min(deadline, EventLoop.now() + seconds), waiting + [continuation])
        case .no:
            now = EventLoop.now()
            drain = .until(now + seconds, [continuation])
            listener?.close()
            listener = nil
            isDraining = true
            for stream in streams { stream.end() }
            // Idle connections are closed; one whose request is just arriving is served first.
            for connection in connections where connection.phase == .head {
                if connection.hasUnreadBytes || !connection.head.target.isEmpty {
                    connection.deadline = min(connection.deadline, now + min(seconds, 1))
                } else {
                    shutdown(connection.descriptor, Int32(SHUT_RD))
                }
            }
        }
    }

    /// Breaks off what is left, if anything.
    private func stop(_ daemon: OpaquePointer) {
        drain = .done
        for connection in connections where connection.phase == .running && connection.isSuspended {
            connection.task?.cancel()
            connection.generation += 1
            resume(connection, with: response(.unavailable(retryAfterSeconds: 1, "Shutting down."), connection))
        }
        MHD_run(daemon)
        while let stream = streams.last { stream.close() }
        for words in lastWords { words.close() }
        lastWords = []
        MHD_stop_daemon(daemon)
        self.daemon = nil
        daemonSource = nil
        for item in finished { Self.discard(item.response) }
        finished = []
    }

    /// The library's descriptors became ready: the turn that follows runs it anyway.
    private final class DaemonSource: EventSource {
        func ready(_: UInt32) {}
    }
}

/// wyrand: for identifiers of traces, which need to be spread, not secret.
struct FastRandom: RandomNumberGenerator {
    private var state = UInt64.random(in: .min ... .max)

    mutating func next() -> UInt64 {
        state &+= 0xA076_1D64_78BD_642F
        let (high, low) = state.multipliedFullWidth(by: state ^ 0xE703_7ED1_A0B4_28DB)
        return high ^ low
    }
}
