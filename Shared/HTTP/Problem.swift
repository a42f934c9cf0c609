// Errors as RFC 9457 problem documents.
import JSON

/// One field of the input and what was expected there.
public struct FieldProblem: Sendable, Equatable {
    /// Where in the input: `batches[2].supply`.
    public let field: String
    /// As a phrase: `an integer from 1 to 100`.
    public let expected: String

    public init(_ field: String, expected: String) {
        self.field = field
        self.expected = expected
    }
}

/// An error that knows how it is answered, wherever it comes from.
public protocol ProblemConvertible: Error {
    var problem: Problem { get }
}

/// An answer that is an error: thrown by handlers, sent as `application/problem+json`.
public struct Problem: Error, Sendable, Equatable {
    public let status: Int
    /// What kind of problem, stable and for programs: a slug, sent as `urn:stampede:problem:<slug>`.
    public let type: String
    /// The same for every problem of this type.
    public let title: String
    /// What is so about this occurrence, for people. Never a secret, never another's data.
    public let detail: String?
    public let fields: [FieldProblem]
    /// Sent as `Retry-After` as well.
    public let retryAfterSeconds: Int?
    /// Header fields to send besides, such as `Allow` or `WWW-Authenticate`.
    public var headers: [(String, String)] = []
    /// Members of the document that this type of problem has besides the common ones (RFC 9457, 3.2).
    public var members: [(name: StaticString, value: String)] = []

    public init(
        _ status: Int, type: String, title: String, detail: String? = nil, fields: [FieldProblem] = [],
        retryAfterSeconds: Int? = nil
    ) {
        self.status = status
        self.type = type
        self.title = title
        self.detail = detail
        self.fields = fields
        self.retryAfterSeconds = retryAfterSeconds
    }

    public static func == (a: Problem, b: Problem) -> Bool {
        a.status == b.status && a.type == b.type && a.title == b.title && a.detail == b.detail
            && a.fields == b.fields && a.retryAfterSeconds == b.retryAfterSeconds
            && a.members.map { "\($0.name)=\($0.value)" } == b.members.map { "\($0.name)=\($0.value)" }
    }

    public static func badRequest(_ detail: String? = nil, fields: [FieldProblem] = []) -> Problem {
        Problem(400, type: "bad-request", title: "The request is not valid", detail: detail, fields: fields)
    }

    public static func unauthorized(_ detail: String? = nil) -> Problem {
        var problem = Problem(401, type: "unauthorized", title: "A valid access token is needed", detail: detail)
        problem.headers = [("WWW-Authenticate", "Bearer")]
        return problem
    }

    public static func forbidden(_ detail: String? = nil) -> Problem {
        Problem(403, type: "forbidden", title: "Not allowed", detail: detail)
    }

    public static func notFound(_ detail: String? = nil) -> Problem {
        Problem(404, type: "not-found", title: "Not found", detail: detail)
    }

    public static func conflict(type: String, _ detail: String? = nil) -> Problem {
        Problem(409, type: type, title: "In conflict with the present state", detail: detail)
    }

    public static func payloadTooLarge(bytesMax: Int) -> Problem {
        Problem(
            413, type: "payload-too-large", title: "The body is too large",
            detail: "At most \(bytesMax) bytes are read here.")
    }

    static func targetTooLong() -> Problem {
        Problem(414, type: "uri-too-long", title: "The request target is too long")
    }

    static func internalError() -> Problem {
        Problem(500, type: "internal", title: "Something went wrong here")
    }

    static func versionNotSupported() -> Problem {
        Problem(505, type: "version-not-supported", title: "Only HTTP/1.1 and HTTP/1.0 are spoken here")
    }

    public static func unprocessable(_ detail: String? = nil, fields: [FieldProblem] = []) -> Problem {
        Problem(422, type: "unprocessable", title: "The request cannot be carried out", detail: detail, fields: fields)
    }

    /// - Parameter limit: how many are allowed within their time: told as `RateLimit-Limit`, with nothing remaining.
    public static func tooManyRequests(
        retryAfterSeconds: Int, limit: Int? = nil, _ detail: String? = nil
    ) -> Problem {
        var problem = Problem(
            429, type: "too-many-requests", title: "Too many requests", detail: detail,
            retryAfterSeconds: retryAfterSeconds)
        if let limit {
            problem.headers = [
                ("RateLimit-Limit", String(limit)), ("RateLimit-Remaining", "0"),
                ("RateLimit-Reset", String(retryAfterSeconds)),
            ]
        }
        return problem
    }

    public static func unavailable(retryAfterSeconds: Int, _ detail: String? = nil) -> Problem {
        Problem(
            503, type: "unavailable", title: "Not available at present", detail: detail,
            retryAfterSeconds: retryAfterSeconds)
    }

    /// The document. `traceID` lets whoever reports the problem be found in the log.
    public func response(traceID: String? = nil) -> HTTPResponse {
        var writer = JSONWriter(capacity: 256)
        writer.object { writer in
            writer.field("type", "urn:stampede:problem:\(type)")
            writer.field("title", title)
            writer.field("status", status)
            writer.field("detail", optional: detail)
            if !fields.isEmpty {
                writer.name("fields")
                writer.array { writer in
                    for field in fields {
                        writer.object { writer in
                            writer.field("field", field.field)
                            writer.field("expected", field.expected)
                        }
                    }
                }
            }
            writer.field("retryAfterSeconds", optional: retryAfterSeconds)
            for member in members { writer.field(member.name, member.value) }
            writer.field("traceId", optional: traceID)
        }
        var all = [("Content-Type", "application/problem+json"), ("Cache-Control", "no-store")]
        if let retryAfterSeconds { all.append(("Retry-After", String(retryAfterSeconds))) }
        return HTTPResponse(status, headers: all + headers, body: .bytes(writer.bytes))
    }
}
