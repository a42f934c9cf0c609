// Orders that are placed in the chat, and what becomes of every order.
// Other features use OrderStatements, StoredOrder.
import EventPipeline
import Models
import Security
import ServiceKit

struct Orders: Feature {
    static let secret = ConfigurationKey(
        "STAMPEDE_ORDER_SECRET",
        "Proves that an order is the app's: 64 hexadecimal digits, as reservation has them for messaging", .secret,
        required: true)

    private static let bodyBytesMax = 4 << 10

    let serves: [Endpoint]
    let consumes: [any Consumer]
    let publishes: [Topic] = [.orders]

    /// - Parameters:
    ///   - signer: proves that what this app publishes was placed by its buyer.
    ///   - committed: told when something new can be read.
    init(
        _ context: ServiceContext, relay: Relay, sales: SaleTables, signer: PublisherKey,
        committed: @escaping @Sendable () -> Void
    ) {
        let routes = OrderRoutes(
            postgres: context.postgres,
            commands: OrderCommands(context, relay: relay, sales: sales, signer: signer, committed: committed))
        serves = [
            Endpoint(.post, "/v1/orders", for: .members, bodyBytesMax: Self.bodyBytesMax, routes.place),
            Endpoint(.get, "/v1/orders", for: .members, routes.list),
            Endpoint(.get, "/v1/orders/{id}", for: .members, routes.one),
            Endpoint(
                .post, "/v1/orders/{id}/cancellation", for: .members, bodyBytesMax: Self.bodyBytesMax, routes.cancel),
        ]
        consumes = [
            EventProcessor(
                context, name: "decisions", topic: .reservations, handler: DecisionEvents(), committed: committed),
            EventProcessor(
                context, name: "refunds", topic: .payments, handler: RefundEvents(), committed: committed),
        ]
    }

    /// - Throws: `ConfigurationError` where the secret is none.
    static func signer(_ configuration: Configuration) throws(ConfigurationError) -> PublisherKey {
        guard let signer = PublisherKey(.messaging, hexadecimal: configuration.secret(secret.name).value) else {
            throw ConfigurationError(["\(secret.name): expected \(2 * PublisherKey.secretBytes) hexadecimal digits"])
        }
        return signer
    }
}
