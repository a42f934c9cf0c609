// libcurl's multi interface on one event loop: it says which sockets to watch and when to be called, the loop does it.
import CCurl
import CMicroHTTPD
import Foundation
import Runtime

/// `@unchecked Sendable`: touched by its loop's thread only; other threads come in through `EventLoop.execute`.
final class ClientLoop: @unchecked Sendable {
    struct Limits: Sendable {
        var connectionsMax: Int
        var connectionsPerHostMax: Int
        var requestsWaitingMax: Int
        var streamsMax: Int
        var connectSeconds: Double
    }

    /// The requests for one scheme, host and port.
    private struct Host {
        var running = 0
        /// Requests that wait; those before `next` were taken already.
        var waiting: [Transfer] = []
        var next = 0
        /// Listed in `ready`.
        var isReady = false

        var hasWaiting: Bool { next < waiting.count }

        mutating func take() -> Transfer? {
            guard hasWaiting else { return nil }
            defer {
                next += 1
                if next == waiting.count || (next > 64 && next * 2 > waiting.count) {
                    waiting.removeFirst(next)
                    next = 0
                }
            }
            return waiting[next]
        }
    }

    /// Handles kept for reuse.
    private static let idleHandlesMax = 1_024
    /// How often requests that wait for a connection are looked at for being too late.
    private static let waitingTickSeconds = 0.25
    /// Rounds of completions and new requests in a row before sockets are waited for again.
    private static let roundsInARowMax = 16

    let events: EventLoop
    private let limits: Limits
    private let multi: UnsafeMutableRawPointer
    private var hosts: [String: Host] = [:]
    /// Hosts with waiting requests and connections left, in the order in which they are served.
    private var ready: [String] = []
    private var running = 0
    private var waiting = 0
    private var streams = 0
    private var transfers: [Transfer] = []
    private var idle: [UnsafeMutableRawPointer] = []
    private var sockets: [curl_socket_t: Socket] = [:]
    private var alarms: [Int: @Sendable () -> Void] = [:]
    private var lastAlarm = 0
    private var timeoutAt: Double?
    private var waitingTickAt = 0.0
    private var closing: [CheckedContinuation<Void, Never>]?

    /// libcurl's one-time set-up of the process.
    private static let isLibraryReady = curl_global_init(Int(CURL_GLOBAL_ALL)) == CURLE_OK

    init(_ limits: Limits) throws(HTTPClientError) {
        self.limits = limits
        do throws(EventLoopError) {
            events = try EventLoop(name: "http-client")
        } catch {
            throw .connection(error.description)
        }
        guard Self.isLibraryReady, let multi = curl_multi_init() else { throw .connection("libcurl did not start") }
        self.multi = multi
        let context = Unmanaged.passUnretained(self).toOpaque()
        stampede_multi_set_socket_function(multi, Self.socketFunction)
        stampede_multi_set_pointer(multi, CURLMOPT_SOCKETDATA, context)
        stampede_multi_set_timer_function(multi, Self.timerFunction)
        stampede_multi_set_pointer(multi, CURLMOPT_TIMERDATA, context)
        stampede_multi_set_long(multi, CURLMOPT_MAXCONNECTS, limits.connectionsMax)
        stampede_multi_set_long(multi, CURLMOPT_PIPELINING, 0)
        do throws(EventLoopError) {
            // The closure keeps the loop while its thread runs.
            try events.start { self.turn() }
        } catch {
            curl_multi_cleanup(multi)
            throw .connection(error.description)
        }
    }

    // MARK: From any thread

    func submit(_ transfer: Transfer, _ continuation: Transfer.Continuation) {
        if events.isCurrent {
            accept(transfer, continuation)
        } else if !events.execute({ self.accept(transfer, continuation) }) {
            continuation.resume(returning: .failure(.closed))
        }
    }

    func cancel(_ transfer: Transfer) {
        events.execute {
            guard !transfer.isDone else { return }
            if transfer.easy != nil { self.remove(transfer) }
            transfer.finish(.failure(.cancelled))
        }
    }

    func close() async {
        await withCheckedContinuation { continuation in
            let accepted = events.execute {
                if self.closing == nil { self.closing = [] }
                self.closing?.append(continuation)
            }
            if !accepted { continuation.resume() }
        }
    }

    // MARK: Requests

    private func accept(_ transfer: Transfer, _ continuation: Transfer.Continuation) {
        transfer.continuation = continuation
        // Cancelled before it came here.
        guard !transfer.isDone else { return transfer.finish(.failure(.cancelled)) }
        guard closing == nil else { return transfer.finish(.failure(.closed)) }
        if let error = transfer.invalidity { return transfer.finish(.failure(error)) }
        var host = hosts[transfer.host, default: Host()]
        defer { hosts[transfer.host] = host }
        if !host.hasWaiting, host.running < limits.connectionsPerHostMax, running < limits.connectionsMax {
            if begin(transfer) {
                host.running += 1
                running += 1
            }
            return
        }
        guard waiting < limits.requestsWaitingMax else { return transfer.finish(.failure(.overloaded)) }
        waiting += 1
        host.waiting.append(transfer)
        if !host.isReady, host.running < limits.connectionsPerHostMax {
            host.isReady = true
            ready.append(transfer.host)
        }
    }

    /// Starts waiting requests while there are connections for them: one of each host in turn.
    private func pump() {
        while running < limits.connectionsMax, !ready.isEmpty {
            let key = ready.removeFirst()
            guard var host = hosts[key] else { continue }
            host.isReady = false
            if host.running < limits.connectionsPerHostMax, let transfer = host.take() {
                waiting -= 1
                if !transfer.isDone, begin(transfer) {
                    host.running += 1
                    running += 1
                }
            }
            if host.hasWaiting, host.running < limits.connectionsPerHostMax {
                host.isReady = true
                ready.append(key)
            }
            hosts[key] = host.running == 0 && !host.hasWaiting ? nil : host
        }
    }

    private func expireWaiting(_ now: Double) {
        for host in hosts.values {
            for transfer in host.waiting[host.next...] where transfer.deadline < now && !transfer.isDone {
                transfer.finish(.failure(.timedOut))
            }
        }
    }

    /// Gives the request to libcurl. False: it has failed already.
    private func begin(_ transfer: Transfer) -> Bool {
        let secondsLeft = transfer.deadline - EventLoop.now()
        guard secondsLeft > 0 || transfer.follower != nil else {
            transfer.finish(.failure(.timedOut))
            return false
        }
        guard let easy = idle.popLast() ?? makeHandle() else {
            transfer.finish(.failure(.connection("libcurl has no handle left")))
            return false
        }
        let context = Unmanaged.passUnretained(transfer).toOpaque()
        stampede_easy_set_pointer(easy, CURLOPT_PRIVATE, context)
        stampede_easy_set_pointer(easy, CURLOPT_WRITEDATA, context)
        stampede_easy_set_pointer(easy, CURLOPT_HEADERDATA, context)
        setMethod(transfer, easy)
        setFields(transfer, easy)
        let isStream = transfer.follower != nil
        stampede_easy_set_long(easy, CURLOPT_TIMEOUT_MS, isStream ? 0 : max(1, Int(min(secondsLeft, 1e6) * 1_000)))
        stampede_easy_set_long(easy, CURLOPT_LOW_SPEED_LIMIT, isStream ? 1 : 0)
        stampede_easy_set_long(easy, CURLOPT_LOW_SPEED_TIME, isStream ? EventFollower.silenceSecondsMax : 0)
        let proxy: UnsafePointer<CChar>? = nil
        if Self.isLocal(transfer.host) {
            "".withCString { _ = stampede_easy_set_pointer(easy, CURLOPT_PROXY, $0) }
        } else {
            stampede_easy_set_pointer(easy, CURLOPT_PROXY, proxy)
        }
        if let address = transfer.request.localAddress {
            "host!\(address)".withCString { _ = stampede_easy_set_pointer(easy, CURLOPT_INTERFACE, $0) }
        } else {
            let any: UnsafePointer<CChar>? = nil
            stampede_easy_set_pointer(easy, CURLOPT_INTERFACE, any)
        }
        let url = transfer.request.url.withCString { stampede_easy_set_pointer(easy, CURLOPT_URL, $0) }
        guard url == CURLE_OK, curl_multi_add_handle(multi, easy) == CURLM_OK else {
            curl_slist_free_all(transfer.fields)
            transfer.fields = nil
            curl_easy_cleanup(easy)
            transfer.finish(.failure(.invalidRequest("libcurl does not take it")))
            return false
        }
        transfer.easy = easy
        transfer.index = transfers.count
        transfers.append(transfer)
        return true
    }

    private func makeHandle() -> UnsafeMutableRawPointer? {
        guard let easy = curl_easy_init() else { return nil }
        stampede_easy_set_long(easy, CURLOPT_NOSIGNAL, 1)
        stampede_easy_set_long(easy, CURLOPT_HTTP_VERSION, Int(CURL_HTTP_VERSION_1_1))
        stampede_easy_set_long(easy, CURLOPT_TCP_KEEPALIVE, 1)
        stampede_easy_set_long(easy, CURLOPT_PATH_AS_IS, 1)
        stampede_easy_set_long(easy, CURLOPT_CONNECTTIMEOUT_MS, max(1, Int(limits.connectSeconds * 1_000)))
        "http,https".withCString { _ = stampede_easy_set_pointer(easy, CURLOPT_PROTOCOLS_STR, $0) }
        stampede_easy_set_data_function(easy, CURLOPT_WRITEFUNCTION, Transfer.writeFunction)
        stampede_easy_set_data_function(easy, CURLOPT_HEADERFUNCTION, Transfer.headerFunction)
        stampede_easy_set_close_function(easy, Self.closeFunction)
        stampede_easy_set_pointer(easy, CURLOPT_CLOSESOCKETDATA, Unmanaged.passUnretained(self).toOpaque())
        return easy
    }

    private func setMethod(_ transfer: Transfer, _ easy: UnsafeMutableRawPointer) {
        let method = transfer.request.method
        let body = transfer.request.body
        // HTTPGET takes back what an earlier request set on this handle.
        stampede_easy_set_long(easy, CURLOPT_NOBODY, 0)
        stampede_easy_set_long(easy, CURLOPT_HTTPGET, 1)
        if method == .head {
            stampede_easy_set_long(easy, CURLOPT_NOBODY, 1)
        } else if !body.isEmpty || method == .post || method == .put || method == .patch {
            stampede_easy_set_long(easy, CURLOPT_POST, 1)
            stampede_easy_set_offset(easy, CURLOPT_POSTFIELDSIZE_LARGE, curl_off_t(body.count))
            if body.isEmpty {
                "".withCString { _ = stampede_easy_set_pointer(easy, CURLOPT_COPYPOSTFIELDS, $0) }
            } else {
                body.withUnsafeBytes { _ = stampede_easy_set_pointer(easy, CURLOPT_COPYPOSTFIELDS, $0.baseAddress) }
            }
        }
        method.rawValue.withCString { _ = stampede_easy_set_pointer(easy, CURLOPT_CUSTOMREQUEST, $0) }
    }

    private func setFields(_ transfer: Transfer, _ easy: UnsafeMutableRawPointer) {
        var list: UnsafeMutablePointer<curl_slist>?
        var hasType = false
        for (name, value) in transfer.request.headers {
            if name.utf8.count == 12, HeaderFields.equal(name.utf8, "content-type".utf8) { hasType = true }
            // libcurl's way of saying that a field is there and empty.
            list = curl_slist_append(list, value.isEmpty ? "\(name);" : "\(name): \(value)")
        }
        // Without a type of the caller's, libcurl would call the body a form.
        if !hasType { list = curl_slist_append(list, "Content-Type:") }
        transfer.fields = list
        stampede_easy_set_pointer(easy, CURLOPT_HTTPHEADER, list)
    }

    /// Loopback is never reached through the environment's proxy.
    private static func isLocal(_ host: String) -> Bool {
        host.hasPrefix("http://127.") || host.hasPrefix("http://localhost") || host.hasPrefix("http://[::1]")
            || host.hasPrefix("https://127.") || host.hasPrefix("https://localhost") || host.hasPrefix("https://[::1]")
    }

    /// Takes the request out of libcurl and its place.
    private func remove(_ transfer: Transfer) {
        guard let easy = transfer.easy else { return }
        transfer.easy = nil
        curl_multi_remove_handle(multi, easy)
        curl_slist_free_all(transfer.fields)
        transfer.fields = nil
        if idle.count < Self.idleHandlesMax { idle.append(easy) } else { curl_easy_cleanup(easy) }
        let last = transfers.removeLast()
        if last !== transfer {
            transfers[transfer.index] = last
            last.index = transfer.index
        }
        guard transfer.follower == nil else {
            streams -= 1
            return
        }
        running -= 1
        guard var host = hosts[transfer.host] else { return }
        host.running -= 1
        if host.hasWaiting, !host.isReady {
            host.isReady = true
            ready.append(transfer.host)
        }
        hosts[transfer.host] = host.running == 0 && !host.hasWaiting ? nil : host
    }

    private func complete(_ transfer: Transfer, _ code: CURLcode) {
        remove(transfer)
        let result: Result<ClientResponse, HTTPClientError> =
            if let failure = transfer.failure {
                .failure(failure)
            } else if code == CURLE_OK {
                .success(ClientResponse(status: transfer.status, headers: transfer.headers, body: transfer.body))
            } else {
                .failure(Self.error(code))
            }
        transfer.finish(result)
        transfer.follower?.ended(result.map(\.status))
    }

    private static func error(_ code: CURLcode) -> HTTPClientError {
        let reason = String(cString: curl_easy_strerror(code))
        switch code {
        case CURLE_OPERATION_TIMEDOUT: return .timedOut
        case CURLE_URL_MALFORMAT: return .invalidRequest(reason)
        case CURLE_COULDNT_RESOLVE_HOST, CURLE_COULDNT_RESOLVE_PROXY, CURLE_COULDNT_CONNECT, CURLE_SSL_CONNECT_ERROR,
            CURLE_PEER_FAILED_VERIFICATION, CURLE_SSL_CACERT_BADFILE, CURLE_SSL_CERTPROBLEM, CURLE_PROXY:
            return .connection(reason)
        default: return .broken(reason)
        }
    }

    // MARK: Event streams, on the loop

    func openStream(_ request: ClientRequest, follower: EventFollower) -> Transfer? {
        let transfer = Transfer(request, follower: follower)
        let error: HTTPClientError? =
            closing != nil ? .closed : streams < limits.streamsMax ? transfer.invalidity : .overloaded
        if let error {
            follower.ended(.failure(error))
            return nil
        }
        guard begin(transfer) else {
            follower.ended(.failure(.connection("libcurl has no handle left")))
            return nil
        }
        streams += 1
        return transfer
    }

    func abandon(_ transfer: Transfer) {
        if transfer.easy != nil { remove(transfer) }
        transfer.isDone = true
    }

    func unpause(_ transfer: Transfer) {
        guard transfer.isPaused, let easy = transfer.easy else { return }
        transfer.isPaused = false
        curl_easy_pause(easy, CURLPAUSE_CONT)
    }

    /// Runs the action after so many seconds, or when the client is closed before.
    func after(_ seconds: Double, _ action: @escaping @Sendable () -> Void) {
        lastAlarm += 1
        let alarm = lastAlarm
        alarms[alarm] = action
        events.addTimer(after: .seconds(seconds)) { self.alarms.removeValue(forKey: alarm)?() }
    }

    // MARK: Turns

    private func turn() -> EventLoop.Wait {
        if let closing {
            end()
            for continuation in closing { continuation.resume() }
            return .over
        }
        var now = EventLoop.now()
        var rounds = 0
        var isBusy = true
        while isBusy, rounds < Self.roundsInARowMax {
            rounds += 1
            isBusy = false
            if let at = timeoutAt, at <= now {
                timeoutAt = nil
                var count: Int32 = 0
                curl_multi_socket_action(multi, curl_socket_t(-1), 0, &count)
            }
            var left: Int32 = 0
            while let message = curl_multi_info_read(multi, &left) {
                guard message.pointee.msg == CURLMSG_DONE, let easy = message.pointee.easy_handle else { continue }
                let code = stampede_message_result(message)
                var context: UnsafeMutableRawPointer?
                stampede_easy_get_pointer(easy, CURLINFO_PRIVATE, &context)
                guard let context else { continue }
                isBusy = true
                complete(Unmanaged<Transfer>.fromOpaque(context).takeUnretainedValue(), code)
            }
            pump()
            events.runJobs()
            now = EventLoop.now()
            if let at = timeoutAt, at <= now { isBusy = true }
        }
        if waiting > 0, now >= waitingTickAt {
            waitingTickAt = now + Self.waitingTickSeconds
            expireWaiting(now)
        }
        if isBusy { return .milliseconds(0) }
        var until = timeoutAt ?? .infinity
        if waiting > 0 { until = min(until, waitingTickAt) }
        return .milliseconds(until == .infinity ? -1 : Int32(min(max(0, (until - now) * 1_000), 1e9).rounded(.up)))
    }

    private func end() {
        while let transfer = transfers.last {
            remove(transfer)
            transfer.finish(.failure(.closed))
            transfer.follower?.ended(.failure(.closed))
        }
        for host in hosts.values {
            for transfer in host.waiting[host.next...] where !transfer.isDone { transfer.finish(.failure(.closed)) }
        }
        hosts = [:]
        for easy in idle { curl_easy_cleanup(easy) }
        idle = []
        // Streams that wait to come back learn that they cannot.
        let due = alarms.values
        alarms = [:]
        for action in due { action() }
        curl_multi_cleanup(multi)
    }

    // MARK: Sockets

    /// A socket that libcurl uses or keeps. It stays registered between two requests: most come back at once.
    private final class Socket: EventSource {
        /// A connection, whose end `closeFunction` hears of. What else libcurl waits for is its own, such as the pair that
        /// tells it of an answer from the resolver: it closes that unheard, and the next connection has the same number.
        let isConnection: Bool
        private unowned let owner: ClientLoop
        private let descriptor: curl_socket_t
        private var token: UInt64?
        private var registered: UInt32 = 0
        private var wanted: UInt32 = 0

        init(owner: ClientLoop, descriptor: curl_socket_t) {
            self.owner = owner
            self.descriptor = descriptor
            var family: Int32 = 0
            var length = socklen_t(MemoryLayout<Int32>.size)
            isConnection =
                getsockopt(descriptor, SOL_SOCKET, SO_DOMAIN, &family, &length) == 0
                && (family == AF_INET || family == AF_INET6)
        }

        func want(_ events: UInt32) {
            wanted = events
            guard events != 0, events != registered else { return }
            if let token {
                owner.events.change(token, descriptor: descriptor, events: events)
            } else {
                token = owner.events.add(self, descriptor: descriptor, events: events)
            }
            registered = token == nil ? 0 : events
        }

        func forget() {
            if let token { owner.events.remove(token, descriptor: descriptor) }
            token = nil
            registered = 0
        }

        func ready(_ events: UInt32) {
            // Something on a connection that nobody uses, such as its end: libcurl finds out when it takes it.
            if wanted == 0 { return forget() }
            var mask: Int32 = 0
            if events & EventLoop.readable != 0 { mask |= CURL_CSELECT_IN }
            if events & EventLoop.writable != 0 { mask |= CURL_CSELECT_OUT }
            if events & EventLoop.hungUp != 0 { mask |= CURL_CSELECT_ERR }
            var count: Int32 = 0
            curl_multi_socket_action(owner.multi, descriptor, mask, &count)
        }
    }

    private static let socketFunction: curl_socket_callback = { _, descriptor, what, context, _ in
        guard let context else { return 0 }
        let loop = Unmanaged<ClientLoop>.fromOpaque(context).takeUnretainedValue()
        let events: UInt32 =
            switch what {
            case CURL_POLL_IN: EventLoop.readable
            case CURL_POLL_OUT: EventLoop.writable
            case CURL_POLL_INOUT: EventLoop.readable | EventLoop.writable
            default: 0
            }
        if let socket = loop.sockets[descriptor] {
            if what == CURL_POLL_REMOVE, !socket.isConnection {
                loop.sockets[descriptor] = nil
                socket.forget()
            } else {
                socket.want(events)
            }
        } else if events != 0 {
            let socket = Socket(owner: loop, descriptor: descriptor)
            loop.sockets[descriptor] = socket
            socket.want(events)
        }
        return 0
    }

    private static let closeFunction: curl_closesocket_callback = { context, descriptor in
        if let context {
            let loop = Unmanaged<ClientLoop>.fromOpaque(context).takeUnretainedValue()
            loop.sockets.removeValue(forKey: descriptor)?.forget()
        }
        return Glibc.close(descriptor)
    }

    private static let timerFunction: curl_multi_timer_callback = { _, milliseconds, context in
        guard let context else { return 0 }
        let loop = Unmanaged<ClientLoop>.fromOpaque(context).takeUnretainedValue()
        loop.timeoutAt = milliseconds < 0 ? nil : EventLoop.now() + Double(milliseconds) / 1_000
        return 0
    }
}
