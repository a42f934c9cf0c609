// A batch that librdkafka cannot unpack: broken, or larger than it takes. It says so again and again and never goes on, since
// where the batch ends stands inside of it.
import CRdKafka
import Observability

extension KafkaError {
    /// The batch that the error came in place of cannot be unpacked, and will not be another time.
    var isUnreadableBatch: Bool { code == RD_KAFKA_RESP_ERR__BAD_COMPRESSION.rawValue }
}

/// Finds out where a batch ends that cannot be unpacked, by reading on its own from offsets beyond its beginning: the
/// broker gives the whole batch for any offset in it.
struct BatchProbe: Sendable {
    let configuration: KafkaConfiguration
    let bounds: FetchBounds

    private static let waitMilliseconds: Int32 = 10_000

    /// What stands in the log's place of the batch that begins at `first`: one record without contents, which says why.
    func placeholder(of first: Int64, in partition: TopicPartition, _ error: KafkaError) async throws(KafkaError)
        -> RecordStorage
    {
        let next = try await next(after: first, in: partition)
        let records = next - first == 1 ? "offset \(first)" : "offsets \(first) to \(next - 1)"
        return RecordStorage(of: partition, unreadable: "\(records) cannot be read: \(error)", at: next - 1)
    }

    /// The first offset behind the batch that begins at `first`. Asks about twice as often as its number of records has
    /// bits.
    private func next(after first: Int64, in partition: TopicPartition) async throws(KafkaError) -> Int64 {
        let handle = try KafkaHandle(
            RD_KAFKA_CONSUMER, configuration,
            fixed: ["enable.auto.commit": "false", "auto.offset.reset": "error", "enable.partition.eof": "true"],
            defaults: bounds.properties, log: nil)
        return try await blocking { () throws(KafkaError) in
            let log = try handle.watermarks(partition)
            guard let topic = rd_kafka_topic_new(handle.pointer, partition.topic, nil) else {
                throw KafkaError(rd_kafka_last_error(), "topic \(partition.topic)")
            }
            defer { rd_kafka_topic_destroy(topic) }
            var (inside, beyond, step) = (first, log.high, Int64(1))
            while inside + step < beyond {
                if try isInside(inside + step, of: first, topic, partition) {
                    inside += step
                    step *= 2
                } else {
                    beyond = inside + step
                }
            }
            while beyond - inside > 1 {
                let middle = inside + (beyond - inside) / 2
                if try isInside(middle, of: first, topic, partition) { inside = middle } else { beyond = middle }
            }
            return beyond
        }
    }

    private func isInside(
        _ offset: Int64, of first: Int64, _ topic: OpaquePointer, _ partition: TopicPartition
    ) throws(KafkaError) -> Bool {
        guard rd_kafka_consume_start(topic, partition.partition, offset) == 0 else {
            throw KafkaError(rd_kafka_last_error(), "start \(partition) at \(offset)")
        }
        defer { rd_kafka_consume_stop(topic, partition.partition) }
        guard let message = rd_kafka_consume(topic, partition.partition, Self.waitMilliseconds) else {
            throw KafkaError(RD_KAFKA_RESP_ERR__TIMED_OUT, "read \(partition) at \(offset)")
        }
        defer { rd_kafka_message_destroy(message) }
        switch message.pointee.err {
        case RD_KAFKA_RESP_ERR_NO_ERROR, RD_KAFKA_RESP_ERR__PARTITION_EOF: return false
        case RD_KAFKA_RESP_ERR__BAD_COMPRESSION: return message.pointee.offset == first
        default: throw KafkaError(message)
        }
    }
}
