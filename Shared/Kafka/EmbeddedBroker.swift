import CRdKafka

public final class EmbeddedBroker: Sendable {
    /// A request of the Kafka protocol.
    public enum Request: Int16, Sendable {
        case produce = 0
        case fetch = 1
        case listOffsets = 2
        case metadata = 3
        case offsetCommit = 8
        case offsetFetch = 9
        case findCoordinator = 10
        case joinGroup = 11
        case heartbeat = 12
        case leaveGroup = 13
        case syncGroup = 14
        case initProducerID = 22
    }

    public let bootstrapServers: String

    public init(brokers: Int = 1) throws(KafkaError) { bootstrapServers = "" }
    public func createTopic(_ name: String, partitions: Int32) throws(KafkaError) {}
    public func failRequests(_ request: Request, with errors: [Int32]) {}
    public func setLatency(milliseconds: Int) {}
    public func setDown(_ down: Bool) {}
    public func close() {}
}
