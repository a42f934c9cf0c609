// Decisions: every order is answered, and what its buyer cancels is taken back.
// Other features use DecisionStatements, EarlyCancellationCommands, EarlyCancellationStatements, OrderState,
//   SaleTable, Shortage.
import EventPipeline
import JSON
import Models
import Postgres
import Security
import ServiceKit

struct Decisions: Feature {
    static let keeps = [
        Migration(number: 2, name: "decisions", sql: PackageResources._002_decisions_sql),
        Migration(number: 6, name: "publishers", sql: PackageResources._006_publishers_sql),
    ]

    static let publishers = ConfigurationKey(
        "STAMPEDE_PUBLISHERS",
        "Who proves to have published an order: NAME=SECRET, one a line; messaging is the app", .secret,
        required: true)

    let consumes: [any Consumer]
    let publishes: [Topic] = [.reservations]

    /// - Parameter sales: kept as the topic `sales` says they are now.
    init(
        _ context: ServiceContext, sales: SaleTable, stocks: StockCommands, settlement: SettlementCommands,
        alerts: StockAlerts
    ) throws {
        let publishers = try Self.publishers(context.configuration)
        let table = CompactedTable(context, topic: .sales) { (key, type, body) throws(JSONError) in
            try sales.apply(key, type, body)
        }
        let planner = DecisionPlanner(
            sales: sales, search: SaleSearch(now: context.now) { try await table.catchUp() }, publishers: publishers)
        consumes = [
            table,
            EventProcessor(
                context, name: "orders", topic: .orders, pace: .milliseconds(30), prefetchBytesMax: 3 << 20,
                handler: DecisionEvents(
                    planner: planner, refused: RefusedOrders(holder: context.newID(of: RefusedOrders.self)),
                    stocks: stocks, settlement: settlement, alerts: alerts,
                    decided: DecisionCounters(context.metrics))),
        ]
    }

    /// - Throws: `ConfigurationError` where the list cannot be read or does not name the app.
    private static func publishers(_ configuration: Configuration) throws(ConfigurationError) -> PublisherKeys {
        let keys: PublisherKeys
        do throws(PublisherKeysError) {
            keys = try PublisherKeys(text: configuration.secret(publishers.name).value)
        } catch {
            throw ConfigurationError(["\(publishers.name): \(error)"])
        }
        guard keys.contains(.messaging) else {
            throw ConfigurationError(["\(publishers.name): expected messaging among them, whose orders are the app's"])
        }
        return keys
    }
}
