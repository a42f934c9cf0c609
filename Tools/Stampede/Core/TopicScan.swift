// Reading a topic once through, or following it.
import Kafka
import Observability

/// Batches of a topic's records: up to where the log ended when the scan began, or without end.
struct TopicScan: Sendable {
    private let reader: TopicReader
    private let toEnd: Bool
    private let recordsMax: Int

    /// - Parameter toEnd: ends at the log's present end instead of waiting for more.
    init(
        _ kafka: KafkaConfiguration, topic: String, from start: TopicReader.Start, toEnd: Bool, recordsMax: Int = 10_000
    ) async throws(KafkaError) {
        reader = try await TopicReader(
            kafka, topic: topic, from: start, log: Logger(service: "stampede", level: .error), metrics: Metrics())
        self.toEnd = toEnd
        self.recordsMax = recordsMax
    }

    /// Nil at the end. Empty where nothing came for a while: a reader that waits for something else can look.
    func next() async throws(KafkaError) -> [ConsumedBatch]? {
        if toEnd, reader.isAtEnd { return nil }
        return try await reader.next(recordsMax: recordsMax, waitMilliseconds: 250)
    }

    func close() async { await reader.close() }
}
