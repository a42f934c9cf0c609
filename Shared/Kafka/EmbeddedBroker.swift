// Librdkafka's mock cluster: the broker's protocol on a port of this machine, in memory. For trying and for tests, where
// it can also be made to fail.
import CRdKafka
import Synchronization

/// A Kafka cluster within this process. It keeps about 5 MB or 100,000 records of each partition and nothing on disk:
/// what it held is gone with it, and a reader that fell further behind gets `isOffsetOutOfRange`.
///
/// `@unchecked Sendable`: the cluster has its own thread, to which librdkafka passes each call, and `isOpen`
/// keeps calls away once it is destroyed.
public final class EmbeddedBroker: @unchecked Sendable {
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
        try with { cluster in
            rd_kafka_mock_topic_create(
                cluster, name, partitions, Int32(clamping: bootstrapServers.split(separator: ",").count))
        }
    }

    // MARK: Faults

    /// The next requests of this kind fail with these codes of the protocol, one each; -195 (`_TRANSPORT`) closes
    /// the connection instead.
    public func failRequests(_ request: Request, with errors: [Int32]) {
        let codes = errors.map { rd_kafka_resp_err_t(rawValue: $0) }
        isOpen.withLock { isOpen in
            guard isOpen else { return }
            rd_kafka_mock_push_request_errors_array(cluster, request.rawValue, codes.count, codes)
        }
    }

    /// Forgets what `failRequests` has asked for and did not happen yet.
    public func stopFailing(_ request: Request) {
        isOpen.withLock { isOpen in
            guard isOpen else { return }
            rd_kafka_mock_clear_request_errors(cluster, request.rawValue)
        }
    }

    /// Every answer comes that much later.
    public func setLatency(milliseconds: Int) throws(KafkaError) {
        try with { rd_kafka_mock_broker_set_rtt($0, -1, Int32(clamping: milliseconds)) }
    }

    /// Down: connections are closed and none is accepted.
    public func setDown(_ down: Bool) throws(KafkaError) {
        try with { down ? rd_kafka_mock_broker_set_down($0, -1) : rd_kafka_mock_broker_set_up($0, -1) }
    }

    /// Ends the broker and frees what it held.
    public func close() {
        isOpen.withLock { isOpen in
            if isOpen { rd_kafka_mock_cluster_destroy(cluster) }
            isOpen = false
        }
    }

    private func with(_ body: (OpaquePointer) -> rd_kafka_resp_err_t) throws(KafkaError) {
        let code = isOpen.withLock { isOpen in isOpen ? body(cluster) : nil }
        guard let code else { throw .closed("the embedded broker") }
        guard code == RD_KAFKA_RESP_ERR_NO_ERROR else { throw KafkaError(code) }
    }
}
