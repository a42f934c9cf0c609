// A request as a handler sees it: complete, within its limits, its path already matched.
import Foundation
import JSON
import Observability

/// One request. Its body has arrived as a whole and is at most the route's `bodyBytesMax` long.
public struct HTTPRequest: Sendable {
    /// The method; a HEAD request that a GET route answers shows as `.head`.
    public let method: HTTPMethod
    /// The path as it came, still percent-encoded, without the query: `/v1/orders/42`.
    public let path: String
    /// What the route's `{name}`s matched, decoded; never empty, never with a slash or a control character.
    public let pathParameters: [String: String]
    /// The query as it came, still encoded, without its `?`; empty when there was none.
    public let queryString: String
    /// The header fields in the order in which they came.
    public let headers: HeaderFields
    public let body: [UInt8]
    /// Who sent it: the peer's address, or what a trusted proxy said of it in `X-Forwarded-For`. No port.
    public let remoteAddress: String
    /// The caller's trace continued, or a new one.
    public let trace: TraceContext
    /// The server's; nil for a request that is made without one.
    var callers: CallerLimiter?

    /// Makes a request without a server, for tests of handlers.
    public init(
        _ method: HTTPMethod, _ path: String, pathParameters: [String: String] = [:], queryString: String = "",
        headers: HeaderFields = HeaderFields(), body: [UInt8] = [], remoteAddress: String = "127.0.0.1",
        trace: TraceContext = .new()
    ) {
        self.method = method
        self.path = path
        self.pathParameters = pathParameters
        self.queryString = queryString
        self.headers = headers
        self.body = body
        self.remoteAddress = remoteAddress
        self.trace = trace
    }

    /// Counts the request against what one caller may ask. For a service that is sure who that is: what anybody may claim
    /// would let anybody use up another's part.
    /// - Parameters: the 128 bits of the caller's identifier.
    /// - Throws: `Problem` 429 when the caller asks too often.
    public func count(callerHigh high: UInt64, low: UInt64) throws(Problem) {
        try callers?.count(Caller(high: high, low: low))
    }

    /// The first value of a header field; the name is compared without case.
    public func header(_ name: String) -> String? { headers[name] }

    /// The query's fields, decoded; the first of a name wins. Read from `queryString` at each call.
    public var query: [String: String] { RequestTarget.fields(ofQuery: queryString) }

    /// The token of `Authorization: Bearer <token>`.
    public var bearerToken: String? {
        guard let value = headers["authorization"] else { return nil }
        let utf8 = value.utf8
        guard utf8.count > 7, utf8.prefix(7).elementsEqual("bearer ".utf8, by: { $0 | 0x20 == $1 }) else { return nil }
        let token = value.dropFirst(7).drop(while: { $0 == " " })
        return token.isEmpty ? nil : String(token)
    }

    /// Reads the body as JSON without building objects of it.
    /// - Throws: `Problem` 415 when the request says that it is something else; `JSONError` naming the field.
    public func json<Result>(_ body: (JSONValue) throws(JSONError) -> Result) throws -> Result {
        try requireJSON()
        return try JSONParser.parse(self.body, body)
    }

    private func requireJSON() throws(Problem) {
        // What nearly everybody sends, as it stands.
        guard let type = headers["content-type"], type != "application/json" else { return }
        let essence = type.prefix(while: { $0 != ";" }).lowercased().trimmingCharacters(in: .whitespaces)
        guard essence == "application/json" || essence.hasSuffix("+json") else {
            throw Problem(
                415, type: "unsupported-media-type", title: "Unsupported media type",
                detail: "This route reads application/json.")
        }
    }
}
