import CRdKafka
import Observability

/// A topic to be made.
public struct TopicSpecification: Sendable, Equatable {
    public var name: String
    public var partitions: Int32
    /// -1: the broker's default.
    public var replicationFactor: Int32
    /// The topic's configuration (`cleanup.policy`, `retention.ms`, `message.timestamp.type`, …).
    public var configuration: [String: String]

    public init(
        name: String, partitions: Int32, replicationFactor: Int32 = -1, configuration: [String: String] = [:]
    ) {
        self.name = name
        self.partitions = partitions
        self.replicationFactor = replicationFactor
        self.configuration = configuration
    }
}

/// What the broker says of a topic.
public struct TopicDescription: Sendable, Equatable {
    public struct Partition: Sendable, Equatable {
        public let id: Int32
        /// The broker's ID; -1: none at the moment.
        public let leader: Int32
        public let replicas: [Int32]
        public let inSyncReplicas: [Int32]
        /// The oldest offset that the log holds.
        public let lowWatermark: Int64
        /// The offset that the next record gets.
        public let highWatermark: Int64
    }

    public let name: String
    public let partitions: [Partition]
    /// Empty where the broker cannot say (the embedded one).
    public let configuration: [String: String]
}

/// What `KafkaAdmin.create` did.
public struct TopicCreation: Sendable, Equatable {
    public var created: [String] = []
    public var existing: [String] = []
}

public final class KafkaAdmin: Sendable {
    public init(_ configuration: KafkaConfiguration, log: Logger? = nil) throws(KafkaError) {}

    public func clusterID() async throws(KafkaError) -> String { throw KafkaError(RD_KAFKA_RESP_ERR__NOT_IMPLEMENTED) }

    @discardableResult
    public func create(topics: [TopicSpecification]) async throws(KafkaError) -> TopicCreation { TopicCreation() }

    /// Every topic when `topics` is nil.
    public func describe(topics: [String]? = nil) async throws(KafkaError) -> [TopicDescription] { [] }

    public func lag(group: String, topics: [String]) async throws(KafkaError) -> [TopicPartition: Int64] { [:] }
}
