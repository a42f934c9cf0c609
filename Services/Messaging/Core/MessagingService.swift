// The composition root.
import EventPipeline
import Models
import Postgres
import Security
import ServiceKit

/// Who there is, what they tell each other, and what they order in the chat.
package struct MessagingService: Service {
    package static let name = "messaging"
    package static let summary = "Accounts, conversations, brands and ordering in the chat."
    package static let defaultHTTPPort = 8081
    package static let migrations =
        [
            PipelineSchema.migration,
            Migration(number: 1, name: "create", sql: PackageResources._001_create_sql),
            PipelineSchema.commands(number: 3),
            Migration(number: 8, name: "audit_views", sql: PackageResources._008_audit_views_sql),
            PipelineSchema.auditViews(number: 9),
        ] + Conversations.keeps + Identity.keeps
    package static let configurationKeys = [
        Identity.rootSecret, Identity.operatorSecret, Orders.secret, Identity.accessTokenSeconds,
        Identity.signUpsPerMinute,
    ]

    package let features: [any Feature]
    package let verifier = TokenVerifier()

    package init(_ context: ServiceContext) throws {
        let root = try Identity.root(context.configuration)
        let signer = try Orders.signer(context.configuration)
        let relay = Relay(context)
        let sales = SaleTables()
        let streams = EventStreams(context, sales: sales)
        features = [
            Pipeline(context, relay: relay),
            Sales(context, tables: sales),
            try Identity(context, relay: relay, verifier: verifier, root: root, sessionEnded: streams.close),
            Conversations(context, relay: relay, sales: sales, committed: streams.wake),
            Brands(context, relay: relay, sales: sales, committed: streams.wake),
            Orders(context, relay: relay, sales: sales, signer: signer, committed: streams.wake),
            Live(streams: streams),
        ]
    }
}
