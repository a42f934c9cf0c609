// What a client sends and gets.

/// One request to send.
public struct ClientRequest: Sendable {
    public var method: HTTPMethod
    /// `http` or `https`, absolute.
    public var url: String
    /// Fields to send besides `Host` and `Content-Length`. Names and values must hold no line break.
    public var headers: [(String, String)]
    public var body: [UInt8]
    /// From the start (waiting for a connection included) to the last byte of the answer.
    public var timeoutSeconds: Double
    /// A longer answer is an error.
    public var responseBytesMax: Int
    /// The address to ask from, one of the machine's; nil: whichever the system takes. Connections are kept for each.
    public var localAddress: String?

    public init(
        _ method: HTTPMethod, _ url: String, headers: [(String, String)] = [], body: [UInt8] = [],
        timeoutSeconds: Double = 30, responseBytesMax: Int = 4 << 20
    ) {
        self.method = method
        self.url = url
        self.headers = headers
        self.body = body
        self.timeoutSeconds = timeoutSeconds
        self.responseBytesMax = responseBytesMax
    }

    /// A request with a JSON body.
    public static func json(
        _ method: HTTPMethod, _ url: String, headers: [(String, String)] = [], _ body: [UInt8]
    ) -> ClientRequest {
        ClientRequest(method, url, headers: headers + [("Content-Type", "application/json")], body: body)
    }
}

/// The answer, whatever its status.
public struct ClientResponse: Sendable {
    public let status: Int
    public let headers: HeaderFields
    public let body: [UInt8]

    public init(status: Int, headers: HeaderFields, body: [UInt8]) {
        self.status = status
        self.headers = headers
        self.body = body
    }

    public func header(_ name: String) -> String? { headers[name] }
}

/// Why there is no answer.
public enum HTTPClientError: Error, Sendable, Equatable, CustomStringConvertible {
    /// The URL, a header field or an option that cannot be sent.
    case invalidRequest(String)
    /// No connection: not resolved, refused, TLS not agreed.
    case connection(String)
    case timedOut
    /// Longer than the request's `responseBytesMax`.
    case responseTooLarge(bytesMax: Int)
    /// The peer broke off or broke the protocol.
    case broken(String)
    /// As many requests as `requestsWaitingMax` allows are waiting for a connection.
    case overloaded
    case cancelled
    case closed
    /// An event stream was answered with this status.
    case status(Int)

    public var description: String {
        switch self {
        case .invalidRequest(let reason): "the request cannot be sent: \(reason)"
        case .connection(let reason): "no connection: \(reason)"
        case .timedOut: "timed out"
        case .responseTooLarge(let bytesMax): "the answer has more than \(bytesMax) bytes"
        case .broken(let reason): "broken off: \(reason)"
        case .overloaded: "too many requests are waiting for a connection"
        case .cancelled: "cancelled"
        case .closed: "the client is closed"
        case .status(let status): "answered with status \(status)"
        }
    }

    /// Whether the same request may succeed later.
    public var isRetriable: Bool {
        switch self {
        case .connection, .timedOut, .broken, .overloaded: true
        case .status(let status): status == 429 || status >= 500
        case .invalidRequest, .responseTooLarge, .cancelled, .closed: false
        }
    }
}
