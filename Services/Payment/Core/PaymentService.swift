// The composition root.
import EventPipeline
import Models
import Postgres
import Security
import ServiceKit

/// Keeps the wallets: a double-entry ledger that captures, refunds and tops up, each once.
package struct PaymentService: Service {
    package static let name = "payment"
    package static let summary = "Keeps the wallets and captures the price of reserved orders."
    package static let defaultHTTPPort = 8084
    package static let migrations =
        [
            PipelineSchema.migration,
            Migration(number: 1, name: "create", sql: PackageResources._001_create_sql),
            PipelineSchema.commands(number: 3),
            Migration(number: 4, name: "exact_sums", sql: PackageResources._004_exact_sums_contract_sql),
            Migration(number: 6, name: "audit_views", sql: PackageResources._006_audit_views_sql),
            PipelineSchema.auditViews(number: 7),
        ] + Wallets.keeps + Payments.keeps
    package static let configurationKeys = [AccessKeys.rootKeys, Wallets.currency]

    package let features: [any Feature]
    package let verifier: TokenVerifier

    package init(_ context: ServiceContext) throws {
        let opening = try Wallets.currency(context.configuration)
        let keys = try AccessKeys(context)
        let relay = Relay(context)
        let counters = LedgerCounters(context.metrics, currency: opening)
        verifier = keys.verifier
        features = [
            Pipeline(context, relay: relay, keys: keys),
            Wallets(context, opening: opening),
            Payments(context, relay: relay, counters: counters),
            TopUps(context, counters: counters),
        ]
    }
}
