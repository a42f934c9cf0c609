// Which state of a thing was read, and what a request says of the state that it expects (RFC 9110, 8.8.3 and 13).
import HTTP
import Security

/// The tag of one state of a thing, sent as `ETag`.
public struct EntityTag: Sendable, Equatable {
    /// Between the quotes: the revision, where the thing has one, and 132 bits of the document's digest.
    private let opaque: String
    /// What edits are held against; nil where that is the whole document.
    private let revision: Int64?

    /// - Parameter revision: counts a thing's edits. Its document may change besides, by what others do: that makes a
    ///   document that was read old, and an edit of it is as good as before.
    public init(of document: [UInt8], revision: Int64? = nil) {
        let digest = Base64URL.encode(Digest.sha256(document)).prefix(22)
        opaque = revision.map { "\($0).\(digest)" } ?? String(digest)
        self.revision = revision
    }

    /// With its quotes, as the header field has it.
    public var text: String { "\"\(opaque)\"" }

    /// Whether the tag is of this very document.
    fileprivate func isOf(_ tag: String) -> Bool { tag.utf8.elementsEqual(opaque.utf8) }

    /// Whether the tag is of a document that an edit of this one may start from.
    fileprivate func isEditOf(_ tag: String) -> Bool {
        guard let revision else { return isOf(tag) }
        return tag.utf8.starts(with: "\(revision).".utf8)
    }
}

/// `If-Match` and `If-None-Match` of a request that changes something.
public struct Precondition: Sendable {
    private let match: [String]?
    private let noneMatch: [String]?
    private static let any = "*"

    /// - Throws: `Problem` 400 where a field holds no entity tags.
    public init(_ request: HTTPRequest) throws(Problem) {
        match = try Self.tags(request, "If-Match")
        noneMatch = try Self.tags(request, "If-None-Match")
    }

    /// Whether the request leaves it open which state it expects.
    public var isEmpty: Bool { match == nil && noneMatch == nil }

    /// For what others edit too: an edit has to say what it was made of.
    public func requireMatch() throws(PreconditionRefusal) {
        guard match != nil else { throw .required }
    }

    /// - Parameter current: the tag of what is there, nil where there is nothing.
    /// - Throws: `failed` where that is not what the request expects.
    public func check(_ current: EntityTag?) throws(PreconditionRefusal) {
        if let match, !Self.contains(match, current, EntityTag.isEditOf) { throw .failed }
        if let noneMatch, Self.contains(noneMatch, current, EntityTag.isOf) { throw .failed }
    }

    private static func contains(
        _ tags: [String], _ current: EntityTag?, _ fits: (EntityTag) -> (String) -> Bool
    ) -> Bool {
        guard let current else { return false }
        return tags.contains { $0 == any || fits(current)($0) }
    }

    private static func tags(_ request: HTTPRequest, _ name: String) throws(Problem) -> [String]? {
        let values = request.headers.values(name)
        if values.isEmpty { return nil }
        guard let tags = EntityTagList.read(values.joined(separator: ",")) else {
            throw .badRequest(fields: [FieldProblem(name, expected: #"* or entity tags: "1.x", "2.y""#)])
        }
        return tags
    }
}

/// Why a change is not made.
public enum PreconditionRefusal: ProblemConvertible, Sendable {
    /// The request does not say which state it changes.
    case required
    /// The state is not what the request expects.
    case failed

    public var problem: Problem {
        switch self {
        case .required:
            Problem(
                428, type: "precondition-required", title: "The state that this changes must be named",
                detail: "Send If-Match with the ETag of what was read, or * for whatever there is.")
        case .failed:
            Problem(
                412, type: "precondition-failed", title: "What was read has changed since",
                detail: "Read it again and make the change to what is there now.")
        }
    }
}

/// `*`, or entity tags in quotes with commas between them.
enum EntityTagList {
    /// What stands between the quotes of each. A weak tag counts as the strong one: whoever compresses an answer on its
    /// way, as the gateway does, makes its tag weak, and it is the same state. Nil where the text is no list.
    static func read(_ text: String) -> [String]? {
        var rest = Substring(text)
        func skipBlanks() { rest = rest.drop { $0 == " " || $0 == "\t" || $0 == "," } }
        var tags: [String] = []
        skipBlanks()
        if rest.first == "*" { return rest.dropFirst().allSatisfy { $0 == " " } ? ["*"] : nil }
        while !rest.isEmpty {
            if rest.hasPrefix("W/") { rest = rest.dropFirst(2) }
            guard rest.first == "\"", let end = rest.dropFirst().firstIndex(of: "\"") else { return nil }
            tags.append(String(rest[rest.index(after: rest.startIndex)..<end]))
            rest = rest[rest.index(after: end)...]
            guard rest.isEmpty || [" ", "\t", ","].contains(rest.first) else { return nil }
            skipBlanks()
        }
        return tags.isEmpty ? nil : tags
    }
}

extension Route {
    /// The same route, whose answers say how long they hold. What was read bears an `ETag`, and is not sent again (304)
    /// to whoever names it in `If-None-Match`; it is the caller's, and asked for anew each time. What was done is kept
    /// nowhere. A `Cache-Control` that the handler gave stays.
    func revalidated() -> Route {
        answering { request, response in
            guard request.method == .get || request.method == .head, response.status == 200,
                case .bytes(let body) = response.body
            else { return response.caching("no-store") }
            var answer = response.caching("private, no-cache")
            let given = response.header("ETag")
            let tag = given ?? EntityTag(of: body).text
            if given == nil { answer = answer.with("ETag", tag) }
            let asked = request.headers.values("If-None-Match")
            guard !asked.isEmpty, let tags = EntityTagList.read(asked.joined(separator: ",")),
                tags.contains("*") || tags.contains(String(tag.dropFirst().dropLast()))
            else { return answer }
            let kept = answer.headers.filter { $0.0 != "Content-Type" }
            // The library sends no body with a 304; it says how long the one is that it stands for (RFC 9110, 8.6).
            return HTTPResponse(304, headers: kept, body: response.body)
        }
    }
}

extension HTTPResponse {
    fileprivate func caching(_ directive: String) -> HTTPResponse {
        header("Cache-Control") == nil ? with("Cache-Control", directive) : self
    }

    fileprivate func header(_ name: String) -> String? { headers.first { $0.0 == name }?.1 }
}
