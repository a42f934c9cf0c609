// Decides who gets a phone: everything that this service consumes, serves, keeps and repeats.
import EventPipeline
import HTTP
import JSON
import Models
import Observability
import Postgres
import Security
import ServiceKit

/// Answers every order: reserved, waitlisted or rejected, each exactly once. Scales by itself: an instance takes some of
/// the partitions of `orders`.
public struct ReservationService: Service {
    public static let name = "reservation"
    public static let summary = "Decides every order: reserved, waitlisted or rejected, each exactly once."
    public static let defaultHTTPPort = 8083
    public static let migrations = [
        PipelineSchema.migration,
        Migration(
            number: 1, name: "stock_and_orders",
            sql: String(decoding: PackageResources._001_stock_and_orders_sql, as: UTF8.self)),
        Migration(number: 2, name: "decisions", sql: PackageResources._002_decisions_sql),
        Migration(number: 3, name: "keeper", sql: PackageResources._003_keeper_sql),
        PipelineSchema.commands(number: 4),
        Migration(number: 5, name: "returns", sql: PackageResources._005_returns_sql),
        Migration(number: 6, name: "publishers", sql: PackageResources._006_publishers_sql),
    ]

    public static let configurationKeys = [
        AccessKeys.rootKeys,
        ConfigurationKey(
            "STAMPEDE_PUBLISHERS",
            "Who proves to have published an order: NAME=SECRET, one a line; messaging is the app", .secret,
            required: true),
    ]

    public let features: [any Feature]

    public init(_ context: ServiceContext) throws {
        let publishers = try Self.publishers(context.configuration.secret("STAMPEDE_PUBLISHERS"))
        let sales = SaleTable()
        let salesTable = CompactedTable(context, topic: .sales) { (key, type, body) throws(JSONError) in
            try sales.apply(key, type, body)
        }
        let keys = try AccessKeys(context)
        let relay = Relay(context)
        let keeper = StockKeeper(context, relay: relay, sales: sales)
        let decisions = OrderDecisions(
            sales: sales, search: SaleSearch(now: context.now) { try await salesTable.catchUp() }, keeper: keeper,
            refused: RefusedOrders(holder: context.newID(of: RefusedOrders.self)),
            publishers: publishers, decided: DecisionCounters(context.metrics))
        let components: [any Component] = [
            relay,
            keys,
            salesTable,
            EventProcessor(
                context, name: "orders", topic: .orders, pace: .milliseconds(30), prefetchBytesMax: 3 << 20,
                handler: decisions),
            EventProcessor(context, name: "payments", topic: .payments, handler: PaymentSettlement(keeper: keeper)),
            // Acts by itself, so it comes after those who find out whether the schema may be acted upon.
            keeper,
            StockWatch(context),
            Forgetting(context, PastOrders.forget),
            PipelineWatch(context),
        ]
        let routes =
            StockRoutes(
                counts: StockCounts(context.postgres), verifier: keys.verifier, now: context.now
            ).routes
        features = [Everything(components, publishes: [.reservations], routes: routes)]
    }

    private static func publishers(_ text: Secret) throws(ConfigurationError) -> PublisherKeys {
        let publishers: PublisherKeys
        do throws(PublisherKeysError) {
            publishers = try PublisherKeys(text: text.value)
        } catch {
            throw ConfigurationError(["STAMPEDE_PUBLISHERS: \(error)"])
        }
        guard publishers.contains(.messaging) else {
            throw ConfigurationError(["STAMPEDE_PUBLISHERS: expected messaging among them, whose orders are the app's"])
        }
        return publishers
    }
}
