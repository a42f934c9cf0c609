// What makes a program a service of Stampede.
import HTTP
import Models
import Postgres

/// The composition root of a service: all that it consumes, serves, publishes and repeats.
public protocol Service: Sendable {
    /// One word in lower case: the executable, the Postgres schema and role, the prefix of consumer groups.
    static var name: String { get }
    /// One line for `--help`.
    static var summary: String { get }
    /// Its own configuration besides the standard one.
    static var configurationKeys: [ConfigurationKey] { get }
    /// Applied to the schema `name` before components start.
    static var migrations: [Migration] { get }
    /// Topics that must be there before components start.
    static var topics: [Topic] { get }
    static var defaultHTTPPort: Int { get }

    /// Puts the service together. Nothing is connected or migrated yet: reading and writing belong into components.
    /// - Throws: `ConfigurationError` for values that only the service can judge.
    init(_ context: ServiceContext) throws

    /// Answered with 503 until the service is ready.
    var routes: [Route] { get }
    /// In the order in which they start.
    var components: [any Component] { get }
}

extension Service {
    public static var configurationKeys: [ConfigurationKey] { [] }
    public static var migrations: [Migration] { [] }
    public static var topics: [Topic] { [] }
    public static var defaultHTTPPort: Int { 8080 }
    public var routes: [Route] { [] }
    public var components: [any Component] { [] }

    /// Every configuration key of this service.
    public static var allConfigurationKeys: [ConfigurationKey] {
        StandardKeys.all(httpPort: defaultHTTPPort) + configurationKeys
    }
}
