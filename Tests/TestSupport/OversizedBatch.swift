// A batch that is small as it is sent and larger unpacked than who reads it takes.
import Kafka
import Observability

extension TestBroker {
    /// Takes no more than this of a batch, unpacked.
    package static let readsLittle = ["receive.message.max.bytes": "5000000", "fetch.max.bytes": "4194304"]

    /// Sends `count` records of 10 kB in batches of zstd, as few as one, of which readers with `readsLittle` take none that
    /// has more than 5 MB.
    package func sendCompressed(_ count: Int, topic: String, partition: Int32) async throws {
        let producer = try KafkaProducer(
            configuration([
                "compression.codec": "zstd", "message.max.bytes": "50000000", "batch.size": "50000000",
                "linger.ms": "1000",
            ]), log: Logger(service: "test", level: .error), metrics: Metrics(), queueBytesMax: 64 << 20)
        var records = RecordBatch()
        let value = [UInt8](repeating: UInt8(ascii: "x"), count: 10_000)
        for number in 0..<count {
            records.append(topic: topic, key: Array("\(number)".utf8), value: value, headers: [], partition: partition)
        }
        try await producer.send(records)
        await producer.close(timeoutSeconds: 5)
    }
}
