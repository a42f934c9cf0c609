// What buyers are told, each thing once.
import EventPipeline
import Models
import Postgres
import ServiceKit

struct Notifications: Feature {
    static let keeps = [
        Migration(number: 1, name: "create", sql: PackageResources._001_create_sql),
        Migration(number: 2, name: "order_revision", sql: PackageResources._002_order_revision_sql),
        Migration(number: 4, name: "forgetting", sql: PackageResources._004_forgetting_sql),
    ]

    let consumes: [any Consumer]
    let publishes: [Topic] = [.notifications]
    let repeats: [any Component]

    /// - Throws: where a template is not as it should be.
    init(_ context: ServiceContext, products: ProductNameTable) throws {
        let templates = try TemplateCatalogue(TemplateTexts.all)
        func notifier(_ topic: Topic, _ types: [String]) -> EventProcessor {
            let delivered = context.metrics.counter(
                "stampede_notifications_told_total", help: "Notifications told, each once",
                labels: ["topic": topic.name])
            return EventProcessor(
                context, name: topic.name, topic: topic,
                handler: Notifier(types: types, templates: templates, products: products, delivered: delivered))
        }
        consumes = [
            notifier(.reservations, Notifier.reservationTypes), notifier(.payments, Notifier.paymentTypes),
        ]
        repeats = [Forgetting(context, [DeliveredStatements.forget])]
    }
}
