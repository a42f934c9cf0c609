// A client made of a bare socket: says exactly the bytes that a test wants said, however wrong.
import CMicroHTTPD
import Foundation
import Runtime

@testable import HTTP

struct RawAnswer: Sendable, Equatable {
    var status: Int
    var fields: [String: String]
    var body: String
}

enum RawPeerError: Error {
    case noConnection
    case noAnswer(String)
}

/// Waits on one event loop for all peers: blocking calls would take the threads that the tests run on. A peer that
/// hears nothing for `secondsMax` gives up, so that a broken server fails a test instead of stopping it.
///
/// `@unchecked Sendable`: a test uses its peer from one task at a time.
final class RawPeer: @unchecked Sendable {
    static let secondsMax = 60.0

    private static let waits = Waits()
    private let descriptor: Int32
    private var heard: [UInt8] = []
    private var ended = false

    /// - Parameter source: the address to ask from, one of the machine's own.
    init(port: UInt16, from source: String? = nil, receiveBufferBytes: Int32? = nil) throws {
        descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
        if var bytes = receiveBufferBytes { setsockopt(descriptor, SOL_SOCKET, SO_RCVBUF, &bytes, 4) }
        if let source {
            var own = sockaddr_in()
            own.sin_family = sa_family_t(AF_INET)
            inet_pton(AF_INET, source, &own.sin_addr)
            let bound = withUnsafePointer(to: &own) { pointer in
                pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                    bind(descriptor, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
                }
            }
            guard bound == 0 else { throw RawPeerError.noConnection }
        }
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = port.bigEndian
        address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
        let connected = withUnsafePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                connect(descriptor, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
            }
        }
        guard connected == 0 else { throw RawPeerError.noConnection }
    }

    /// Runs for a peer that could not connect as well: closing it in `init` too would close whatever has its number by
    /// then.
    deinit { Foundation.close(descriptor) }

    /// Says it all; what the server no longer wants to hear is lost.
    func say(_ text: String) async { await say(Array(text.utf8)) }

    func say(_ bytes: [UInt8]) async {
        var rest = bytes[...]
        while !rest.isEmpty {
            let count = rest.withUnsafeBytes {
                send(descriptor, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL) | Int32(MSG_DONTWAIT))
            }
            if count < 0, errno == EAGAIN {
                guard await Self.waits.wait(descriptor, EventLoop.writable) else { return }
                continue
            }
            guard count > 0 else { return }
            rest = rest.dropFirst(count)
        }
    }

    /// Says that nothing more will be said, and goes on listening.
    func closeItsSide() { shutdown(descriptor, Int32(SHUT_WR)) }

    /// Hears one whole answer.
    func answer(toHead: Bool = false) async throws -> RawAnswer {
        let head = try await hear(until: "\r\n\r\n")
        let lines = head.split(separator: "\r\n")
        var fields: [String: String] = [:]
        for line in lines.dropFirst() {
            let parts = line.split(separator: ":", maxSplits: 1)
            if parts.count == 2 { fields[parts[0].lowercased()] = parts[1].trimmingCharacters(in: .whitespaces) }
        }
        let status = lines.first.flatMap { Int($0.split(separator: " ").dropFirst().first ?? "") } ?? 0
        if status == 100 { return try await answer(toHead: toHead) }
        var body = ""
        if !toHead, let count = fields["content-length"].flatMap(Int.init) {
            while heard.count < count {
                guard await more() else { throw RawPeerError.noAnswer(head) }
            }
            body = String(decoding: heard.prefix(count), as: UTF8.self)
            heard.removeFirst(count)
        }
        return RawAnswer(status: status, fields: fields, body: body)
    }

    /// Hears until this text has come.
    func hear(until text: String) async throws -> String {
        let wanted = Array(text.utf8)
        while true {
            if let range = heard.firstRange(of: wanted) {
                let result = String(decoding: heard[..<range.upperBound], as: UTF8.self)
                heard.removeSubrange(..<range.upperBound)
                return result
            }
            guard await more() else { throw RawPeerError.noAnswer(String(decoding: heard, as: UTF8.self)) }
        }
    }

    /// Hears to the end: what came before the server closed. Throws when it does not close.
    func hearToTheEnd() async throws -> String {
        while await more() {}
        guard ended else { throw RawPeerError.noAnswer(String(decoding: heard, as: UTF8.self)) }
        defer { heard = [] }
        return String(decoding: heard, as: UTF8.self)
    }

    private func more() async -> Bool {
        while true {
            var buffer = [UInt8](repeating: 0, count: 65_536)
            let count = recv(descriptor, &buffer, buffer.count, Int32(MSG_DONTWAIT))
            if count > 0 {
                heard += buffer.prefix(count)
                return true
            }
            guard count < 0, errno == EAGAIN else {
                ended = true
                return false
            }
            guard await Self.waits.wait(descriptor, EventLoop.readable) else { return false }
        }
    }
}

/// Lets tasks wait for descriptors. `@unchecked Sendable`: the list is touched on the loop only.
private final class Waits: @unchecked Sendable {
    private final class Wait: EventSource {
        let waits: Waits
        let descriptor: Int32
        let deadline = EventLoop.now() + RawPeer.secondsMax
        let continuation: CheckedContinuation<Bool, Never>
        var token: UInt64?

        init(_ waits: Waits, _ descriptor: Int32, _ continuation: CheckedContinuation<Bool, Never>) {
            self.waits = waits
            self.descriptor = descriptor
            self.continuation = continuation
        }

        func ready(_: UInt32) { end(true) }

        func end(_ result: Bool) {
            guard let token else { return }
            self.token = nil
            waits.loop.remove(token, descriptor: descriptor)
            waits.list[token] = nil
            continuation.resume(returning: result)
        }
    }

    private let loop: EventLoop
    private var list: [UInt64: Wait] = [:]

    init() {
        do {
            loop = try EventLoop(name: "raw-peers")
            try loop.start { [weak self] in
                guard let self else { return .over }
                let now = EventLoop.now()
                for wait in list.values where wait.deadline < now { wait.end(false) }
                return .milliseconds(1_000)
            }
        } catch {
            preconditionFailure("no event loop for the tests' sockets: \(error)")
        }
    }

    /// False: `secondsMax` have passed.
    func wait(_ descriptor: Int32, _ events: UInt32) async -> Bool {
        await withCheckedContinuation { continuation in
            loop.execute {
                let wait = Wait(self, descriptor, continuation)
                guard let token = self.loop.add(wait, descriptor: descriptor, events: events) else {
                    return continuation.resume(returning: false)
                }
                wait.token = token
                self.list[token] = wait
            }
        }
    }
}
