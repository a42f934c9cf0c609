// What went wrong, as librdkafka and the broker name it.
import CRdKafka

/// An error of the client (negative code) or the broker (positive code).
public struct KafkaError: Error, Sendable, Equatable, CustomStringConvertible {
    /// librdkafka's `rd_kafka_resp_err_t`: the protocol's code, or a negative one that the client made.
    public let code: Int32
    /// The code's name: `_QUEUE_FULL`, `UNKNOWN_TOPIC_OR_PART`.
    public let name: String
    /// What happened and, where it is known, what to do.
    public let message: String
    /// The client that said it can do no more: make a new one.
    public let isFatal: Bool
    /// The same call may succeed later.
    public let isRetriable: Bool

    public var description: String { "Kafka \(name): \(message)" }

    /// The log no longer, or does not yet, hold the offset that reading was to start from.
    public var isOffsetOutOfRange: Bool {
        code == RD_KAFKA_RESP_ERR__AUTO_OFFSET_RESET.rawValue || code == RD_KAFKA_RESP_ERR_OFFSET_OUT_OF_RANGE.rawValue
    }

    /// The broker does not know the topic or the partition.
    public var isUnknownTopic: Bool {
        code == RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC.rawValue || code == RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION.rawValue
            || code == RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART.rawValue
    }

    /// The broker knows who asks and does not let them: the client's principal lacks a right.
    public var isNotAuthorised: Bool { Self.refusals.contains(code) }

    private static let refusals: Set<Int32> = Set(
        [
            RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED, RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED,
            RD_KAFKA_RESP_ERR_CLUSTER_AUTHORIZATION_FAILED,
        ].map(\.rawValue))

    /// A record is larger than the client or the broker takes.
    public var isRecordTooLarge: Bool { code == RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE.rawValue }

    /// The client was closed before the call was done.
    public var isClosed: Bool { code == RD_KAFKA_RESP_ERR__DESTROY.rawValue }

    /// A record that was taken out of the client's queue before it was acknowledged.
    var isPurge: Bool {
        code == RD_KAFKA_RESP_ERR__PURGE_QUEUE.rawValue || code == RD_KAFKA_RESP_ERR__PURGE_INFLIGHT.rawValue
    }

    init(_ code: rd_kafka_resp_err_t, _ message: String? = nil, isFatal: Bool = false) {
        let meaning = rd_kafka_err2str(code).map { String(cString: $0) } ?? "error \(code.rawValue)"
        self.code = code.rawValue
        self.name = rd_kafka_err2name(code).map { String(cString: $0) } ?? "\(code.rawValue)"
        self.message = message.map { $0.isEmpty ? meaning : $0 } ?? meaning
        self.isFatal = isFatal || code == RD_KAFKA_RESP_ERR__FATAL
        self.isRetriable = !self.isFatal && Self.transient.contains(code.rawValue)
    }

    /// Takes over an error object of librdkafka and frees it.
    init(consuming error: OpaquePointer, _ doing: String? = nil) {
        let text = rd_kafka_error_string(error).map { String(cString: $0) } ?? ""
        self.init(
            rd_kafka_error_code(error), doing.map { "\($0): \(text)" } ?? text,
            isFatal: rd_kafka_error_is_fatal(error) != 0)
        rd_kafka_error_destroy(error)
    }

    static func closed(_ what: String) -> KafkaError { KafkaError(RD_KAFKA_RESP_ERR__DESTROY, "\(what) is closed") }

    static func invalid(_ message: String) -> KafkaError { KafkaError(RD_KAFKA_RESP_ERR__INVALID_ARG, message) }

    /// Whose cause passes: connections, elections, time-outs, coordinators on the move.
    private static let transient: Set<Int32> = Set(
        [
            RD_KAFKA_RESP_ERR__TRANSPORT, RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN, RD_KAFKA_RESP_ERR__TIMED_OUT,
            RD_KAFKA_RESP_ERR__MSG_TIMED_OUT, RD_KAFKA_RESP_ERR__QUEUE_FULL, RD_KAFKA_RESP_ERR__WAIT_COORD,
            RD_KAFKA_RESP_ERR__RESOLVE, RD_KAFKA_RESP_ERR__RETRY, RD_KAFKA_RESP_ERR__TIMED_OUT_QUEUE,
            RD_KAFKA_RESP_ERR__WAIT_CACHE, RD_KAFKA_RESP_ERR__IN_PROGRESS, RD_KAFKA_RESP_ERR__PREV_IN_PROGRESS,
            RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE, RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION,
            RD_KAFKA_RESP_ERR_REQUEST_TIMED_OUT, RD_KAFKA_RESP_ERR_BROKER_NOT_AVAILABLE,
            RD_KAFKA_RESP_ERR_REPLICA_NOT_AVAILABLE, RD_KAFKA_RESP_ERR_NETWORK_EXCEPTION,
            RD_KAFKA_RESP_ERR_COORDINATOR_LOAD_IN_PROGRESS, RD_KAFKA_RESP_ERR_COORDINATOR_NOT_AVAILABLE,
            RD_KAFKA_RESP_ERR_NOT_COORDINATOR, RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS,
            RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS_AFTER_APPEND, RD_KAFKA_RESP_ERR_NOT_CONTROLLER,
            RD_KAFKA_RESP_ERR_KAFKA_STORAGE_ERROR, RD_KAFKA_RESP_ERR_REBALANCE_IN_PROGRESS,
            RD_KAFKA_RESP_ERR_OFFSET_NOT_AVAILABLE, RD_KAFKA_RESP_ERR_PREFERRED_LEADER_NOT_AVAILABLE,
            RD_KAFKA_RESP_ERR_THROTTLING_QUOTA_EXCEEDED,
        ].map(\.rawValue))
}
