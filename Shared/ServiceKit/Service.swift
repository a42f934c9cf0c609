// What makes a program a service of Stampede.
import Postgres
import Security

/// The composition root of a service: its features, and what they share.
public protocol Service: Sendable {
    /// One word in lower case: the executable, the Postgres schema and role, the prefix of consumer groups.
    static var name: String { get }
    /// One line for `--help`.
    static var summary: String { get }
    /// Its own configuration besides the standard one.
    static var configurationKeys: [ConfigurationKey] { get }
    /// What its features keep, applied to the schema `name` in the order of their numbers before components start.
    static var migrations: [Migration] { get }
    static var defaultHTTPPort: Int { get }

    /// Puts the service together. Nothing is connected or migrated yet: reading and writing belong into components.
    /// - Throws: `ConfigurationError` for values that only the service can judge.
    init(_ context: ServiceContext) throws

    var features: [any Feature] { get }
    /// Whose access tokens are good. By default nobody's.
    var verifier: TokenVerifier { get }
}

extension Service {
    public static var configurationKeys: [ConfigurationKey] { [] }
    public static var migrations: [Migration] { [] }
    public static var defaultHTTPPort: Int { 8080 }
    public var verifier: TokenVerifier { TokenVerifier() }

    /// Every configuration key of this service.
    public static var allConfigurationKeys: [ConfigurationKey] {
        StandardKeys.all(httpPort: defaultHTTPPort) + configurationKeys
    }
}
