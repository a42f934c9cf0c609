// Librdkafka's mock cluster: the broker's protocol on a port of this machine, in memory. For trying and for tests.
import CRdKafka
import Synchronization

/// A Kafka cluster within this process. It keeps about 5 MB or 100,000 records of each partition and nothing on disk:
/// what it held is gone with it, and a reader that fell further behind gets `isOffsetOutOfRange`.
///
/// `@unchecked Sendable`: the cluster has its own thread, to which librdkafka passes each call, and `isOpen`
/// keeps calls away once it is destroyed.
public final class EmbeddedBroker: @unchecked Sendable {
    /// What clients connect to: loopback, ports that were free.
    public let bootstrapServers: String
    private let handle: KafkaHandle
    private let cluster: OpaquePointer
    private let isOpen = Mutex(true)

    public init(brokers: Int = 1) throws(KafkaError) {
        let handle = try KafkaHandle(
            RD_KAFKA_PRODUCER, KafkaConfiguration(bootstrapServers: "", clientID: "embedded-broker"), log: nil)
        guard let cluster = rd_kafka_mock_cluster_new(handle.pointer, Int32(clamping: max(1, brokers))),
            let servers = rd_kafka_mock_cluster_bootstraps(cluster)
        else { throw KafkaError(RD_KAFKA_RESP_ERR__CRIT_SYS_RESOURCE, "the embedded broker could not listen") }
        bootstrapServers = String(cString: servers)
        self.handle = handle
        self.cluster = cluster
    }

    deinit { close() }

    /// Replicated to all brokers. Throws when the topic exists.
    public func createTopic(_ name: String, partitions: Int32) throws(KafkaError) {
        try withCluster { cluster in
            rd_kafka_mock_topic_create(
                cluster, name, partitions, Int32(clamping: bootstrapServers.split(separator: ",").count))
        }
    }

    /// Ends the broker and frees what it held.
    public func close() {
        isOpen.withLock { isOpen in
            if isOpen { rd_kafka_mock_cluster_destroy(cluster) }
            isOpen = false
        }
    }

    /// Does something with librdkafka's cluster while it is there.
    public func withCluster(_ body: (OpaquePointer) -> rd_kafka_resp_err_t) throws(KafkaError) {
        let code = isOpen.withLock { isOpen in isOpen ? body(cluster) : nil }
        guard let code else { throw .closed("the embedded broker") }
        guard code == RD_KAFKA_RESP_ERR_NO_ERROR else { throw KafkaError(code) }
    }
}
