import EventPipeline
import HTTP
import Models
import Postgres
import ServiceKit

/// Keeps what brands offer: products, and sales of them in batches. Publishes both as they are now.
public struct CatalogService: Service {
    public static let name = "catalog"
    public static let summary = "Products and sales: drafts, publication, what may still change."
    public static let defaultHTTPPort = 8082
    public static let migrations = [
        PipelineSchema.migration,
        Migration(number: 1, name: "create", sql: PackageResources._001_create_sql),
        PipelineSchema.commands(number: 2),
        Migration(number: 3, name: "plain_codes", sql: PackageResources._003_plain_codes_sql),
        Migration(number: 4, name: "line_revision", sql: PackageResources._004_line_revision_sql),
        IdempotencySchema.migration(number: 5),
    ]

    public static let configurationKeys = [AccessKeys.rootKeys]

    public let features: [any Feature]

    public init(_ context: ServiceContext) throws {
        let keys = try AccessKeys(context)
        let relay = Relay(context)
        let desk = CatalogDesk(
            relay: relay, postgres: context.postgres, newProductID: { context.newID() }, newSaleID: { context.newID() })
        let components: [any Component] = [
            keys,
            relay,
            EventProcessor(context, name: "reservations", topic: .reservations, handler: AvailabilityHandler()),
            EventProcessor(context, name: "sales-readback", topic: .sales, handler: SaleReadback()),
            PipelineWatch(context),
        ]
        let routes = CatalogRoutes(desk: desk, verifier: keys.verifier, now: context.now).all
        features = [Everything(components, publishes: [.products, .sales], routes: routes)]
    }
}
