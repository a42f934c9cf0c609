// What each service, and who else comes to Kafka, needs to be allowed there, and no more.
import Kafka
import Models

/// Derived from who owns and who reads which topic, so that it says what is so.
struct AccessRights: Sendable, Equatable {
    /// Whose: a service's name, `publisher` or `operator`.
    let holder: String
    let reads: [String]
    let writes: [String]
    let groups: [String]
    /// Of the whole cluster, beside topics and groups: for whoever makes topics and looks at lag.
    let isOperator: Bool

    static let all: [AccessRights] = Settings.Service.allCases.map(of) + [publisher, operators]

    static func of(_ service: Settings.Service) -> AccessRights {
        let groups = ConsumerGroups.all.filter { $0.service == service.rawValue }
        let tables = ConsumerGroups.tables.filter { $0.service == service.rawValue }
        let owned = Topic.allCases.filter { $0.owner == service.rawValue }
        // Orders come from whoever has the right; of the services, messaging takes them in.
        let open = service == .messaging ? Topic.allCases.filter { $0.owner == "open" } : []
        let dead = Set(groups.map(\.topic)).compactMap { Topic(rawValue: $0)?.deadLetters }
        return AccessRights(
            holder: service.rawValue, reads: Set(groups.map(\.topic) + tables.map(\.topic)).sorted(),
            writes: ((owned + open).map(\.name) + dead).sorted(), groups: groups.map(\.group).sorted(),
            isOperator: false)
    }

    /// A partner who publishes orders.
    static let publisher = AccessRights(
        holder: "publisher", reads: [], writes: Topic.allCases.filter { $0.owner == "open" }.map(\.name), groups: [],
        isOperator: false)

    /// Who runs `stampede`: makes topics, reads them all, sends dead letters once more.
    static let operators = AccessRights(
        holder: "operator", reads: (Topic.allCases.flatMap { [$0.name, $0.deadLetters] }).sorted(),
        writes: Topic.allCases.map(\.name).sorted(), groups: [], isOperator: true)

    func rules(principal: String) -> [AccessRule] {
        func rule(_ operation: AccessRule.Operation, _ resource: AccessRule.Resource) -> AccessRule {
            AccessRule(principal: principal, operation: operation, resource: resource)
        }
        var rules = reads.map { rule(.read, .topic($0)) } + writes.map { rule(.write, .topic($0)) }
        rules += groups.map { rule(.read, .group($0)) }
        if isOperator {
            rules += reads.map { rule(.describeConfigs, .topic($0)) }
            rules += ConsumerGroups.all.map { rule(.describe, .group($0.group)) }
            rules.append(rule(.create, .cluster))
        }
        return rules
    }
}
