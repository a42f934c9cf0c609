import CRdKafka
import Observability

public final class TopicReader: Sendable {
    public enum Start: Sendable {
        case beginning
        case end
        /// Partitions that are not named start at the beginning.
        case offsets([Int32: Int64])
    }

    public init(
        _ configuration: KafkaConfiguration, topic: String, partitions: [Int32]? = nil, from start: Start,
        log: Logger, metrics: Metrics
    ) async throws(KafkaError) { throw KafkaError(RD_KAFKA_RESP_ERR__NOT_IMPLEMENTED) }

    public func next(
        recordsMax: Int, waitMilliseconds: Int? = nil
    ) async throws(KafkaError) -> [ConsumedBatch]? { nil }

    public var isAtEnd: Bool { false }
    public func highWatermarks() async throws(KafkaError) -> [Int32: Int64] { [:] }
    public func close() async {}
}
