// A record that cannot be applied, on its way to its topic's dead letters.
import Kafka
import Models

/// A consumed record with the reason why it is put away.
struct DeadLetterRecord: Sendable {
    let record: ConsumedRecord
    let reason: String

    /// It goes as it came where the producer takes that, and otherwise its beginning: a record that was compressed on its
    /// way in may be far larger than what one may send.
    private static let bounds = RecordBatch.CopyBounds(
        keyBytesMax: 64 << 10, valueBytesMax: KafkaProducer.recordBytesMax - (512 << 10),
        headersMax: RecordBatch.headersMax - 16, headerBytesMax: 256 << 10)
    private static let reasonBytesMax = 4 << 10

    func append(to batch: inout RecordBatch, service: String, now: Timestamp) {
        batch.append(copyOf: record, topic: "\(record.topic).dead", within: Self.bounds) { cut in
            var headers: [(String, [UInt8])] = [
                ("stampede-dead-reason", Array(reason.utf8.prefix(Self.reasonBytesMax))),
                ("stampede-dead-service", Array(service.utf8)),
                ("stampede-dead-topic", Array(record.topic.utf8)),
                ("stampede-dead-partition", Array("\(record.partition)".utf8)),
                ("stampede-dead-offset", Array("\(record.offset)".utf8)),
                ("stampede-dead-time", now.textBytes),
            ]
            // Of what could not be read there is nothing to send again.
            if let cut = cut ?? record.unreadable.map({ _ in "nothing" }) {
                headers.append(("stampede-dead-kept", Array(cut.utf8)))
            }
            return headers
        }
    }
}
