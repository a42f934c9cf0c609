// What a service is made of: features, each of which says in one place all that it has to do with the world.
import HTTP
import Models
import Postgres

/// A part of a service that is about one subject. Its folder holds what changes together: rules, commands, statements,
/// views, numbered SQL. This declaration says what of it others meet.
public protocol Feature: Sendable {
    /// Its part of the service's schema.
    static var keeps: [Migration] { get }
    /// Answered with 503 until the service is ready.
    var serves: [Endpoint] { get }
    /// Topics that it reads. The service waits for them, and needs the right to read them.
    var consumes: [any Consumer] { get }
    /// Topics that it writes to. The service waits for them, and needs the right to write to them.
    var publishes: [Topic] { get }
    /// What goes on by itself besides. Starts when all that is consumed has started, of this feature and of the others.
    var repeats: [any Component] { get }
}

extension Feature {
    public static var keeps: [Migration] { [] }
    public var serves: [Endpoint] { [] }
    public var consumes: [any Consumer] { [] }
    public var publishes: [Topic] { [] }
    public var repeats: [any Component] { [] }
}

/// A component that reads a topic.
public protocol Consumer: Component {
    var topic: Topic { get }
    /// The consumer group, whose members share the topic's partitions; nil for a table in memory, which every instance
    /// reads as a whole.
    var group: String? { get }
}

extension Service {
    /// What of Kafka the service cannot do without.
    public var topics: [Topic] {
        let named = Set(features.flatMap { $0.consumes.map(\.topic) + $0.publishes })
        return Topic.allCases.filter(named.contains)
    }

    /// In the order in which they start: tables, for others rely on their facts; groups, which find out whether the schema
    /// may be acted upon; then whatever acts by itself.
    public var components: [any Component] {
        let consumers = features.flatMap(\.consumes)
        return consumers.filter { $0.group == nil } + consumers.filter { $0.group != nil }
            + features.flatMap(\.repeats)
    }

    public var endpoints: [Endpoint] { features.flatMap(\.serves) }

    func routes(now: @escaping @Sendable () -> Timestamp) -> [Route] {
        let authenticator = Authenticator(verifier: verifier, now: now)
        return endpoints.map { $0.route(authenticator) }
    }
}
