import CatalogCore
import ServiceKit

@main
struct App {
    static func main() async { await Program.run(CatalogService.self) }
}
