// Lists in slices: at most so many, from a cursor on.
import HTTP
import Models

/// Which slice of a list is asked for.
struct Page: Sendable {
    static let limitMax = 100
    static let limitDefault = 50

    let limit: Int
    private let text: String?

    /// Reads `limit` and `cursor` of a request's query.
    init(_ query: [String: String]) throws(Problem) {
        if let text = query["limit"] {
            guard let limit = Int(text), (1...Self.limitMax).contains(limit) else {
                throw .badRequest(fields: [FieldProblem("limit", expected: "an integer from 1 to \(Self.limitMax)")])
            }
            self.limit = limit
        } else {
            limit = Self.limitDefault
        }
        text = query["cursor"]
        guard text == nil || cursor != nil || numericCursor != nil else {
            throw .badRequest(fields: [FieldProblem("cursor", expected: "a nextCursor of an earlier answer")])
        }
    }

    /// The last element of the slice before, by its identifier.
    var cursor: Identifier<Page>? { text.flatMap { Identifier($0) } }
    /// The same by its number.
    var numericCursor: Int64? { text.flatMap { Int64($0) } }

    struct Slice<Element: Sendable>: Sendable {
        let elements: [Element]
        /// Nil at the end of the list.
        let nextCursor: String?
    }

    /// Cuts a list that was read one element too far.
    func slice<Element>(_ elements: [Element], cursor: (Element) -> String) -> Slice<Element> {
        let kept = Array(elements.prefix(limit))
        return Slice(elements: kept, nextCursor: elements.count > limit ? kept.last.map(cursor) : nil)
    }
}
