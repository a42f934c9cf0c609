// A response as a handler gives it.
import Foundation

/// What a handler answers. `Content-Length`, `Date`, `Connection` and `X-Request-Id` are the server's.
public struct HTTPResponse: Sendable {
    public enum Body: Sendable {
        case bytes([UInt8])
        /// Stays open and carries events until either side closes it; always with status 200.
        case events(EventStream)
    }

    public var status: Int
    public var headers: [(String, String)]
    public var body: Body

    public init(_ status: Int = 200, headers: [(String, String)] = [], body: Body = .bytes([])) {
        self.status = status
        self.headers = headers
        self.body = body
    }

    /// JSON that is already text, as `JSONWriter` makes it.
    public static func json(_ bytes: [UInt8]) -> HTTPResponse { json(200, bytes) }

    public static func json(_ status: Int, _ bytes: [UInt8]) -> HTTPResponse {
        HTTPResponse(status, headers: [("Content-Type", "application/json")], body: .bytes(bytes))
    }

    /// JSON by `Codable`, its members sorted so that the same value gives the same bytes.
    /// - Throws: `EncodingError` when the value has no JSON form (a number that is not finite).
    public static func json(_ value: some Encodable) throws -> HTTPResponse { try json(200, value) }

    public static func json(_ status: Int, _ value: some Encodable) throws -> HTTPResponse {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        return json(status, [UInt8](try encoder.encode(value)))
    }

    public static func text(
        _ text: String, status: Int = 200, type: String = "text/plain; charset=utf-8"
    ) -> HTTPResponse {
        HTTPResponse(status, headers: [("Content-Type", type)], body: .bytes(Array(text.utf8)))
    }

    public static func empty(_ status: Int = 204) -> HTTPResponse { HTTPResponse(status) }

    public static func events(_ stream: EventStream) -> HTTPResponse { HTTPResponse(200, body: .events(stream)) }

    /// The same response with one more header field.
    public func with(_ name: String, _ value: String) -> HTTPResponse {
        var copy = self
        copy.headers.append((name, value))
        return copy
    }
}
