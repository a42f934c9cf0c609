/// What a document had that it should not: where, and what was expected there.
public struct JSONError: Error, Sendable, Equatable, CustomStringConvertible {
    /// The place in the document, `batches[2].supply`; empty for the document itself.
    public let path: String
    /// What was expected there, as a phrase: `an integer from 1 to 100`.
    public let expected: String

    public init(path: String, expected: String) {
        self.path = path
        self.expected = expected
    }

    public var description: String {
        path.isEmpty ? "expected \(expected)" : "\(path): expected \(expected)"
    }

    /// The same error seen from the object or array that holds its place.
    public func inside(_ parent: String) -> JSONError {
        if path.isEmpty { return JSONError(path: parent, expected: expected) }
        return JSONError(path: path.hasPrefix("[") ? parent + path : "\(parent).\(path)", expected: expected)
    }
}
