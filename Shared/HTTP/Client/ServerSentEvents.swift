// Server-sent events (WHATWG HTML, 9.2) coming in: the stream that a client follows.
import Synchronization

public struct ServerSentEvent: Sendable, Equatable {
    /// The last `id` that the stream named, this event's or an earlier one's.
    public let id: String?
    /// `message` where the stream named none.
    public let event: String
    public let data: String

    public init(id: String?, event: String = "message", data: String) {
        self.id = id
        self.event = event
        self.data = data
    }
}

/// Events as they come. The stream reconnects by itself, naming the last event it saw, until the iterating task is
/// cancelled, the iterator goes away, the server answers 204 (no more), or it refuses with a status that will not
/// change (thrown as `.status`). While the reader is behind by more than a few hundred events nothing more is read
/// from the network.
public struct ServerSentEvents: AsyncSequence, Sendable {
    public typealias Element = ServerSentEvent
    public typealias Failure = HTTPClientError

    let loop: ClientLoop
    let request: ClientRequest

    public struct AsyncIterator: AsyncIteratorProtocol {
        private let feed: EventFeed

        init(_ feed: EventFeed) { self.feed = feed }

        public mutating func next() async throws(HTTPClientError) -> ServerSentEvent? { try await feed.next() }

        public mutating func next(
            isolation actor: isolated (any Actor)?
        ) async throws(HTTPClientError) -> ServerSentEvent? { try await feed.next() }
    }

    public func makeAsyncIterator() -> AsyncIterator { AsyncIterator(EventFeed(loop: loop, request: request)) }
}

/// Between the loop, which parses, and one iterator, which takes. Ends the transfer when the iterator goes away.
final class EventFeed: Sendable {
    static let eventsMax = 256

    private struct State {
        var events: [ServerSentEvent] = []
        var taken = 0
        var end: Result<Void, HTTPClientError>?
        var waiter: CheckedContinuation<Result<ServerSentEvent?, HTTPClientError>, Never>?
        var isPaused = false
        var isStarted = false
    }

    private let state = Mutex(State())
    private let follower: EventFollower

    init(loop: ClientLoop, request: ClientRequest) {
        follower = EventFollower(loop: loop, request: request)
    }

    deinit { follower.stop() }

    func next() async throws(HTTPClientError) -> ServerSentEvent? {
        if state.withLock({ state in
            defer { state.isStarted = true }
            return !state.isStarted
        }) {
            follower.start(feed: self)
        }
        let result = await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                let (now, resume) = state.withLock {
                    state -> (Result<ServerSentEvent?, HTTPClientError>?, Bool) in
                    if state.taken < state.events.count {
                        let event = state.events[state.taken]
                        state.taken += 1
                        guard state.taken == state.events.count else { return (.success(event), false) }
                        state.events.removeAll(keepingCapacity: true)
                        state.taken = 0
                        defer { state.isPaused = false }
                        return (.success(event), state.isPaused)
                    }
                    if let end = state.end { return (end.map { nil }, false) }
                    state.waiter = continuation
                    return (nil, false)
                }
                if resume { follower.resume() }
                if let now { continuation.resume(returning: now) }
            }
        } onCancel: {
            follower.stop()
            end(.failure(.cancelled))
        }
        return try result.get()
    }

    /// On the loop. False: the reader is behind, stop reading.
    func append(_ new: [ServerSentEvent]) -> Bool {
        guard !new.isEmpty else { return true }
        let (waiter, event, goOn) = state.withLock { state in
            state.events.append(contentsOf: new)
            var event: ServerSentEvent?
            let waiter = state.waiter
            if waiter != nil {
                state.waiter = nil
                event = state.events[state.taken]
                state.taken += 1
            }
            state.isPaused = state.events.count - state.taken > Self.eventsMax
            return (waiter, event, !state.isPaused)
        }
        waiter?.resume(returning: .success(event))
        return goOn
    }

    func end(_ result: Result<Void, HTTPClientError>) {
        let waiter = state.withLock { state in
            if state.end == nil { state.end = result }
            defer { state.waiter = nil }
            return state.waiter
        }
        waiter?.resume(returning: result.map { nil })
    }
}
