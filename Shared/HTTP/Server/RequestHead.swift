// A request's head as it is checked before anything of its body is read.
import Observability

/// Filled field by field from the library's memory. What different readers of the same bytes could understand
/// differently is refused: that is how requests are smuggled past proxies.
struct RequestHead {
    var target: [UInt8] = []
    var headers = HeaderFields()
    private(set) var fault: Problem?
    private(set) var hostCount = 0
    private(set) var contentLengthCount = 0
    private(set) var contentLength: Int?
    private(set) var transferEncodingCount = 0
    private(set) var isChunked = false
    private(set) var expectsContinue = false
    private(set) var traceparent: [UInt8]?
    private(set) var forwardedFor: [String] = []

    // Known after routing.
    var method: HTTPMethod?
    var path: Range<Int> = 0..<0
    var query: Range<Int> = 0..<0
    /// Index of the route.
    var route: Int?
    var parameters: [String] = []
    var startedAt = 0.0
    /// Known as soon as the fields are.
    var trace: TraceContext?
    /// The caller's part of the trace; nil where the trace begins here.
    var caller: TraceContext?

    var bodyBytesMax = 0
    var hasBody: Bool { isChunked || (contentLength ?? 0) > 0 }

    mutating func append(name: UnsafeRawBufferPointer, value: UnsafeRawBufferPointer) {
        guard !name.isEmpty, name.allSatisfy(Self.isToken) else {
            return fail("A header field's name holds a character that no name may have.")
        }
        guard value.allSatisfy({ $0 >= 0x20 && $0 != 0x7F || $0 == 9 }) else {
            return fail("A header field's value holds a control character.")
        }
        // The library strips blanks before a value, not those after it.
        var value = value
        while let last = value.last, last == 0x20 || last == 9 {
            value = UnsafeRawBufferPointer(rebasing: value.dropLast())
        }
        headers.append(name: name, value: value)
        switch name.count {
        case 4 where Self.equal(name, "host"): hostCount += 1
        case 6 where Self.equal(name, "expect"):
            expectsContinue = Self.equal(value, "100-continue")
            if !expectsContinue {
                fault = Problem(417, type: "expectation-failed", title: "The expectation cannot be met")
            }
        case 11 where Self.equal(name, "traceparent"): traceparent = Array(value)
        case 14 where Self.equal(name, "content-length"):
            contentLengthCount += 1
            contentLength = Self.number(value)
            if contentLength == nil { fail("Content-Length is not a number.") }
        case 15 where Self.equal(name, "x-forwarded-for"):
            forwardedFor.append(String(decoding: value, as: UTF8.self))
        case 17 where Self.equal(name, "transfer-encoding"):
            transferEncodingCount += 1
            isChunked = Self.equal(value, "chunked")
            if !isChunked {
                fault = Problem(
                    501, type: "not-implemented", title: "Not implemented",
                    detail: "Transfer-Encoding other than chunked is not understood.")
            }
        default: break
        }
    }

    /// What makes the message's framing doubtful; the connection must not be used further.
    func framingProblem(version: String, headerBytes: Int, headerBytesMax: Int) -> Problem? {
        if version != "HTTP/1.1" && version != "HTTP/1.0" {
            return .versionNotSupported()
        }
        if let fault { return fault }
        if target.count > headerBytesMax {
            return .targetTooLong()
        }
        if headerBytes > headerBytesMax {
            return Problem(
                431, type: "header-fields-too-large", title: "The header fields are too large",
                detail: "At most \(headerBytesMax) bytes are read.")
        }
        if transferEncodingCount > 0, contentLengthCount > 0 {
            return .badRequest("Content-Length and Transfer-Encoding exclude each other.")
        }
        if transferEncodingCount > 1 || contentLengthCount > 1 {
            return .badRequest("The body's length is told more than once.")
        }
        if transferEncodingCount > 0, version == "HTTP/1.0" {
            return .badRequest("HTTP/1.0 knows no Transfer-Encoding.")
        }
        if hostCount > 1 || (hostCount == 0 && version == "HTTP/1.1") {
            return .badRequest("There must be one Host.")
        }
        return nil
    }

    private mutating func fail(_ detail: String) { fault = fault ?? .badRequest(detail) }

    /// `tchar` of RFC 9110, 5.6.2.
    static func isToken(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
            UInt8(ascii: "0")...UInt8(ascii: "9"):
            true
        case UInt8(ascii: "!"), UInt8(ascii: "#"), UInt8(ascii: "$"), UInt8(ascii: "%"), UInt8(ascii: "&"),
            UInt8(ascii: "'"), UInt8(ascii: "*"), UInt8(ascii: "+"), UInt8(ascii: "-"), UInt8(ascii: "."),
            UInt8(ascii: "^"), UInt8(ascii: "_"), UInt8(ascii: "`"), UInt8(ascii: "|"), UInt8(ascii: "~"):
            true
        default: false
        }
    }

    /// Digits only, at most 15 of them.
    private static func number(_ text: UnsafeRawBufferPointer) -> Int? {
        guard (1...15).contains(text.count) else { return nil }
        var value = 0
        for byte in text {
            guard byte &- 48 < 10 else { return nil }
            value = value * 10 + Int(byte - 48)
        }
        return value
    }

    private static func equal(_ bytes: UnsafeRawBufferPointer, _ lowercase: StaticString) -> Bool {
        lowercase.withUTF8Buffer { other in
            bytes.count == other.count
                && bytes.indices.allSatisfy { HeaderFields.lowercase(bytes[$0]) == other[$0] }
        }
    }
}
