// The one way in which the pipeline gives records to Kafka.
import Kafka
import Models
import Observability

/// Sends records in order and awaits every acknowledgement. A record that the broker refuses for its size, though it is
/// within what the producer takes, stops nobody: its beginning goes to the dead letters of its topic, with the reason.
struct RecordSender: Sendable {
    let producer: KafkaProducer
    let service: String
    let log: Logger

    private static let keptBytesMax = 64 << 10
    private static let keptHeadersMax = 100

    func send(_ records: RecordBatch) async throws {
        if records.isEmpty { return }
        guard try await refusal(of: records) != nil else { return }
        for record in records.records {
            guard let refusal = try await refusal(of: Self.batch(record)) else { continue }
            log.error(
                "a record is larger than the broker takes; its beginning goes to the dead letters",
                ["topic": record.topic, "error": "\(refusal)"])
            if let refusal = try await self.refusal(of: beginning(of: record, refusal)) {
                throw Fatal(
                    reason:
                        "\(refusal); let the brokers take records of 256 KiB at least (the topic's max.message.bytes)")
            }
        }
    }

    /// Nil when all are acknowledged; an error when one of them is too large, whatever became of the others.
    private func refusal(of records: RecordBatch) async throws(KafkaError) -> KafkaError? {
        do {
            try await producer.send(records)
            return nil
        } catch {
            if error.isRecordTooLarge { return error }
            throw error
        }
    }

    private static func batch(_ record: RecordBatch.Record) -> RecordBatch {
        var batch = RecordBatch()
        batch.append(
            topic: record.topic, key: record.key, value: record.value,
            headers: record.headers.map { ($0.name, $0.value) }, partition: record.partition)
        return batch
    }

    private func beginning(of record: RecordBatch.Record, _ refusal: KafkaError) -> RecordBatch {
        var headers = record.headers.filter { $0.value.count <= 1024 }.suffix(Self.keptHeadersMax).map {
            ($0.name, $0.value)
        }
        headers.append(("stampede-dead-reason", Array("the broker refused it: \(refusal)".utf8)))
        headers.append(("stampede-dead-service", Array(service.utf8)))
        headers.append(
            (
                "stampede-dead-kept",
                Array("the first \(Self.keptBytesMax) of \(record.value?.count ?? 0) bytes of the value".utf8)
            ))
        var batch = RecordBatch()
        batch.append(
            topic: record.topic.hasSuffix(".dead") ? record.topic : "\(record.topic).dead",
            key: record.key.map { Array($0.prefix(Self.keptBytesMax)) },
            value: record.value.map { Array($0.prefix(Self.keptBytesMax)) }, headers: headers)
        return batch
    }
}
