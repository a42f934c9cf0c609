// A client for load: many prepared requests over few keep-alive connections, each sent when the one before it is
// answered. It costs a few microseconds a request, so that what is measured is the server. Services use `HTTPClient`.
//
// One thread owns its connections and waits for them with poll(2); threads share nothing but the number of the next
// request.
import Foundation
import Synchronization

public final class BurstClient: Sendable {
    /// How one request ended.
    public struct Answer: Sendable {
        public let request: Int
        /// 0: no answer after all attempts.
        public let status: Int
        /// Microseconds since 1970, of the first attempt.
        public let sentAt: Int64
        public let answeredAt: Int64
    }

    public struct Configuration: Sendable {
        /// An IPv4 address such as 127.0.0.1, or a host's name. On loopback each connection has an address of its own.
        public var address: String
        public var port: UInt16
        /// Of all threads together.
        public var connections: Int
        public var threads: Int
        /// How often one request is sent while it is answered 429 or 503, or not at all.
        public var attemptsMax: Int
        /// How long an answer may take before the request is sent again.
        public var timeoutSeconds: Int
        /// Requests a second, all connections together, as long as one is free; nil: each connection sends as soon as it
        /// has its answer.
        public var rate: Int?

        public init(
            address: String, port: UInt16, connections: Int = 64, threads: Int = 1, attemptsMax: Int = 30,
            timeoutSeconds: Int = 30, rate: Int? = nil
        ) {
            self.address = address
            self.port = port
            self.connections = connections
            self.threads = threads
            self.attemptsMax = attemptsMax
            self.timeoutSeconds = timeoutSeconds
            self.rate = rate
        }
    }

    private let configuration: Configuration

    public init(_ configuration: Configuration) { self.configuration = configuration }

    /// Sends requests 0 ..< `count` and returns when every one has its answer.
    /// - Parameters:
    ///   - write: appends the whole request, from request line to body. Called on the sending threads, for one request
    ///     once per attempt.
    ///   - answered: gets answers in small groups, on the sending threads.
    /// - Throws: `HTTPClientError` when the system gives no sockets.
    public func run(
        count: Int, write: @escaping @Sendable (Int, inout [UInt8]) -> Void,
        answered: @escaping @Sendable ([Answer]) -> Void
    ) async throws(HTTPClientError) {
        let next = Next(rate: configuration.rate)
        let configuration = configuration
        let threads = max(1, min(configuration.threads, configuration.connections))
        let failure = await withTaskGroup(of: HTTPClientError?.self) { group in
            for thread in 0..<threads {
                let connections =
                    configuration.connections / threads
                    + (thread < configuration.connections % threads ? 1 : 0)
                group.addTask {
                    await withCheckedContinuation { continuation in
                        let worker = Thread {
                            do throws(HTTPClientError) {
                                let loop = try BurstLoop(
                                    configuration, thread: thread, connections: connections, next: next, count: count,
                                    write: write,
                                    answered: answered)
                                try loop.run()
                                continuation.resume(returning: nil)
                            } catch {
                                continuation.resume(returning: error)
                            }
                        }
                        worker.name = "burst-\(thread)"
                        worker.start()
                    }
                }
            }
            var failure: HTTPClientError?
            for await error in group { failure = failure ?? error }
            return failure
        }
        if let failure { throw failure }
    }

    /// The number of the next request, shared by the threads.
    final class Next: Sendable {
        private let value = Atomic<Int>(0)
        private let rate: Int?
        private let started = ContinuousClock.now

        init(rate: Int?) { self.rate = rate }

        /// Nil while it is not due.
        func take() -> Int? {
            guard let rate else { return value.add(1, ordering: .relaxed).oldValue }
            let due = Int((ContinuousClock.now - started) / .seconds(1) * Double(rate))
            var number = value.load(ordering: .relaxed)
            while number <= due {
                let (exchanged, original) = value.weakCompareExchange(
                    expected: number, desired: number + 1, ordering: .relaxed)
                if exchanged { return number }
                number = original
            }
            return nil
        }
    }
}

/// One thread's connections.
private final class BurstLoop {
    private struct Connection {
        var descriptor: Int32 = -1
        /// The request on its way, nil: idle.
        var request: Int?
        var attempt = 0
        var firstSentAt: Int64 = 0
        var sentAt: Int64 = 0
        var outgoing: [UInt8] = []
        var written = 0
        var incoming: [UInt8] = []
    }

    private struct Retry {
        let request: Int
        let attempt: Int
        let firstSentAt: Int64
        let dueAt: Int64
    }

    private let configuration: BurstClient.Configuration
    private let thread: Int
    private let isLoopback: Bool
    private let next: BurstClient.Next
    private let count: Int
    private let write: @Sendable (Int, inout [UInt8]) -> Void
    private let answered: @Sendable ([BurstClient.Answer]) -> Void
    private var connections: [Connection]
    /// What poll(2) waits for, by connection; -1 where there is none.
    private var waits: [pollfd]
    /// In the order of their due times: every wait is about as long.
    private var retries: [Retry] = []
    private var answers: [BurstClient.Answer] = []
    private var isExhausted = false
    private var address = sockaddr_in()

    private static let answersMax = 256
    private static let readBytes = 64 << 10
    /// No answer to a load's request is longer.
    private static let responseBytesMax = 1 << 20

    init(
        _ configuration: BurstClient.Configuration, thread: Int, connections: Int, next: BurstClient.Next, count: Int,
        write: @escaping @Sendable (Int, inout [UInt8]) -> Void,
        answered: @escaping @Sendable ([BurstClient.Answer]) -> Void
    ) throws(HTTPClientError) {
        self.configuration = configuration
        self.thread = thread
        isLoopback = LoopbackAddress.reaches(configuration.address)
        self.next = next
        self.count = count
        self.write = write
        self.answered = answered
        self.connections = Array(repeating: Connection(), count: connections)
        waits = Array(repeating: pollfd(fd: -1, events: Int16(POLLIN), revents: 0), count: connections)
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = configuration.port.bigEndian
        address.sin_addr = try Self.resolve(configuration.address)
    }

    /// The first IPv4 address of a host.
    private static func resolve(_ host: String) throws(HTTPClientError) -> in_addr {
        var hints = addrinfo()
        hints.ai_family = AF_INET
        hints.ai_socktype = Int32(SOCK_STREAM.rawValue)
        var found: UnsafeMutablePointer<addrinfo>?
        let code = getaddrinfo(host, nil, &hints, &found)
        defer { if let found { freeaddrinfo(found) } }
        guard code == 0, let address = found?.pointee.ai_addr else {
            throw .connection("'\(host)' has no IPv4 address: \(String(cString: gai_strerror(code)))")
        }
        return address.withMemoryRebound(to: sockaddr_in.self, capacity: 1) { $0.pointee.sin_addr }
    }

    deinit {
        for connection in connections where connection.descriptor >= 0 { close(connection.descriptor) }
    }

    func run() throws(HTTPClientError) {
        for index in connections.indices { try advance(index) }
        var swept = Self.now()
        while connections.contains(where: { $0.request != nil }) || !retries.isEmpty || !isExhausted {
            let wait: Int32 = retries.isEmpty && isExhausted ? 100 : 5
            let ready = poll(&waits, nfds_t(waits.count), wait)
            guard ready >= 0 || errno == EINTR else { throw .connection("poll: \(Self.systemError)") }
            if ready > 0 {
                for index in waits.indices where waits[index].revents != 0 { try handle(index, waits[index].revents) }
            }
            let now = Self.now()
            if ready <= 0 || now - swept > 20_000 {
                swept = now
                try sweep(now)
                flush()
            }
        }
        flush()
    }

    /// Gives an idle connection its next request, if there is one.
    private func advance(_ index: Int) throws(HTTPClientError) {
        guard connections[index].request == nil else { return }
        let now = Self.now()
        if let retry = retries.first, retry.dueAt <= now {
            retries.removeFirst()
            try send(retry.request, attempt: retry.attempt, firstSentAt: retry.firstSentAt, on: index)
        } else if !isExhausted {
            guard let request = next.take() else { return }
            guard request < count else {
                isExhausted = true
                return
            }
            try send(request, attempt: 1, firstSentAt: now, on: index)
        }
    }

    private func send(_ request: Int, attempt: Int, firstSentAt: Int64, on index: Int) throws(HTTPClientError) {
        if connections[index].descriptor < 0 { try connect(index) }
        connections[index].request = request
        connections[index].attempt = attempt
        connections[index].firstSentAt = firstSentAt
        connections[index].sentAt = Self.now()
        connections[index].written = 0
        connections[index].incoming.removeAll(keepingCapacity: true)
        connections[index].outgoing.removeAll(keepingCapacity: true)
        write(request, &connections[index].outgoing)
        push(index)
    }

    private func connect(_ index: Int) throws(HTTPClientError) {
        let descriptor = socket(
            AF_INET, Int32(SOCK_STREAM.rawValue | SOCK_NONBLOCK.rawValue | SOCK_CLOEXEC.rawValue), 0)
        guard descriptor >= 0 else { throw .connection("no socket: \(Self.systemError)") }
        var on: Int32 = 1
        setsockopt(descriptor, Int32(IPPROTO_TCP), TCP_NODELAY, &on, socklen_t(MemoryLayout<Int32>.size))
        connections[index].descriptor = descriptor
        waits[index] = pollfd(fd: descriptor, events: Int16(POLLIN | POLLOUT), revents: 0)
        if isLoopback { bindToOwnAddress(descriptor, number: thread * 10_000 + index) }
        // A refusal shows when the connection is written to.
        _ = withUnsafePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                Glibc.connect(descriptor, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
            }
        }
    }

    /// As its own phone would have one. Where it does not succeed the system's address is as good.
    private func bindToOwnAddress(_ descriptor: Int32, number: Int) {
        var own = sockaddr_in()
        own.sin_family = sa_family_t(AF_INET)
        inet_pton(AF_INET, LoopbackAddress.client(number), &own.sin_addr)
        var on: Int32 = 1
        setsockopt(descriptor, Int32(IPPROTO_IP), IP_BIND_ADDRESS_NO_PORT, &on, socklen_t(MemoryLayout<Int32>.size))
        _ = withUnsafePointer(to: &own) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                bind(descriptor, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
            }
        }
    }

    private func handle(_ index: Int, _ events: Int16) throws(HTTPClientError) {
        if events & Int16(POLLOUT) != 0 { push(index) }
        if events & Int16(POLLIN | POLLHUP | POLLERR) != 0 { try pull(index) }
    }

    /// Writes what is left of the request.
    private func push(_ index: Int) {
        guard connections[index].request != nil, connections[index].descriptor >= 0 else { return }
        while connections[index].written < connections[index].outgoing.count {
            let written = connections[index].written
            let sent = connections[index].outgoing.withUnsafeBytes {
                Glibc.send(
                    connections[index].descriptor, $0.baseAddress.map { $0 + written }, $0.count - written,
                    Int32(MSG_NOSIGNAL))
            }
            guard sent > 0 else {
                if errno == EAGAIN || errno == ENOTCONN || errno == EINPROGRESS {
                    waitForRoom(index, true)
                } else {
                    lose(index)
                }
                return
            }
            connections[index].written += sent
        }
        waitForRoom(index, false)
    }

    private func waitForRoom(_ index: Int, _ isFull: Bool) {
        waits[index].events = Int16(isFull ? POLLIN | POLLOUT : POLLIN)
    }

    /// Reads, and takes the answer when it is whole.
    private func pull(_ index: Int) throws(HTTPClientError) {
        while connections[index].descriptor >= 0 {
            let before = connections[index].incoming.count
            let descriptor = connections[index].descriptor
            var received = 0
            withUnsafeTemporaryAllocation(byteCount: Self.readBytes, alignment: 16) { room in
                received = recv(descriptor, room.baseAddress, room.count, 0)
                if received > 0 { connections[index].incoming.append(contentsOf: room.prefix(received)) }
            }
            if received < 0, errno == EAGAIN { return }
            guard received > 0, before + received <= Self.responseBytesMax else {
                lose(index)
                try advance(index)
                return
            }
            guard let head = ResponseHead(connections[index].incoming) else { continue }
            guard let total = head.totalBytes else {
                lose(index)
                try advance(index)
                return
            }
            if connections[index].incoming.count >= total {
                finish(index, head)
                try advance(index)
                return
            }
        }
    }

    private func finish(_ index: Int, _ head: ResponseHead) {
        guard let request = connections[index].request else { return lose(index) }
        connections[index].request = nil
        let now = Self.now()
        if head.status == 429 || head.status == 503, connections[index].attempt < configuration.attemptsMax {
            retries.append(
                Retry(
                    request: request, attempt: connections[index].attempt + 1,
                    firstSentAt: connections[index].firstSentAt, dueAt: now + (head.retryAfterSeconds ?? 1) * 1_000_000)
            )
        } else {
            answer(request, head.status, connections[index].firstSentAt, now)
        }
        if head.closes { disconnect(index) }
    }

    /// The connection is gone; its request goes out again on another.
    private func lose(_ index: Int) {
        disconnect(index)
        guard let request = connections[index].request else { return }
        connections[index].request = nil
        let now = Self.now()
        if connections[index].attempt < configuration.attemptsMax {
            retries.append(
                Retry(
                    request: request, attempt: connections[index].attempt + 1,
                    firstSentAt: connections[index].firstSentAt, dueAt: now + 500_000))
        } else {
            answer(request, 0, connections[index].firstSentAt, now)
        }
    }

    private func disconnect(_ index: Int) {
        guard connections[index].descriptor >= 0 else { return }
        close(connections[index].descriptor)
        connections[index].descriptor = -1
        waits[index].fd = -1
        connections[index].incoming.removeAll(keepingCapacity: true)
    }

    private func sweep(_ now: Int64) throws(HTTPClientError) {
        let oldest = now - Int64(configuration.timeoutSeconds) * 1_000_000
        for index in connections.indices {
            if connections[index].request != nil, connections[index].sentAt < oldest { lose(index) }
            try advance(index)
        }
    }

    private func answer(_ request: Int, _ status: Int, _ sentAt: Int64, _ now: Int64) {
        answers.append(.init(request: request, status: status, sentAt: sentAt, answeredAt: now))
        if answers.count >= Self.answersMax { flush() }
    }

    private func flush() {
        guard !answers.isEmpty else { return }
        answered(answers)
        answers.removeAll(keepingCapacity: true)
    }

    private static func now() -> Int64 {
        var time = timespec()
        clock_gettime(CLOCK_REALTIME, &time)
        return Int64(time.tv_sec) * 1_000_000 + Int64(time.tv_nsec) / 1000
    }

    private static var systemError: String { String(cString: strerror(errno)) }
}

/// What a load needs to know of an answer's head. Answers without `Content-Length` are not understood.
struct ResponseHead {
    let status: Int
    private(set) var closes = false
    private(set) var retryAfterSeconds: Int64?
    private var headBytes = 0
    private var contentBytes: Int?

    /// Nil while the head is not whole.
    init?(_ bytes: [UInt8]) {
        guard let end = Self.headEnd(bytes) else { return nil }
        headBytes = end
        // HTTP/1.1 200 OK
        status = bytes.count > 12 ? Int(Self.number(bytes[9..<12]) ?? 0) : 0
        if status == 204 || status == 304 { contentBytes = 0 }
        var start = bytes.firstIndex(of: UInt8(ascii: "\n")).map { $0 + 1 } ?? end
        while start < end - 2 {
            let lineEnd = bytes[start..<end].firstIndex(of: UInt8(ascii: "\r")) ?? end
            if let colon = bytes[start..<lineEnd].firstIndex(of: UInt8(ascii: ":")) {
                field(bytes[start..<colon], value: bytes[(colon + 1)..<lineEnd])
            }
            start = lineEnd + 2
        }
    }

    /// Head and body together; nil where the body's end is not announced.
    var totalBytes: Int? { contentBytes.map { headBytes + $0 } }

    private mutating func field(_ name: ArraySlice<UInt8>, value: ArraySlice<UInt8>) {
        let value = value.drop { $0 == UInt8(ascii: " ") }
        if Self.equal(name, "content-length") {
            contentBytes = Self.number(value).map { Int($0) }
        } else if Self.equal(name, "connection") {
            closes = Self.equal(value, "close")
        } else if Self.equal(name, "retry-after") {
            retryAfterSeconds = Self.number(value)
        }
    }

    private static func headEnd(_ bytes: [UInt8]) -> Int? {
        guard bytes.count >= 16 else { return nil }
        var index = 3
        while index < bytes.count {
            if bytes[index] == 10, bytes[index - 1] == 13, bytes[index - 2] == 10, bytes[index - 3] == 13 {
                return index + 1
            }
            index += 1
        }
        return nil
    }

    private static func equal(_ text: ArraySlice<UInt8>, _ lowercase: StaticString) -> Bool {
        lowercase.withUTF8Buffer { known in
            text.count == known.count && zip(text, known).allSatisfy { $0 | 0x20 == $1 }
        }
    }

    private static func number(_ digits: ArraySlice<UInt8>) -> Int64? {
        guard !digits.isEmpty, digits.count <= 9, digits.allSatisfy({ (48...57).contains($0) }) else { return nil }
        return digits.reduce(0) { $0 * 10 + Int64($1 - 48) }
    }
}
