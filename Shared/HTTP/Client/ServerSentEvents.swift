// Server-sent events (WHATWG HTML, 9.2) coming in.

public struct ServerSentEvent: Sendable, Equatable {
    /// The last `id` that the stream named, this event's or an earlier one's.
    public let id: String?
    /// `message` where the stream named none.
    public let event: String
    public let data: String
}

public struct ServerSentEvents: AsyncSequence, Sendable {
    public struct AsyncIterator: AsyncIteratorProtocol {
        public mutating func next() async throws(HTTPClientError) -> ServerSentEvent? { nil }
    }

    public func makeAsyncIterator() -> AsyncIterator { AsyncIterator() }
}
