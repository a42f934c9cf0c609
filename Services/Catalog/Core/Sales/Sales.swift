// Sales: their plans as drafts, their publication, and what may change in public.
import EventPipeline
import Models
import Postgres
import ServiceKit

struct Sales: Feature {
    static let keeps = [Migration(number: 3, name: "plain_codes", sql: PackageResources._003_plain_codes_sql)]

    let serves: [Endpoint]
    let consumes: [any Consumer]
    let publishes: [Topic] = [.sales]

    init(_ context: ServiceContext, relay: Relay) {
        let routes = SaleRoutes(
            postgres: context.postgres, commands: SaleCommands(relay: relay, newID: { context.newID() }))
        let bytesMax = CatalogRoutes.bodyBytesMax
        serves = [
            Endpoint(.post, "/v1/sales", for: .brands, bodyBytesMax: bytesMax, routes.create),
            Endpoint(.get, "/v1/sales", for: .authenticated, routes.list),
            Endpoint(.get, "/v1/sales/{id}", for: .authenticated, routes.one),
            Endpoint(.put, "/v1/sales/{id}", for: .brands, bodyBytesMax: bytesMax, routes.change),
            Endpoint(.delete, "/v1/sales/{id}", for: .brands, routes.delete),
            Endpoint(.post, "/v1/sales/{id}/publication", for: .brands, bodyBytesMax: bytesMax, routes.publish),
            Endpoint(.get, "/v1/sales/{id}/changes", for: .authenticated, routes.changes),
        ]
        consumes = [EventProcessor(context, name: "sales-readback", topic: .sales, handler: SaleEvents())]
    }
}
