// The client: libcurl's multi interface on one event loop.

/// Sends HTTP/1.1 requests over kept-alive connections.
public final class HTTPClient: Sendable {
    public init(connectionsMax: Int = 64, connectionsPerHostMax: Int = 64, requestsWaitingMax: Int = 10_000)
        throws(HTTPClientError)
    {}

    /// Sends and waits for the whole answer, whatever its status.
    public func send(_ request: ClientRequest) async throws(HTTPClientError) -> ClientResponse { throw .closed }

    /// Follows a stream of server-sent events; comes back by itself with `Last-Event-ID` when it breaks.
    public func events(_ request: ClientRequest) -> ServerSentEvents { ServerSentEvents() }

    public func close() async {}
}
