// Reading a topic once through, or following it.
import Kafka
import Observability
import Synchronization

/// Batches of a topic's records: up to where the log ended when the scan began, or without end.
struct TopicScan: Sendable {
    private let reader: TopicReader
    private let recordsMax: Int
    /// Where each partition's log ended when the scan began; nil: there is no end. Librdkafka's own "end" is where the log
    /// ends by then, which never comes while somebody writes.
    private let ends: [Int32: Int64]?
    private let progress = Progress()

    private final class Progress: Sendable {
        let next = Mutex<[Int32: Int64]>([:])
    }

    /// - Parameter toEnd: ends at the log's present end instead of waiting for more.
    init(
        _ kafka: KafkaConfiguration, topic: String, from start: TopicReader.Start, toEnd: Bool, recordsMax: Int = 10_000
    ) async throws(KafkaError) {
        reader = try await TopicReader(
            kafka, topic: topic, from: start, log: Logger(service: "stampede", level: .error), metrics: Metrics())
        self.recordsMax = recordsMax
        ends = toEnd ? try await reader.watermarks().filter { $0.value.low < $0.value.high }.mapValues(\.high) : nil
    }

    /// Nil at the end. Empty where nothing came for a while: a reader that waits for something else can look.
    func next() async throws(KafkaError) -> [ConsumedBatch]? {
        if let ends {
            // Where a log was compacted or starts later, nothing need stand right before its end.
            let isPast = progress.next.withLock { next in ends.allSatisfy { next[$0.key] ?? 0 >= $0.value } }
            if isPast || reader.isAtEnd { return nil }
        }
        let batches = try await reader.next(recordsMax: recordsMax, waitMilliseconds: 250)
        progress.next.withLock { next in
            for batch in batches ?? [] { next[batch.partition] = batch.nextOffset }
        }
        return batches
    }

    /// Whether the record was there when the scan began: the last batches may bring some that came later.
    func includes(_ record: ConsumedRecord) -> Bool {
        guard let ends else { return true }
        return record.offset < ends[record.partition] ?? 0
    }

    func close() async { await reader.close() }
}
