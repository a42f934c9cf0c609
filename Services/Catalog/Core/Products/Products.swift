// Products: what a brand has to sell. Made once, never changed.
// Other features use ProductStatements.
import EventPipeline
import Models
import ServiceKit

struct Products: Feature {
    let serves: [Endpoint]
    let publishes: [Topic] = [.products]

    init(_ context: ServiceContext, relay: Relay) {
        let routes = ProductRoutes(
            postgres: context.postgres, commands: ProductCommands(relay: relay, newID: { context.newID() }))
        serves = [
            Endpoint(
                .post, "/v1/products", for: .brands, bodyBytesMax: CatalogRoutes.bodyBytesMax, routes.create),
            Endpoint(.get, "/v1/products", for: .authenticated, routes.list),
            Endpoint(.get, "/v1/products/{id}", for: .authenticated, routes.one),
        ]
    }
}
