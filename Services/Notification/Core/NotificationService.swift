// The composition root.
import EventPipeline
import Models
import Postgres
import ServiceKit

/// Tells buyers what became of their orders and payments, in their language, each thing once. Messaging shows it.
package struct NotificationService: Service {
    package static let name = "notification"
    package static let summary = "Tells readers what became of their orders and payments, in their language."
    package static let defaultHTTPPort = 8085
    package static let migrations =
        [
            PipelineSchema.migration,
            Migration(number: 5, name: "audit_views", sql: PackageResources._005_audit_views_sql),
            PipelineSchema.auditViews(number: 6),
        ] + Notifications.keeps + Readers.keeps

    package let features: [any Feature]

    package init(_ context: ServiceContext) throws {
        let products = ProductNameTable(context)
        features = [
            Pipeline(context),
            Readers(context),
            Products(products),
            try Notifications(context, products: products),
        ]
    }
}
