// One connection of the library and the request that is on it.
import CMicroHTTPD
import Foundation
import Observability
import Runtime

/// `@unchecked Sendable`: handlers' tasks carry a reference back to the loop; every access is on the loop's thread.
final class ServerConnection: EventSource, @unchecked Sendable {
    enum Phase {
        /// Waiting for a request, or for the rest of its head.
        case head
        case body
        /// A handler runs.
        case running
        /// The library sends the answer.
        case responding
        /// Its socket was duplicated and lives on elsewhere; the library is to forget it.
        case leaving
    }

    private unowned let loop: ServerLoop
    let handle: OpaquePointer
    let descriptor: Int32
    /// Nil where it is no address of the Internet's protocols.
    let peer: IPAddress?
    let peerIsProxy: Bool
    /// Where the loop keeps it.
    var index = 0
    var deadline: Double
    var phase = Phase.head
    var requestsServed = 0
    var isSuspended = false
    /// The loop watches for the peer's end besides the library, which can miss it.
    var token: UInt64?
    /// Told apart from a handler that was given up: its answer comes with an older number.
    var generation: UInt64 = 0
    var task: Task<Void, Never>?

    // The request.
    var head = RequestHead()
    var body: [UInt8] = []
    /// What `body` took of the server's bound.
    var bodyBytesTaken = 0
    var discardedBytes = 0
    /// The answer when it is known before the body has come.
    var answer: HTTPResponse?

    init(
        loop: ServerLoop, handle: OpaquePointer, descriptor: Int32, peer: IPAddress?, peerIsProxy: Bool,
        deadline: Double
    ) {
        self.loop = loop
        self.handle = handle
        self.descriptor = descriptor
        self.peer = peer
        self.peerIsProxy = peerIsProxy
        self.deadline = deadline
    }

    /// The peer has closed its side or is gone.
    func ready(_: UInt32) { loop.peerClosed(self) }

    /// Says something in the place of an answer of the library's own.
    func parserRefused(status: Int) { loop.parserRefused(self, status: status) }

    /// Whether bytes have arrived that the library has not read.
    var hasUnreadBytes: Bool {
        var count: Int32 = 0
        return ioctl(descriptor, UInt(FIONREAD), &count) == 0 && count > 0
    }

    /// Ready for the next request.
    func clear() {
        head = RequestHead()
        body = []
        discardedBytes = 0
        answer = nil
        task = nil
    }
}
