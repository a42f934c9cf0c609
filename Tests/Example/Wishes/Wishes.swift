// Sales that a member has an eye on.
import Models
import Postgres
import ServiceKit

struct Wishes: Feature {
    static let keeps = [Migration(number: 1, name: "wishes", sql: PackageResources._001_wishes_sql)]

    let serves: [Endpoint]

    init(_ context: ServiceContext) {
        let routes = WishRoutes(commands: WishCommands(postgres: context.postgres))
        serves = [
            Endpoint(.get, "/v1/wishes", for: .members, routes.list),
            Endpoint(.put, "/v1/wishes/{saleId}", for: .members, routes.put),
        ]
    }
}
