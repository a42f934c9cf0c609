// Sockets taken out of the library's hands: one has last words to say, the other carries an event stream.
import CMicroHTTPD
import Foundation
import Runtime

/// Bytes on their way to a non-blocking socket.
struct OutgoingBytes {
    private var bytes: [UInt8] = []
    private var sent = 0

    var count: Int { bytes.count - sent }
    var isEmpty: Bool { count == 0 }

    mutating func append(_ more: [UInt8]) {
        if isEmpty {
            bytes = more
            sent = 0
        } else {
            bytes.append(contentsOf: more)
        }
    }

    /// Sends as much as the network takes now. False: the connection is broken.
    mutating func send(to descriptor: Int32) -> Bool {
        while !isEmpty {
            let result = bytes.withUnsafeBytes { buffer in
                Glibc.send(
                    descriptor, buffer.baseAddress! + sent, buffer.count - sent,
                    Int32(MSG_NOSIGNAL) | Int32(MSG_DONTWAIT))
            }
            if result < 0 { return errno == EAGAIN || errno == EINTR }
            sent += result
        }
        bytes = []
        sent = 0
        return true
    }
}

/// Sends a refusal, closes its side, and reads what still comes for a while: closing at once would make the network
/// throw away the refusal when the client is still sending (RFC 9112, 9.6).
final class LastWords: EventSource {
    static let seconds = 5.0
    private static let discardedBytesMax = 1 << 20

    private let loop: EventLoop
    private let descriptor: Int32
    private var token: UInt64?
    private var outgoing = OutgoingBytes()
    private var discardedBytes = 0
    private var halfClosed = false
    let deadline: Double
    private(set) var isClosed = false

    /// Takes over the descriptor. On the loop.
    init(loop: EventLoop, descriptor: Int32, words: [UInt8]) {
        self.loop = loop
        self.descriptor = descriptor
        deadline = EventLoop.now() + Self.seconds
        outgoing.append(words)
        token = loop.add(
            self, descriptor: descriptor, events: EventLoop.readable | EventLoop.writable | EventLoop.edgeTriggered)
        if token == nil { close() } else { ready(0) }
    }

    func ready(_: UInt32) {
        guard !isClosed else { return }
        guard outgoing.send(to: descriptor) else { return close() }
        if outgoing.isEmpty, !halfClosed {
            halfClosed = true
            shutdown(descriptor, Int32(SHUT_WR))
        }
        withUnsafeTemporaryAllocation(byteCount: 16_384, alignment: 1) { buffer in
            while !isClosed {
                let count = recv(descriptor, buffer.baseAddress, buffer.count, Int32(MSG_DONTWAIT))
                if count < 0, errno == EAGAIN || errno == EINTR { return }
                discardedBytes += count
                if count <= 0 || discardedBytes > Self.discardedBytesMax { close() }
            }
        }
    }

    func close() {
        guard !isClosed else { return }
        isClosed = true
        if let token { loop.remove(token, descriptor: descriptor) }
        Glibc.close(descriptor)
    }
}

/// The socket of one event stream. It costs its buffers and nothing else: no thread, no timer.
///
/// `@unchecked Sendable`: touched on its loop only; `EventStream` calls back through `execute`.
final class StreamSocket: EventSource, @unchecked Sendable {
    private static let watched = EventLoop.hungUp
    private static let heartbeat = Array(": \n\n".utf8)

    private unowned let server: ServerLoop
    private let loop: EventLoop
    private let descriptor: Int32
    private let stream: EventStream
    private var token: UInt64?
    private var outgoing = OutgoingBytes()
    private var waitsToWrite = false
    private var spokeAt = EventLoop.now()
    private var blockedSince: Double?
    private var ended = false
    /// Where the server keeps it.
    var index = 0

    /// Takes over the descriptor. On the loop.
    init(server: ServerLoop, loop: EventLoop, descriptor: Int32, stream: EventStream, head: [UInt8]) {
        self.server = server
        self.loop = loop
        self.descriptor = descriptor
        self.stream = stream
        outgoing.append(head)
    }

    /// False: the socket could not be watched and is closed.
    func open() -> Bool {
        var one: Int32 = 1
        setsockopt(descriptor, Int32(IPPROTO_TCP), TCP_NODELAY, &one, 4)
        token = loop.add(self, descriptor: descriptor, events: Self.watched)
        guard token != nil else {
            Glibc.close(descriptor)
            stream.close()
            return false
        }
        let flush: @Sendable () -> Void = { [weak self] in self?.flush() }
        stream.attach { [loop] in loop.execute(flush) }
        return true
    }

    func ready(_ events: UInt32) {
        if events & EventLoop.hungUp != 0 { return close() }
        flush()
    }

    /// Sends what the stream has.
    func flush() {
        guard token != nil else { return }
        let taken = stream.take(stillUnsentBytes: outgoing.count)
        if taken.abandoned { return close() }
        ended = taken.ended
        if !taken.bytes.isEmpty {
            outgoing.append(taken.bytes)
            spokeAt = EventLoop.now()
        }
        push()
    }

    private func push() {
        let before = outgoing.count
        guard outgoing.send(to: descriptor) else { return close() }
        if outgoing.count < before { blockedSince = nil }
        stream.setUnsent(outgoing.count)
        if outgoing.isEmpty, ended { return close() }
        if !outgoing.isEmpty, blockedSince == nil { blockedSince = EventLoop.now() }
        guard waitsToWrite == outgoing.isEmpty, let token else { return }
        waitsToWrite.toggle()
        loop.change(
            token, descriptor: descriptor, events: waitsToWrite ? Self.watched | EventLoop.writable : Self.watched)
    }

    /// Called from time to time: says something on a silent stream, gives up a stuck one.
    func beat(now: Double, silentSecondsMax: Double, stuckSecondsMax: Double) {
        if let blockedSince, now - blockedSince > stuckSecondsMax { return close() }
        guard now - spokeAt >= silentSecondsMax, outgoing.isEmpty, token != nil else { return }
        spokeAt = now
        outgoing.append(Self.heartbeat)
        push()
    }

    /// Ends the stream from the server's side after what it has.
    func end() { stream.close() }

    func close() {
        guard let token else { return }
        self.token = nil
        loop.remove(token, descriptor: descriptor)
        Glibc.close(descriptor)
        stream.close()
        server.closed(self)
    }
}
