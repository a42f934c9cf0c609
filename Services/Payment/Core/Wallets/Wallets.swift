// What people have: wallets, what came and went, and who may charge them.
import EventPipeline
import Models
import Postgres
import ServiceKit

struct Wallets: Feature {
    static let keeps = [Migration(number: 5, name: "publishers", sql: PackageResources._005_publishers_sql)]

    static let currency = ConfigurationKey(
        "STAMPEDE_WALLET_CURRENCY", "ISO 4217 code of the currency that new wallets open in", .string, default: "CNY")

    let serves: [Endpoint]
    let consumes: [any Consumer]

    /// - Parameter opening: the currency of new wallets.
    init(_ context: ServiceContext, opening: Currency) {
        let wallets = WalletRoutes(postgres: context.postgres)
        let authorisations = AuthorisationRoutes(postgres: context.postgres)
        serves = [
            Endpoint(.get, "/v1/wallet", for: .members, wallets.balances).uncached,
            Endpoint(.get, "/v1/wallet/entries", for: .members, wallets.entries).uncached,
            Endpoint(.get, "/v1/wallet/authorisations", for: .members, authorisations.list).uncached,
            Endpoint(.get, "/v1/wallet/authorisations/{payeeId}", for: .members, authorisations.one).uncached,
            Endpoint(
                .put, "/v1/wallet/authorisations/{payeeId}", for: .members, bodyBytesMax: 4096, authorisations.put
            ).uncached,
            Endpoint(.delete, "/v1/wallet/authorisations/{payeeId}", for: .members, authorisations.delete).uncached,
        ]
        consumes = [
            EventProcessor(context, name: "accounts", topic: .accounts, handler: WalletEvents(opening: opening))
        ]
    }

    /// - Throws: `ConfigurationError` where the code is no currency's.
    static func currency(_ configuration: Configuration) throws(ConfigurationError) -> Currency {
        guard let currency = Currency(configuration.string(currency.name)) else {
            throw ConfigurationError([
                "\(currency.name): expected the ISO 4217 code of a currency in use, such as CNY"
            ])
        }
        return currency
    }
}
