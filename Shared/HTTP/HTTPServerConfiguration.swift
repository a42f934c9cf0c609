// Every bound of a server, in one place.

/// Where a server listens and what it bears.
public struct HTTPServerConfiguration: Sendable {
    /// A literal IPv4 or IPv6 address.
    public var address = "127.0.0.1"
    /// 0 takes a free one; `start` tells which.
    public var port: UInt16 = 0
    /// Event loops, each a thread of its own. Requests that wait for others cost one loop little: one is enough for
    /// tens of thousands a second.
    public var threads = 1
    /// Open connections, event streams not counted. One more is told 503 and closed.
    public var connectionsMax = 4_096
    /// Of those, from one address (an IPv6 network of 64 bits), unless it is a trusted proxy's. One more is told 429 and
    /// closed.
    public var connectionsPerAddressMax = 1_024
    /// Requests a second of one caller whom its service knows (`HTTPRequest.count`), twice as many in one go. One more is
    /// told 429.
    public var callerRequestsPerSecondMax = 100
    /// Open event streams. One more is told 503.
    public var streamsMax = 15_000
    /// Requests whose handlers run. One more is told 503 at once.
    public var requestsMax = 2_048
    /// Bytes of the bodies of all requests together. A request that needs more is told 503.
    public var bodyBytesMax = 64 << 20
    /// Request line and header fields of one request: 414 or 431 beyond.
    public var headerBytesMax = 8 << 10
    /// From the connection's start to the end of the first request's header fields.
    public var headerSeconds = 10.0
    /// From the end of the header fields to the end of the body.
    public var bodySeconds = 30.0
    /// From the handler's start to its answer; its task is cancelled and the client told 503.
    public var handlerSeconds = 30.0
    /// From the answer to its last byte accepted by the network.
    public var responseSeconds = 60.0
    /// From an answer's end to the end of the next request's header fields.
    public var keepAliveSeconds = 75.0
    /// A comment goes out on an event stream that was silent so long.
    public var heartbeatSeconds = 15.0
    /// Whose `X-Forwarded-For` is believed.
    public var trustedProxies = TrustedProxies.loopback

    public init(address: String = "127.0.0.1", port: UInt16 = 0) {
        self.address = address
        self.port = port
    }
}
