// The listening socket: accepts, counts, and hands connections to the event loops in turn.
import CMicroHTTPD
import Foundation
import Observability
import Runtime

/// Lives on the first event loop. Closed by `close`, on that loop.
final class Listener: EventSource {
    /// Accepted in a row before other work gets its turn.
    private static let acceptsInARowMax = 256

    private let descriptor: Int32
    let port: UInt16
    private let log: Logger
    private var token: UInt64?
    var isWatching: Bool { token != nil }
    private var loop: EventLoop?
    private var accepted: (Int32, sockaddr_storage, socklen_t) -> Void = { descriptor, _, _ in Glibc.close(descriptor) }

    init(address: String, port: UInt16, log: Logger) throws(HTTPError) {
        self.log = log
        var hints = addrinfo()
        hints.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV | AI_PASSIVE
        hints.ai_socktype = Int32(SOCK_STREAM.rawValue)
        var list: UnsafeMutablePointer<addrinfo>?
        guard getaddrinfo(address, String(port), &hints, &list) == 0, let info = list?.pointee else {
            throw .invalidAddress(address)
        }
        defer { freeaddrinfo(list) }
        func failure() -> HTTPError {
            let reason = String(cString: strerror(errno))
            return .system("listen on \(address.contains(":") ? "[\(address)]" : address):\(port): \(reason)")
        }
        let kind = Int32(SOCK_STREAM.rawValue) | Int32(SOCK_NONBLOCK.rawValue) | Int32(SOCK_CLOEXEC.rawValue)
        descriptor = socket(info.ai_family, kind, 0)
        guard descriptor >= 0 else { throw failure() }
        var one: Int32 = 1
        setsockopt(descriptor, SOL_SOCKET, SO_REUSEADDR, &one, 4)
        var bound = sockaddr_in6()
        var length = socklen_t(MemoryLayout<sockaddr_in6>.size)
        let descriptor = descriptor
        let listening =
            bind(descriptor, info.ai_addr, info.ai_addrlen) == 0 && listen(descriptor, 4_096) == 0
            && withUnsafeMutablePointer(to: &bound) { pointer in
                pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                    getsockname(descriptor, $0, &length) == 0
                }
            }
        guard listening else {
            let error = failure()
            Glibc.close(descriptor)
            throw error
        }
        // The port is at the same place in both families' addresses.
        self.port = UInt16(bigEndian: bound.sin6_port)
    }

    /// Starts accepting. On the loop.
    func open(on loop: EventLoop, accepted: @escaping (Int32, sockaddr_storage, socklen_t) -> Void) {
        self.loop = loop
        self.accepted = accepted
        watch()
    }

    /// Watches again after `ready` had to give up for want of descriptors.
    func watch() {
        guard token == nil, let loop else { return }
        token = loop.add(self, descriptor: descriptor, events: EventLoop.readable)
    }

    /// Takes what already waits in the queue, then closes. On the loop.
    func close() {
        guard let loop else { return }
        if let token {
            ready(EventLoop.readable)
            loop.remove(token, descriptor: descriptor)
        }
        token = nil
        self.loop = nil
        accepted = { descriptor, _, _ in Glibc.close(descriptor) }
        Glibc.close(descriptor)
    }

    /// Closes a listener that was never opened.
    func discard() { if loop == nil { Glibc.close(descriptor) } }

    func ready(_: UInt32) {
        for _ in 0..<Self.acceptsInARowMax {
            var address = sockaddr_storage()
            var length = socklen_t(MemoryLayout<sockaddr_storage>.size)
            let client = withUnsafeMutablePointer(to: &address) { pointer in
                pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                    accept4(descriptor, $0, &length, Int32(SOCK_NONBLOCK.rawValue) | Int32(SOCK_CLOEXEC.rawValue))
                }
            }
            if client >= 0 {
                accepted(client, address, length)
                continue
            }
            switch errno {
            case EAGAIN: return
            case EMFILE, ENFILE, ENOBUFS, ENOMEM:
                // The queue stays readable, so look away until the next tick.
                log.warning("cannot accept connections for now", ["reason": String(cString: strerror(errno))])
                if let token { loop?.remove(token, descriptor: descriptor) }
                token = nil
                return
            default: continue  // this one connection is gone already
            }
        }
    }
}
