// The client: libcurl's multi interface on one event loop.

/// Sends HTTP/1.1 requests over kept-alive connections: `http`, and `https` with the system's certificates. Does not
/// follow redirects. One client serves a whole program; all its work is done by one thread.
///
/// A program that sends tens of thousands a second lets its tasks prefer `executor`: then an answer resumes its task
/// without waking another thread.
public final class HTTPClient: Sendable {
    private let loop: ClientLoop

    /// - Parameters:
    ///   - connectionsMax: requests under way at a time, and idle connections kept.
    ///   - connectionsPerHostMax: of those, for one scheme, host and port.
    ///   - requestsWaitingMax: requests that wait for a connection; a further one throws `.overloaded`.
    ///   - streamsMax: event streams; they are not counted among the connections.
    ///   - connectSeconds: to resolve, connect and agree on TLS.
    public init(
        connectionsMax: Int = 256, connectionsPerHostMax: Int = 64, requestsWaitingMax: Int = 10_000,
        streamsMax: Int = 20_000, connectSeconds: Double = 10
    ) throws(HTTPClientError) {
        loop = try ClientLoop(
            ClientLoop.Limits(
                connectionsMax: connectionsMax, connectionsPerHostMax: connectionsPerHostMax,
                requestsWaitingMax: requestsWaitingMax, streamsMax: streamsMax, connectSeconds: connectSeconds))
    }

    deinit {
        let loop = loop
        Task.detached { await loop.close() }
    }

    /// The client's own thread, for tasks that do little but send. They must not block it.
    public var executor: any TaskExecutor { loop.events }

    /// Sends and waits for the whole answer, whatever its status. Cancelling the task breaks the request off.
    public func send(_ request: ClientRequest) async throws(HTTPClientError) -> ClientResponse {
        let transfer = Transfer(request)
        let loop = loop
        let result = await withTaskCancellationHandler {
            await withUnsafeContinuation { continuation in
                loop.submit(transfer, continuation)
            }
        } onCancel: {
            loop.cancel(transfer)
        }
        return try result.get()
    }

    /// Follows a stream of server-sent events; comes back by itself with `Last-Event-ID` when it breaks. The request's
    /// time-out does not count here.
    public func events(_ request: ClientRequest) -> ServerSentEvents {
        ServerSentEvents(loop: loop, request: request)
    }

    /// Breaks off what is under way. Later requests throw `.closed`.
    public func close() async { await loop.close() }
}
