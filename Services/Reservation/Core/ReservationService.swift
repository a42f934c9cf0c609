// The composition root.
import EventPipeline
import Models
import Postgres
import Security
import ServiceKit

/// Answers every order: reserved, waitlisted or rejected, each exactly once. Scales by itself: an instance takes some of
/// the partitions of `orders`.
package struct ReservationService: Service {
    package static let name = "reservation"
    package static let summary = "Decides every order: reserved, waitlisted or rejected, each exactly once."
    package static let defaultHTTPPort = 8083
    package static let migrations =
        [
            PipelineSchema.migration,
            Migration(number: 1, name: "stock_and_orders", sql: PackageResources._001_stock_and_orders_sql),
            PipelineSchema.commands(number: 4),
            Migration(number: 5, name: "returns", sql: PackageResources._005_returns_sql),
            Migration(number: 7, name: "audit_views", sql: PackageResources._007_audit_views_sql),
            PipelineSchema.auditViews(number: 8),
        ] + Decisions.keeps + Stock.keeps
    package static let configurationKeys = [AccessKeys.rootKeys, Decisions.publishers]

    package let features: [any Feature]
    package let verifier: TokenVerifier

    package init(_ context: ServiceContext) throws {
        let keys = try AccessKeys(context)
        let relay = Relay(context)
        let sales = SaleTable()
        let alerts = StockAlerts()
        let settlement = SettlementCommands(relay: relay, alerts: alerts)
        let stocks = StockCommands(relay: relay, sales: sales, settlement: settlement, alerts: alerts)
        let early = EarlyCancellationCommands(relay: relay, postgres: context.postgres, settlement: settlement)
        let keeper = StockKeeper(
            context, sales: sales, stocks: stocks, settlement: settlement, early: early, alerts: alerts)
        verifier = keys.verifier
        features = [
            Pipeline(context, relay: relay, keys: keys),
            try Decisions(context, sales: sales, stocks: stocks, settlement: settlement, alerts: alerts),
            Settlement(context, commands: settlement),
            Stock(context, keeper: keeper),
            DataRetention(context),
        ]
    }
}
