// What people, brands and the service say to one: direct conversations and their messages.
// Other features use MessageRefusal, MessageRoutes, MessageStatements, MessageView.
import EventPipeline
import Models
import Postgres
import ServiceKit

struct Conversations: Feature {
    static let keeps = [
        Migration(number: 2, name: "order_place", sql: PackageResources._002_order_place_sql)
    ]

    let serves: [Endpoint]
    let consumes: [any Consumer]
    let publishes: [Topic] = [.messages]

    /// - Parameter committed: told when something new can be read.
    init(
        _ context: ServiceContext, relay: Relay, sales: SaleTables, committed: @escaping @Sendable () -> Void
    ) {
        let conversations = ConversationRoutes(
            postgres: context.postgres, sales: sales,
            commands: ConversationCommands(postgres: context.postgres, now: context.now))
        let messages = MessageRoutes(
            postgres: context.postgres, sales: sales,
            commands: MessageCommands(context, relay: relay, sales: sales, committed: committed))
        serves = [
            Endpoint(.post, "/v1/conversations", for: .members, conversations.open),
            Endpoint(.get, "/v1/conversations", for: .members, conversations.list),
            Endpoint(.get, "/v1/conversations/{id}/messages", for: .members, messages.list),
            // A text of the most characters, each of them escaped.
            Endpoint(
                .post, "/v1/conversations/{id}/messages", for: .members, bodyBytesMax: 128 << 10, messages.send),
        ]
        consumes = [
            EventProcessor(
                context, name: "notifications", topic: .notifications, handler: NotificationEvents(),
                committed: committed)
        ]
    }
}
