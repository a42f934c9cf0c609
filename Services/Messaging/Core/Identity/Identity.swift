// Who there is: accounts, the sessions of their devices, the keys that sign tokens, and the operator.
// Other features use AccountRules, AccountStatements.
import EventPipeline
import Models
import Postgres
import Security
import ServiceKit

struct Identity: Feature {
    static let keeps = [
        Migration(number: 4, name: "account_revision", sql: PackageResources._004_account_revision_sql),
        Migration(number: 5, name: "identity", sql: PackageResources._005_identity_sql),
        IdempotencySchema.migration(number: 6),
    ]

    static let rootSecret = ConfigurationKey(
        "STAMPEDE_ROOT_SECRET",
        "Seals the keys that sign tokens, and proves whose they are; at least \(RootSecret.bytesMin) bytes", .secret,
        required: true)
    static let operatorSecret = ConfigurationKey(
        "STAMPEDE_OPERATOR_SECRET", "Signs the operator in; without it nobody can", .secret)
    static let accessTokenSeconds = ConfigurationKey(
        "STAMPEDE_ACCESS_TOKEN_SECONDS", "How long an access token is valid", .integer(60...86_400), default: "900")
    static let signUpsPerMinute = ConfigurationKey(
        "STAMPEDE_SIGN_UPS_PER_MINUTE", "How many may sign up within a minute from one address (or IPv6 /64)",
        .integer(1...1_000_000), default: "60")

    let serves: [Endpoint]
    let consumes: [any Consumer]
    let publishes: [Topic] = [.accounts, .keys]
    let repeats: [any Component]

    /// - Parameter sessionEnded: told of a session whose tokens are refused from now on.
    init(
        _ context: ServiceContext, relay: Relay, verifier: TokenVerifier, root: Root,
        sessionEnded: @escaping @Sendable (SessionID) -> Void
    ) throws {
        let keys = SigningKeys(
            context, relay: relay, verifier: verifier, root: root,
            tokenSeconds: Int64(context.configuration.integer(Self.accessTokenSeconds.name)),
            sessionEnded: sessionEnded)
        let sessions = SessionCommands(
            context: context, relay: relay, keys: keys, verifier: verifier, root: root.secret,
            sessionEnded: sessionEnded)
        let attempts = AttemptCommands(postgres: context.postgres, now: context.now)
        let signIns = SignInCommands(context: context, sessions: sessions, attempts: attempts)
        let accountCommands = AccountCommands(
            context: context, relay: relay, sessions: sessions, signIns: signIns, attempts: attempts,
            signUpsPerMinute: context.configuration.integer(Self.signUpsPerMinute.name))
        let accounts = AccountRoutes(postgres: context.postgres, commands: accountCommands, signIns: signIns)
        let devices = SessionRoutes(context: context, commands: sessions, signIns: signIns)
        let operators = OperatorRoutes(
            commands: OperatorCommands(
                context: context, relay: relay, keys: keys, attempts: attempts,
                secret: context.configuration.optionalSecret(Self.operatorSecret.name)),
            accounts: accountCommands)
        serves = [
            Endpoint(.post, "/v1/accounts", for: .everybody, accounts.signUp),
            Endpoint(.get, "/v1/accounts/me", for: .members, accounts.me),
            Endpoint(.delete, "/v1/accounts/me", for: .people, accounts.delete),
            Endpoint(.put, "/v1/accounts/me/password", for: .members, accounts.changePassword),
            Endpoint(.get, "/v1/accounts/{id}", for: .authenticated, accounts.profile),
            Endpoint(.post, "/v1/sessions", for: .everybody, devices.signIn),
            Endpoint(.post, "/v1/sessions/refresh", for: .everybody, devices.refresh),
            Endpoint(.get, "/v1/sessions", for: .members, devices.list),
            Endpoint(.delete, "/v1/sessions", for: .members, devices.endAll),
            Endpoint(.delete, "/v1/sessions/{id}", for: .members, devices.end),
            Endpoint(.post, "/v1/operator/session", for: .everybody, operators.signIn),
            Endpoint(.post, "/v1/operator/brands", for: .operators, operators.makeBrand),
            // A thousand accounts of ten authorisations each. Signs up to a thousand tokens, so not on the event loop.
            Endpoint(
                .post, "/v1/operator/accounts", for: .operators, bodyBytesMax: 4 << 20, computes: true,
                operators.importAccounts),
        ]
        consumes = [
            CompactedTable(context, topic: .keys, apply: keys.apply),
            EventProcessor(context, name: "accounts-readback", topic: .accounts, handler: AccountEvents()),
            EventProcessor(context, name: "keys-readback", topic: .keys, handler: KeyEvents(root: root)),
        ]
        repeats = [keys, IdentitySweep(context, relay: relay)]
    }

    /// What proves that a key, or that a session has ended, is said by this installation.
    struct Root: Sendable {
        let secret: RootSecret
        /// Its public half, as every service has it.
        let keys: RootKeys
    }

    /// - Throws: `ConfigurationError` where the secret is too short.
    static func root(_ configuration: Configuration) throws(ConfigurationError) -> Root {
        guard let secret = RootSecret(configuration.secret(rootSecret.name).value),
            let keys = RootKeys(secret.publicKey)
        else {
            throw ConfigurationError(["\(rootSecret.name): expected at least \(RootSecret.bytesMin) random bytes"])
        }
        return Root(secret: secret, keys: keys)
    }
}
