import EventPipeline
import Models
import Postgres
import ServiceKit

/// Tells buyers what became of their orders and payments, in their language, each thing once. Messaging shows it.
public struct NotificationService: Service {
    public static let name = "notification"
    public static let summary = "Tells readers what became of their orders and payments, in their language."
    public static let defaultHTTPPort = 8085
    public static let topics: [Topic] = [.accounts, .products, .sales, .reservations, .payments, .notifications]
    public static let migrations = [
        PipelineSchema.migration,
        Migration(number: 1, name: "create", sql: PackageResources._001_create_sql),
        Migration(number: 2, name: "order_revision", sql: PackageResources._002_order_revision_sql),
        Migration(number: 3, name: "reader_revision", sql: PackageResources._003_reader_revision_sql),
        Migration(number: 4, name: "forgetting", sql: PackageResources._004_forgetting_sql),
    ]

    public let components: [any Component]

    public init(_ context: ServiceContext) throws {
        let templates = try TemplateCatalogue(TemplateTexts.all)
        let products = ProductNameTable(context)
        func notifier(_ topic: Topic, _ types: [String]) -> EventProcessor {
            let delivered = context.metrics.counter(
                "stampede_notifications_told_total", help: "Notifications told, each once",
                labels: ["topic": topic.name])
            return EventProcessor(
                context, name: topic.name, topic: topic,
                handler: Notifier(types: types, templates: templates, products: products, delivered: delivered))
        }
        components =
            products.components + [
                EventProcessor(context, name: "accounts", topic: .accounts, handler: ReaderHandler()),
                notifier(.reservations, Notifier.reservationTypes),
                notifier(.payments, Notifier.paymentTypes),
                Forgetting(context, [DeliveredStatements.forget]),
                PipelineWatch(context),
            ]
    }
}
