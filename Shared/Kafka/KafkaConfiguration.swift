// What every client of a Kafka cluster is told: where the cluster is, who is calling, and librdkafka's own settings.

/// Where a cluster is and how to speak to it.
///
/// `properties` are librdkafka's (`sasl.mechanism`, `ssl.ca.location`, `linger.ms`, …) and pass through unchanged. A
/// few that this module's promises rest on cannot be changed; setting one of those to another value is an error of the
/// client that is made with it.
public struct KafkaConfiguration: Sendable {
    /// Comma-separated `host:port` addresses.
    public var bootstrapServers: String
    /// What the broker's logs and quotas call this program.
    public var clientID: String
    /// librdkafka's configuration properties by name.
    public var properties: [String: String]

    public init(bootstrapServers: String, clientID: String, properties: [String: String] = [:]) {
        self.bootstrapServers = bootstrapServers
        self.clientID = clientID
        self.properties = properties
    }
}

/// One partition of a topic.
public struct TopicPartition: Hashable, Sendable, Comparable, CustomStringConvertible {
    public let topic: String
    public let partition: Int32

    public init(topic: String, partition: Int32) {
        self.topic = topic
        self.partition = partition
    }

    public var description: String { "\(topic)[\(partition)]" }

    public static func < (a: TopicPartition, b: TopicPartition) -> Bool {
        (a.topic, a.partition) < (b.topic, b.partition)
    }
}

/// Where the log keeps a record.
public struct RecordPosition: Hashable, Sendable {
    public let topic: String
    public let partition: Int32
    public let offset: Int64

    public init(topic: String, partition: Int32, offset: Int64) {
        self.topic = topic
        self.partition = partition
        self.offset = offset
    }
}
