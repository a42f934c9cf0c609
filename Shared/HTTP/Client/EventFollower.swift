// Keeps one event stream connected: opens it, feeds what it says to a reader, and comes back when it breaks.
import Synchronization

/// `@unchecked Sendable`: `start`, `resume` and `stop` hand over to the loop; everything else happens there.
final class EventFollower: @unchecked Sendable {
    private static let retrySecondsMin = 1.0
    private static let retrySecondsMax = 30.0
    /// A connection on which nothing is heard for so long is dead: servers send comments more often.
    static let silenceSecondsMax = 60

    private let loop: ClientLoop
    private let request: ClientRequest
    private weak var feed: EventFeed?
    private var parser = EventParser()
    private var failures = 0
    private var transfer: Transfer?
    private var isStopped = false
    /// The reader is: what comes next must wait.
    private(set) var isBehind = false

    init(loop: ClientLoop, request: ClientRequest) {
        self.loop = loop
        self.request = request
    }

    func start(feed: EventFeed) {
        let connect: @Sendable () -> Void = { [weak feed] in
            self.feed = feed
            self.connect()
        }
        if !loop.events.execute(connect) { feed.end(.failure(.closed)) }
    }

    /// Reads on after the reader has caught up.
    func resume() {
        loop.events.execute {
            self.isBehind = false
            if let transfer = self.transfer { self.loop.unpause(transfer) }
        }
    }

    func stop() {
        loop.events.execute {
            self.isStopped = true
            if let transfer = self.transfer { self.loop.abandon(transfer) }
            self.transfer = nil
        }
    }

    private func connect() {
        guard !isStopped else { return }
        var request = request
        request.headers.removeAll { $0.0.lowercased() == "last-event-id" && parser.lastID != nil }
        if let id = parser.lastID, !id.isEmpty { request.headers.append(("Last-Event-ID", id)) }
        request.headers.append(("Accept", "text/event-stream"))
        request.headers.append(("Cache-Control", "no-store"))
        parser = EventParser(lastID: parser.lastID)
        transfer = loop.openStream(request, follower: self)
    }

    /// A piece of the stream. False: it is no event stream that can be followed.
    func came(_ bytes: UnsafeRawBufferPointer) -> Bool {
        guard let events = parser.parse(bytes) else { return false }
        failures = 0
        if feed?.append(events) == false { isBehind = true }
        return true
    }

    /// The stream ended with this status, or broke.
    func ended(_ result: Result<Int, HTTPClientError>) {
        transfer = nil
        guard !isStopped, let feed else { return }
        switch result {
        case .success(204): return feed.end(.success(()))
        case .success(let status) where status != 200:
            let error = HTTPClientError.status(status)
            guard error.isRetriable else { return feed.end(.failure(error)) }
        case .failure(let error) where !error.isRetriable: return feed.end(.failure(error))
        case .success, .failure: break
        }
        failures += 1
        // The first return is quick, later ones wait twice as long each; all of them spread by half, so that clients
        // of a server that restarted do not come back in one instant.
        let base = parser.retryMilliseconds.map { Double($0) / 1_000 } ?? Self.retrySecondsMin
        let seconds = min(base * Double(1 << min(failures - 1, 5)), max(Self.retrySecondsMax, base))
        loop.after(seconds * .random(in: 0.5...1)) { self.connect() }
    }
}
