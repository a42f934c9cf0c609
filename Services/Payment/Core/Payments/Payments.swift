// Payments of orders: by a standing authorisation, by hand, and back again.
import EventPipeline
import Models
import Postgres
import ServiceKit

struct Payments: Feature {
    static let keeps = [
        Migration(number: 2, name: "order_revision", sql: PackageResources._002_order_revision_sql)
    ]

    let serves: [Endpoint]
    let consumes: [any Consumer]
    let publishes: [Topic] = [.payments]

    init(_ context: ServiceContext, relay: Relay, counters: LedgerCounters) {
        let newID: @Sendable () -> PaymentID = { context.newID() }
        let routes = PaymentRoutes(
            postgres: context.postgres, commands: PaymentCommands(relay, newID: newID, counters: counters))
        serves = [
            Endpoint(.post, "/v1/payments", for: .members, bodyBytesMax: 4096, routes.pay).uncached,
            Endpoint(.get, "/v1/payments/{id}", for: .members, routes.one).uncached,
        ]
        consumes = [
            EventProcessor(
                context, name: "reservations", topic: .reservations,
                handler: SettlementEvents(commands: SettlementCommands(newID: newID), counters: counters))
        ]
    }
}
