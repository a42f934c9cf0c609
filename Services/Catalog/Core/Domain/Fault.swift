/// One field of a brand's request that cannot be, and what was expected there.
public struct Fault: Hashable, Sendable {
    /// The place in the request: `batches[1].lines[0].units`.
    public let field: String
    /// As a phrase: `at least 100 units, which are on sale already`.
    public let expected: String

    public init(_ field: String, _ expected: String) {
        self.field = field
        self.expected = expected
    }
}
