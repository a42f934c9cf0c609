// Messaging: accounts, chat, brands, ordering in the chat.
import EventPipeline
import HTTP
import Models
import Postgres
import Security
import ServiceKit

/// Who there is, what they tell each other, and what they order. Publishes `accounts`, `keys`, `messages` and, for those
/// who order in the chat, to `orders`.
public struct MessagingService: Service {
    public static let name = "messaging"
    public static let summary = "Accounts, conversations, brands and ordering in the chat."
    public static let defaultHTTPPort = 8081

    public static let configurationKeys = [
        ConfigurationKey(
            "STAMPEDE_ROOT_SECRET",
            "Seals the keys that sign tokens, and proves whose they are; at least \(RootSecret.bytesMin) bytes",
            .secret,
            required: true),
        ConfigurationKey(
            "STAMPEDE_OPERATOR_SECRET", "Signs the operator in; without it nobody can", .secret),
        ConfigurationKey(
            "STAMPEDE_ORDER_SECRET",
            "Proves that an order is the app's: 64 hexadecimal digits, as reservation has them for messaging", .secret,
            required: true),
        ConfigurationKey(
            "STAMPEDE_ACCESS_TOKEN_SECONDS", "How long an access token is valid", .integer(60...86_400),
            default: "900"),
        ConfigurationKey(
            "STAMPEDE_SIGN_UPS_PER_MINUTE", "How many may sign up within a minute from one address (or IPv6 /64)",
            .integer(1...1_000_000), default: "60"),
    ]

    public static let migrations = [
        PipelineSchema.migration,
        Migration(number: 1, name: "create", sql: PackageResources._001_create_sql),
        Migration(number: 2, name: "order_place", sql: PackageResources._002_order_place_sql),
        PipelineSchema.commands(number: 3),
        Migration(number: 4, name: "account_revision", sql: PackageResources._004_account_revision_sql),
        Migration(number: 5, name: "identity", sql: PackageResources._005_identity_sql),
        IdempotencySchema.migration(number: 6),
    ]

    public let features: [any Feature]

    public init(_ context: ServiceContext) throws {
        let tokenSeconds = Int64(context.configuration.integer("STAMPEDE_ACCESS_TOKEN_SECONDS"))
        let secret = context.configuration.optionalSecret("STAMPEDE_OPERATOR_SECRET")
        guard let root = RootSecret(context.configuration.secret("STAMPEDE_ROOT_SECRET").value),
            let roots = RootKeys(root.publicKey)
        else {
            throw ConfigurationError(["STAMPEDE_ROOT_SECRET: expected at least \(RootSecret.bytesMin) random bytes"])
        }
        guard
            let signer = PublisherKey(
                .messaging, hexadecimal: context.configuration.secret("STAMPEDE_ORDER_SECRET").value)
        else {
            throw ConfigurationError([
                "STAMPEDE_ORDER_SECRET: expected \(2 * PublisherKey.secretBytes) hexadecimal digits"
            ])
        }
        let tables = SaleTables()
        let verifier = TokenVerifier()
        let relay = Relay(context)
        let representation = Representation(tables: tables)
        let hub = LiveHub(context, representation: representation)
        let keys = KeyRing(
            context, relay: relay, verifier: verifier, root: root, roots: roots, tokenSeconds: tokenSeconds,
            sessionEnded: { hub.close($0) })
        let sessions = SessionDesk(context, relay: relay, keys: keys, root: root, tokenSeconds: tokenSeconds)
        let attempts = AttemptStorage(postgres: context.postgres, now: context.now)
        let door = Doorkeeper(verifier: verifier, now: context.now)

        let components: [any Component] = [
            relay,
            CompactedTable(context, topic: .keys, apply: keys.apply),
            CompactedTable(context, topic: .sales, apply: tables.applySale),
            CompactedTable(context, topic: .products, apply: tables.applyProduct),
            keys,
            EventProcessor(context, name: "notifications", topic: .notifications, handler: NotificationHandler()),
            EventProcessor(context, name: "decisions", topic: .reservations, handler: DecisionHandler()),
            EventProcessor(context, name: "refunds", topic: .payments, handler: RefundHandler()),
            EventProcessor(context, name: "accounts-readback", topic: .accounts, handler: AccountReadback()),
            EventProcessor(
                context, name: "keys-readback", topic: .keys, handler: KeyReadback(root: root, roots: roots)),
            IdentitySweep(context, relay: relay),
            hub,
            PipelineWatch(context),
        ]

        let accounts = AccountRoutes(
            context, door: door, relay: relay, sessions: sessions, attempts: attempts,
            signUpsPerMinute: context.configuration.integer("STAMPEDE_SIGN_UPS_PER_MINUTE"))
        let operators = OperatorRoutes(
            context: context, door: door, relay: relay, attempts: attempts, keys: keys,
            secretDigest: secret.map { Digest.sha256(Array($0.value.utf8)) }, tokenSeconds: tokenSeconds)
        let conversations = ConversationRoutes(
            context, door: door, relay: relay, hub: hub, representation: representation)
        let brands = BrandRoutes(context, door: door, relay: relay, hub: hub, representation: representation)
        let orders = OrderRoutes(context, door: door, tables: tables, relay: relay, hub: hub, signer: signer)
        let streams = StreamRoutes(door: door, hub: hub)
        let routes =
            accounts.routes + operators.routes + conversations.routes + brands.routes + orders.routes + streams.routes
        features = [Everything(components, publishes: [.accounts, .keys, .messages, .orders], routes: routes)]
    }
}
