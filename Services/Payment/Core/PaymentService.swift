// The composition root: all that payment consumes, serves, publishes and repeats.
import EventPipeline
import HTTP
import Models
import Postgres
import ServiceKit

/// Keeps the wallets: a double-entry ledger that captures, refunds and tops up, each once.
public struct PaymentService: Service {
    public static let name = "payment"
    public static let summary = "Keeps the wallets and captures the price of reserved orders."
    public static let defaultHTTPPort = 8084
    public static let topics: [Topic] = [.accounts, .keys, .reservations, .payments]
    public static let migrations = [
        PipelineSchema.migration,
        Migration(number: 1, name: "create", sql: PackageResources._001_create_sql),
        Migration(number: 2, name: "order_revision", sql: PackageResources._002_order_revision_sql),
        PipelineSchema.commands(number: 3),
        Migration(number: 4, name: "exact_sums", sql: PackageResources._004_exact_sums_contract_sql),
        Migration(number: 5, name: "publishers", sql: PackageResources._005_publishers_sql),
    ]
    public static let configurationKeys = [
        AccessKeys.rootKeys,
        ConfigurationKey(
            "STAMPEDE_WALLET_CURRENCY", "ISO 4217 code of the currency that new wallets open in", .string,
            default: "CNY"),
    ]

    public let components: [any Component]
    public let routes: [Route]

    public init(_ context: ServiceContext) throws {
        let code = context.configuration.string("STAMPEDE_WALLET_CURRENCY")
        guard let opening = Currency(code) else {
            throw ConfigurationError([
                "STAMPEDE_WALLET_CURRENCY: expected the ISO 4217 code of a currency in use, such as CNY"
            ])
        }
        let keys = try AccessKeys(context)
        let relay = Relay(context)
        let ledger = LedgerCounters(context.metrics, currency: opening)
        let newPaymentID: @Sendable () -> PaymentID = { context.newID() }
        components = [
            keys,
            EventProcessor(context, name: "accounts", topic: .accounts, handler: AccountEvents(opening: opening)),
            EventProcessor(
                context, name: "reservations", topic: .reservations,
                handler: ReservationEvents(desk: ReservationDesk(newID: newPaymentID), ledger: ledger)),
            relay,
            PipelineWatch(context),
        ]
        let wallets = WalletRoutes(postgres: context.postgres, verifier: keys.verifier, now: context.now)
        let payments = PaymentRoutes(
            postgres: context.postgres, verifier: keys.verifier, now: context.now,
            payDesk: PayDesk(relay, newID: newPaymentID, ledger: ledger),
            topUpDesk: TopUpDesk(postgres: context.postgres, newID: { context.newID() }, ledger: ledger))
        // What people own is nobody's to keep, a browser's cache included.
        routes = (wallets.routes + payments.routes).map { $0.answering { $1.with("Cache-Control", "no-store") } }
    }
}
