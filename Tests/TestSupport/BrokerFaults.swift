// An embedded broker that fails as it is told.
import CRdKafka
import Kafka

extension EmbeddedBroker {
    /// A request of the Kafka protocol.
    package enum Request: Int16, Sendable {
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

    /// The next requests of this kind fail with these codes of the protocol, one each; -195 (`_TRANSPORT`) closes
    /// the connection instead.
    package func failRequests(_ request: Request, with errors: [Int32]) {
        let codes = errors.map { rd_kafka_resp_err_t(rawValue: $0) }
        try? withCluster {
            rd_kafka_mock_push_request_errors_array($0, request.rawValue, codes.count, codes)
            return RD_KAFKA_RESP_ERR_NO_ERROR
        }
    }

    /// Forgets what `failRequests` has asked for and did not happen yet.
    package func stopFailing(_ request: Request) {
        try? withCluster {
            rd_kafka_mock_clear_request_errors($0, request.rawValue)
            return RD_KAFKA_RESP_ERR_NO_ERROR
        }
    }

    /// Every answer comes that much later.
    package func setLatency(milliseconds: Int) throws(KafkaError) {
        try withCluster { rd_kafka_mock_broker_set_rtt($0, -1, Int32(clamping: milliseconds)) }
    }

    /// Down: connections are closed and none is accepted.
    package func setDown(_ down: Bool) throws(KafkaError) {
        try withCluster { down ? rd_kafka_mock_broker_set_down($0, -1) : rd_kafka_mock_broker_set_up($0, -1) }
    }
}
