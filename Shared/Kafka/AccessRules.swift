// Who may do what on a cluster that has an authorizer.
import CRdKafka

/// An ACL that allows: one operation on one resource, from any host.
public struct AccessRule: Hashable, Sendable {
    public enum Operation: String, Sendable {
        case read, write, create, describe
        case describeConfigs = "describe-configs"

        fileprivate var code: rd_kafka_AclOperation_t {
            switch self {
            case .read: RD_KAFKA_ACL_OPERATION_READ
            case .write: RD_KAFKA_ACL_OPERATION_WRITE
            case .create: RD_KAFKA_ACL_OPERATION_CREATE
            case .describe: RD_KAFKA_ACL_OPERATION_DESCRIBE
            case .describeConfigs: RD_KAFKA_ACL_OPERATION_DESCRIBE_CONFIGS
            }
        }
    }

    public enum Resource: Hashable, Sendable {
        case topic(String)
        case group(String)
        case cluster

        public var kind: String {
            switch self {
            case .topic: "topic"
            case .group: "group"
            case .cluster: "cluster"
            }
        }

        public var name: String {
            switch self {
            case .topic(let name), .group(let name): name
            // The name that Kafka has for it.
            case .cluster: "kafka-cluster"
            }
        }

        fileprivate var code: rd_kafka_ResourceType_t {
            switch self {
            case .topic: RD_KAFKA_RESOURCE_TOPIC
            case .group: RD_KAFKA_RESOURCE_GROUP
            case .cluster: RD_KAFKA_RESOURCE_BROKER
            }
        }
    }

    /// `User:reservation`
    public let principal: String
    public let operation: Operation
    public let resource: Resource

    public init(principal: String, operation: Operation, resource: Resource) {
        self.principal = principal
        self.operation = operation
        self.resource = resource
    }
}

extension KafkaAdmin {
    /// Makes the rules; one that is there already stays.
    public func create(rules: [AccessRule]) async throws(KafkaError) {
        guard !rules.isEmpty else { return }
        let handle = handle
        try await blocking { () throws(KafkaError) in try Self.create(rules, handle) }
    }

    private static func create(_ rules: [AccessRule], _ handle: KafkaHandle) throws(KafkaError) {
        var text = [CChar](repeating: 0, count: 512)
        var bindings: [OpaquePointer?] = []
        defer { for binding in bindings { rd_kafka_AclBinding_destroy(binding) } }
        for rule in rules {
            guard
                let binding = rd_kafka_AclBinding_new(
                    rule.resource.code, rule.resource.name, RD_KAFKA_RESOURCE_PATTERN_LITERAL, rule.principal, "*",
                    rule.operation.code, RD_KAFKA_ACL_PERMISSION_TYPE_ALLOW, &text, text.count)
            else { throw .invalid("\(rule.principal): \(KafkaHandle.string(text))") }
            bindings.append(binding)
        }
        try handle.ask(RD_KAFKA_ADMIN_OP_CREATEACLS, timeoutMilliseconds) { options, queue in
            rd_kafka_CreateAcls(handle.pointer, &bindings, bindings.count, options, queue)
        } answer: { event throws(KafkaError) in
            var count = 0
            let results = rd_kafka_CreateAcls_result_acls(rd_kafka_event_CreateAcls_result(event), &count)
            for index in 0..<count {
                guard let error = rd_kafka_acl_result_error(results?[index]) else { continue }
                // It belongs to the event.
                let why = rd_kafka_error_string(error).map { String(cString: $0) }
                throw KafkaError(rd_kafka_error_code(error), "\(rules[index].principal): \(why ?? "")")
            }
        }
    }
}
