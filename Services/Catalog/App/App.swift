// The executable `catalog`; what it is made of stands in Services/Catalog/Core/CatalogService.swift.
import CatalogCore
import ServiceKit

@main
struct App {
    static func main() async { await Program.run(CatalogService.self) }
}
