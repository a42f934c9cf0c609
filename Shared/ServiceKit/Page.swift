// Lists in slices: at most so many, from a cursor on.
import HTTP
import JSON
import Security

/// Which slice of a list is asked for.
///
/// A cursor says where the slice before ended and which list that was: the kind of list, whose it is, what it was
/// filtered by. In another list it means nothing and is refused.
public struct Page: Sendable {
    public static let limitMax = 100
    public static let limitDefault = 50
    /// Changes when cursors of before mean something else.
    private static let version = "1"

    public let limit: Int
    /// `1.` and 12 characters that stand for the list.
    private let list: String
    /// Where the slice before ended, in the list's own notation.
    private let position: String?

    /// Reads `limit` and `cursor` of a request's query.
    /// - Parameters:
    ///   - list: the kind of list.
    ///   - filters: whose it is and what it is filtered by: all that makes it another list.
    public init(_ query: [String: String], of list: String, _ filters: [String?] = []) throws(Problem) {
        limit = try Self.limit(query)
        let name = JSONWriter.document([list] + filters.map { $0 ?? "" })
        self.list = "\(Self.version).\(Base64URL.encode(Digest.sha256(name).prefix(9)))"
        guard let text = query["cursor"] else {
            position = nil
            return
        }
        let start = (self.list + ".").utf8
        guard text.utf8.starts(with: start) else { throw Self.wrongCursor }
        position = String(decoding: text.utf8.dropFirst(start.count), as: UTF8.self)
    }

    /// `limit` of a query: 1 to 100.
    static func limit(_ query: [String: String]) throws(Problem) -> Int {
        guard let text = query["limit"] else { return limitDefault }
        guard let limit = Int(text), (1...limitMax).contains(limit) else {
            throw .badRequest(fields: [FieldProblem("limit", expected: "an integer from 1 to \(limitMax)")])
        }
        return limit
    }

    /// Where the slice before ended, nil at the beginning of the list.
    /// - Throws: `Problem` 400 for a cursor that `read` does not understand.
    public func position<Position>(_ read: (String) -> Position?) throws(Problem) -> Position? {
        guard let text = position else { return nil }
        guard let position = read(text) else { throw Self.wrongCursor }
        return position
    }

    private static let wrongCursor = Problem.badRequest(
        fields: [FieldProblem("cursor", expected: "the nextCursor of the slice before, of the same list")])

    public struct Slice<Element: Sendable>: Sendable {
        public let elements: [Element]
        /// Nil at the end of the list.
        public let nextCursor: String?

        public init(_ elements: [Element], nextCursor: String?) {
            self.elements = elements
            self.nextCursor = nextCursor
        }
    }

    /// Cuts a list that was read one element too far.
    /// - Parameter position: where an element stands, in letters, digits, `.`, `_` and `-`.
    public func slice<Element>(_ elements: [Element], position: (Element) -> String) -> Slice<Element> {
        Slice(cutting: elements, limit) { "\(list).\(position($0))" }
    }
}

/// Which slice of a list is asked for whose elements are numbered: the number is the position, and anybody may name one.
public struct NumberedPage: Sendable {
    public let limit: Int
    /// The number that the reader has last; zero at the beginning.
    public let after: Int64

    /// Reads `limit` and `after` of a request's query.
    public init(_ query: [String: String]) throws(Problem) {
        limit = try Page.limit(query)
        guard let text = query["after"] else {
            after = 0
            return
        }
        guard let number = Int64(text), number >= 0 else {
            throw .badRequest(fields: [FieldProblem("after", expected: "an integer from 0")])
        }
        after = number
    }

    /// Cuts a list that was read one element too far.
    public func slice<Element>(_ elements: [Element], number: (Element) -> Int64) -> Page.Slice<Element> {
        Page.Slice(cutting: elements, limit) { "\(number($0))" }
    }
}

extension Page.Slice {
    fileprivate init(cutting elements: [Element], _ limit: Int, _ cursor: (Element) -> String) {
        let kept = Array(elements.prefix(limit))
        self.init(kept, nextCursor: elements.count > limit ? kept.last.map(cursor) : nil)
    }
}

extension Page.Slice: JSONWritable where Element: JSONWritable {
    public func write(to writer: inout JSONWriter) {
        writer.object {
            $0.field("items", elements)
            $0.field("nextCursor", optional: nextCursor)
        }
    }
}
