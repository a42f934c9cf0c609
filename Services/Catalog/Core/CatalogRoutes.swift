// What the routes of products and of sales have in common.
import HTTP

enum CatalogRoutes {
    /// A sale of the most lines with titles in a few languages.
    static let bodyBytesMax = 256 << 10
}

extension Fault {
    var problem: FieldProblem { FieldProblem(field, expected: expected) }
}
