// The composition root.
import EventPipeline
import Models
import Postgres
import Security
import ServiceKit

/// Keeps what brands offer: products, and sales of them in batches. Publishes both as they are now.
public struct CatalogService: Service {
    public static let name = "catalog"
    public static let summary = "Products and sales: drafts, publication, what may still change."
    public static let defaultHTTPPort = 8082
    public static let migrations =
        [
            PipelineSchema.migration,
            Migration(number: 1, name: "create", sql: PackageResources._001_create_sql),
            PipelineSchema.commands(number: 2),
            IdempotencySchema.migration(number: 5),
            Migration(number: 6, name: "audit_views", sql: PackageResources._006_audit_views_sql),
        ] + Sales.keeps + Availability.keeps
    public static let configurationKeys = [AccessKeys.rootKeys]

    public let features: [any Feature]
    public let verifier: TokenVerifier

    public init(_ context: ServiceContext) throws {
        let keys = try AccessKeys(context)
        let relay = Relay(context)
        verifier = keys.verifier
        features = [
            Pipeline(context, relay: relay, keys: keys),
            Products(context, relay: relay),
            Sales(context, relay: relay),
            Availability(context),
        ]
    }
}
