// A TCP proxy that tests put between a service and its Kafka or Postgres, to make the network between them fail.
import Foundation
import Synchronization

/// Passes connections on to a port of the loopback, until it is told to do worse.
///
/// Whose a connection is it reads off its first bytes: clients of Kafka send their client ID there, those of Postgres
/// their application name, and both begin with the service's name and a slash.
package final class FaultProxy: Sendable {
    package enum Fault: Sendable, Equatable {
        case none
        /// Connections are broken off, and new ones at once.
        case cut
        /// What is sent arrives so much later.
        case slow(milliseconds: Int)
        /// What is sent is swallowed. Nobody is told; what was open then stays mute for good, as after a firewall that
        /// forgot it.
        case silent
    }

    package let port: Int
    private let target: Int
    private let listener: Int32
    private let state = Mutex(State())

    private struct State {
        var forAll = Fault.none
        var byOwner: [String: Fault] = [:]
        var pairs: [Int: Pair] = [:]
        var last = 0
        var isClosed = false
    }

    /// One connection: the two sockets that it consists of.
    private final class Pair: Sendable {
        let client: Int32
        let server: Int32
        let facts = Mutex(Facts())

        struct Facts {
            /// What the client sent while nobody knows whose the connection is.
            var head: [UInt8] = []
            var owner: String?
            var isMute = false
            /// The threads that use the sockets.
            var users = 2
        }

        init(client: Int32, server: Int32) {
            self.client = client
            self.server = server
        }

        /// Breaks both off with a reset; the threads find out and close them.
        func reset() {
            for socket in [client, server] {
                var nobody = sockaddr()
                nobody.sa_family = sa_family_t(AF_UNSPEC)
                connect(socket, &nobody, socklen_t(MemoryLayout<sockaddr>.size))
                shutdown(socket, Int32(SHUT_RDWR))
            }
        }

        func finish() {
            let isLast = facts.withLock { facts in
                facts.users -= 1
                return facts.users == 0
            }
            guard isLast else { return }
            Glibc.close(client)
            Glibc.close(server)
        }
    }

    /// - Parameter target: the port that connections go to; it need not be open yet.
    package init(to target: Int) throws {
        self.target = target
        listener = socket(AF_INET, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
        var address = Self.loopback(0)
        var length = socklen_t(MemoryLayout<sockaddr_in>.size)
        let listener = listener
        let isListening = withUnsafeMutablePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                bind(listener, $0, length) == 0 && listen(listener, 1024) == 0
                    && getsockname(listener, $0, &length) == 0
            }
        }
        guard isListening else { throw POSIXError(.init(rawValue: errno) ?? .EIO) }
        port = Int(UInt16(bigEndian: address.sin_port))
        Thread.detachNewThread { [self] in acceptAll() }
    }

    /// Makes the network fail, for one service's connections or for all; `.none` ends it.
    package func set(_ fault: Fault, for owner: String? = nil) {
        let concerned = state.withLock { state in
            if let owner { state.byOwner[owner] = fault } else { state.forAll = fault }
            return state.pairs.values.filter { pair in owner == nil || pair.facts.withLock { $0.owner } == owner }
        }
        for pair in concerned {
            if fault == .cut { pair.reset() }
            if fault == .silent { pair.facts.withLock { $0.isMute = true } }
        }
    }

    /// Breaks off what is open, once.
    package func reset(_ owner: String? = nil) {
        set(.cut, for: owner)
        set(.none, for: owner)
    }

    package func close() {
        let pairs = state.withLock { state in
            state.isClosed = true
            return state.pairs.values
        }
        shutdown(listener, Int32(SHUT_RDWR))
        for pair in pairs { pair.reset() }
    }

    // MARK: Threads

    private func acceptAll() {
        while true {
            let client = accept(listener, nil, nil)
            if state.withLock({ $0.isClosed }) || (client < 0 && errno != EINTR && errno != ECONNABORTED) {
                if client >= 0 { Glibc.close(client) }
                break
            }
            if client >= 0 { open(client) }
        }
        Glibc.close(listener)
    }

    private func open(_ client: Int32) {
        let server = socket(AF_INET, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
        var address = Self.loopback(target)
        let isConnected = withUnsafePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                connect(server, $0, socklen_t(MemoryLayout<sockaddr_in>.size)) == 0
            }
        }
        let pair = Pair(client: client, server: server)
        // Nobody listens there: the client is refused, as it would be without us.
        guard isConnected else {
            pair.reset()
            pair.finish()
            return pair.finish()
        }
        var on: Int32 = 1
        for socket in [client, server] {
            setsockopt(socket, Int32(IPPROTO_TCP), TCP_NODELAY, &on, socklen_t(MemoryLayout<Int32>.size))
        }
        let number = state.withLock { state in
            state.last += 1
            state.pairs[state.last] = pair
            return state.last
        }
        Thread.detachNewThread { [self] in pass(pair, from: client, to: server, number) }
        Thread.detachNewThread { [self] in pass(pair, from: server, to: client, number) }
    }

    private func pass(_ pair: Pair, from: Int32, to: Int32, _ number: Int) {
        var bytes = [UInt8](repeating: 0, count: 64 << 10)
        while true {
            let count = recv(from, &bytes, bytes.count, 0)
            guard count > 0 else { break }
            if from == pair.client { identify(pair, bytes[..<count]) }
            switch fault(of: pair) {
            case .none: break
            case .cut: pair.reset()
            case .slow(let milliseconds): usleep(UInt32(milliseconds) * 1000)
            case .silent: pair.facts.withLock { $0.isMute = true }
            }
            if pair.facts.withLock({ $0.isMute }) { continue }
            var sent = 0
            while sent < count {
                let now = bytes[sent..<count].withUnsafeBytes {
                    send(to, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL))
                }
                guard now > 0 else { break }
                sent += now
            }
            if sent < count { break }
        }
        // An end is told as it came, unless the connection is mute: then the other side never hears of it.
        if !pair.facts.withLock({ $0.isMute }) || from == pair.client {
            shutdown(pair.client, Int32(SHUT_RDWR))
            shutdown(pair.server, Int32(SHUT_RDWR))
        }
        pair.finish()
        state.withLock { $0.pairs[number] = nil }
    }

    private func fault(of pair: Pair) -> Fault {
        let owner = pair.facts.withLock { $0.owner }
        return state.withLock { state in
            guard let owner, let fault = state.byOwner[owner], fault != .none else { return state.forAll }
            return fault
        }
    }

    private static let owners = ["messaging", "catalog", "reservation", "payment", "notification"]

    private func identify(_ pair: Pair, _ bytes: ArraySlice<UInt8>) {
        pair.facts.withLock { facts in
            guard facts.owner == nil, facts.head.count < 4096 else { return }
            facts.head += bytes.prefix(4096)
            let text = String(decoding: facts.head, as: UTF8.self)
            facts.owner = Self.owners.first { text.contains("\($0)/") }
        }
    }

    private static func loopback(_ port: Int) -> sockaddr_in {
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = UInt16(port).bigEndian
        address.sin_addr.s_addr = UInt32(0x7f00_0001).bigEndian
        return address
    }
}
