// What sales sell, by name.
import ServiceKit

struct Products: Feature {
    let consumes: [any Consumer]

    init(_ table: ProductNameTable) { consumes = table.consumers }
}
