// The composition root.
import EventPipeline
import Models
import Postgres
import Security
import ServiceKit

/// Keeps what brands offer: products, and sales of them in batches. Publishes both as they are now.
package struct CatalogService: Service {
    package static let name = "catalog"
    package static let summary = "Products and sales: drafts, publication, what may still change."
    package static let defaultHTTPPort = 8082
    package static let migrations =
        [
            PipelineSchema.migration,
            Migration(number: 1, name: "create", sql: PackageResources._001_create_sql),
            PipelineSchema.commands(number: 2),
            IdempotencySchema.migration(number: 5),
            Migration(number: 6, name: "audit_views", sql: PackageResources._006_audit_views_sql),
            PipelineSchema.auditViews(number: 7),
        ] + Sales.keeps + Availability.keeps
    package static let configurationKeys = [AccessKeys.rootKeys]

    package let features: [any Feature]
    package let verifier: TokenVerifier

    package init(_ context: ServiceContext) throws {
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
