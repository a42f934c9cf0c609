// What is on sale, in memory: every order and every goods card needs it.
// Other features use SaleTables.
import EventPipeline
import Models
import ServiceKit

struct Sales: Feature {
    let consumes: [any Consumer]

    init(_ context: ServiceContext, tables: SaleTables) {
        consumes = [
            CompactedTable(context, topic: .sales, apply: tables.applySale),
            CompactedTable(context, topic: .products, apply: tables.applyProduct),
        ]
    }
}
