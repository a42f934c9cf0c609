// The composition root.
import EventPipeline
import Models
import Postgres
import ServiceKit

/// Tells buyers what became of their orders and payments, in their language, each thing once. Messaging shows it.
public struct NotificationService: Service {
    public static let name = "notification"
    public static let summary = "Tells readers what became of their orders and payments, in their language."
    public static let defaultHTTPPort = 8085
    public static let migrations = [PipelineSchema.migration] + Notifications.keeps + Readers.keeps

    public let features: [any Feature]

    public init(_ context: ServiceContext) throws {
        let products = ProductNameTable(context)
        features = [
            Pipeline(context),
            Readers(context),
            Products(products),
            try Notifications(context, products: products),
        ]
    }
}
