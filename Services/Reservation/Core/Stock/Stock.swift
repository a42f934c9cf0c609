// Stock: where the units of every sale are, and who keeps them moving.
// Other features use Stock, StockAlerts, StockCommands, StockKey, StockStatements, StockView, Terms.
import EventPipeline
import Models
import Postgres
import ServiceKit

struct Stock: Feature {
    static let keeps = [Migration(number: 3, name: "keeper", sql: PackageResources._003_keeper_sql)]

    let serves: [Endpoint]
    let publishes: [Topic] = [.reservations]
    let repeats: [any Component]

    init(_ context: ServiceContext, keeper: StockKeeper) {
        let routes = StockRoutes(counts: StockCounts(context.postgres))
        serves = [Endpoint(.get, "/v1/stock/{saleId}", for: .authenticated, routes.show)]
        repeats = [keeper, StockWatch(context)]
    }
}
