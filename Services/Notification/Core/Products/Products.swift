// What sales sell, by name.
// Other features use ProductNameTable, ProductNames.
import ServiceKit

struct Products: Feature {
    let consumes: [any Consumer]

    init(_ table: ProductNameTable) { consumes = table.consumers }
}
