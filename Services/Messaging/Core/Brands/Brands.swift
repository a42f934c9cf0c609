// Brands: who they are, who follows them, what they post.
// Other features use NewPost, PostCommands, PostStatements, PostView.
import EventPipeline
import Models
import ServiceKit

struct Brands: Feature {
    let serves: [Endpoint]
    let publishes: [Topic] = [.messages]

    /// - Parameter committed: told when something new can be read.
    init(
        _ context: ServiceContext, relay: Relay, sales: SaleTables, committed: @escaping @Sendable () -> Void
    ) {
        let brands = BrandRoutes(
            postgres: context.postgres, commands: BrandCommands(postgres: context.postgres, now: context.now))
        let posts = PostRoutes(
            postgres: context.postgres, sales: sales,
            commands: PostCommands(
                postgres: context.postgres, now: context.now, relay: relay, sales: sales, committed: committed))
        serves = [
            Endpoint(.get, "/v1/brands", for: .authenticated, brands.list),
            Endpoint(.put, "/v1/brands/{id}/follow", for: .members, brands.follow),
            Endpoint(.delete, "/v1/brands/{id}/follow", for: .members, brands.unfollow),
            // A text in up to 32 languages.
            Endpoint(.post, "/v1/brands/{id}/posts", for: .brands, bodyBytesMax: 512 << 10, posts.post),
            Endpoint(.get, "/v1/brands/{id}/posts", for: .authenticated, posts.list),
        ]
    }
}
