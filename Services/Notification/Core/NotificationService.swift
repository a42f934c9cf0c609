import EventPipeline
import Models
import Postgres
import ServiceKit

/// Tells buyers what became of their orders and payments, in their language, each thing once. Messaging shows it.
public struct NotificationService: Service {
    public static let name = "notification"
    public static let summary = "Tells readers what became of their orders and payments, in their language."
    public static let defaultHTTPPort = 8085
    public static let migrations = [
        PipelineSchema.migration,
        Migration(number: 1, name: "create", sql: PackageResources._001_create_sql),
        Migration(number: 2, name: "order_revision", sql: PackageResources._002_order_revision_sql),
        Migration(number: 3, name: "reader_revision", sql: PackageResources._003_reader_revision_sql),
        Migration(number: 4, name: "forgetting", sql: PackageResources._004_forgetting_sql),
    ]

    public let features: [any Feature]

    public init(_ context: ServiceContext) throws {
        let goods = GoodsTable(context)
        func teller(_ topic: Topic, _ types: [String]) -> EventProcessor {
            let told = context.metrics.counter(
                "stampede_notifications_told_total", help: "Notifications told, each once",
                labels: ["topic": topic.name])
            return EventProcessor(
                context, name: topic.name, topic: topic, handler: Teller(types: types, goods: goods, told: told))
        }
        let components: [any Component] =
            goods.components + [
                EventProcessor(context, name: "accounts", topic: .accounts, handler: ReaderHandler()),
                teller(.reservations, Teller.reservationTypes),
                teller(.payments, Teller.paymentTypes),
                Forgetting(context, [ToldStatements.forget]),
                PipelineWatch(context),
            ]
        features = [Everything(components, publishes: [.notifications])]
    }
}
