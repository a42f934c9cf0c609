// What the rules of products and of sales have in common: how a fault is told, and what a text must be.
import Models

/// One field of a brand's request that cannot be, and what was expected there.
package struct Fault: Hashable, Sendable {
    /// The place in the request: `batches[1].lines[0].units`.
    package let field: String
    /// As a phrase: `at least 100 units, which are on sale already`.
    package let expected: String

    package init(_ field: String, _ expected: String) {
        self.field = field
        self.expected = expected
    }
}

extension LocalizedText {
    /// What is wrong with texts that people are to read: those that say nothing.
    func faults(_ field: String) -> [Fault] {
        byLocale.sorted { $0.key < $1.key }.compactMap { tag, text in
            text.allSatisfy(\.isWhitespace) ? Fault("\(field).\(tag)", "a text that says something") : nil
        }
    }
}
