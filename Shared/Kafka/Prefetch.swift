// How far ahead a consumer fetches, and keeping it going.
import CRdKafka
import Dispatch
import Synchronization

/// How much a consumer may fetch ahead.
struct FetchBounds: Sendable {
    let properties: [String: String]
    /// Librdkafka fetches while fewer wait.
    let recordsMin: Int

    /// What a record takes in librdkafka's queue: an order of 250 bytes with seven headers, and its object.
    private static let recordBytes = 1_000
    private static let messageBytesMax = 4 << 20

    /// - Parameter queueBytesMax: how much memory what waits in one queue may take. The number of records bounds small
    ///   ones, the kilobytes large ones. What one fetch brings comes on top.
    init(queueBytesMax: Int, _ configuration: KafkaConfiguration) {
        recordsMin = max(100, min(100_000, queueBytesMax / Self.recordBytes))
        let messageBytesMax =
            configuration.properties["message.max.bytes"].flatMap { Int($0) } ?? Self.messageBytesMax
        properties = [
            "queued.min.messages": "\(recordsMin)",
            "queued.max.messages.kbytes": "\(max(64, queueBytesMax >> 10))",
            // Compressed: expect several times as much in memory.
            "fetch.message.max.bytes": "\(max(32 << 10, min(queueBytesMax / 64, 1 << 20)))",
            "fetch.max.bytes": "\(max(4 << 20, messageBytesMax))",
            "message.max.bytes": "\(messageBytesMax)",
            "fetch.error.backoff.ms": "100",
        ]
    }
}

/// Keeps librdkafka fetching while its queues are short.
///
/// When the queues of all of a broker's partitions are full, librdkafka's thread for that broker sleeps for up to a
/// second, and nothing wakes it when they are emptied: the queues' size is then the most that can be read in a second
/// (measured: 67,000 records a second instead of 500,000; releases from 2.2 on wait for `fetch.queue.backoff.ms`
/// instead). A small question to the partition's leader wakes it. It is asked only after half of a full queue has been
/// taken, so it costs nothing that can be measured, and nothing at all when little is going on.
final class Prefetch: Sendable {
    private let handle: KafkaHandle
    private let recordsMin: Int
    private let taken = Atomic(0)
    private let isAsking = Atomic(false)

    init(_ handle: KafkaHandle, _ bounds: FetchBounds) {
        self.handle = handle
        recordsMin = bounds.recordsMin
    }

    func took(_ count: Int, left: Int, _ partition: TopicPartition) {
        let sinceLast = taken.add(count, ordering: .relaxed).newValue
        guard sinceLast >= recordsMin / 2, left < recordsMin / 2 else { return }
        guard !isAsking.exchange(true, ordering: .relaxed) else { return }
        taken.store(0, ordering: .relaxed)
        DispatchQueue.global().async { [self] in
            // The answer does not matter.
            _ = try? handle.watermarks(partition, timeoutMilliseconds: 100)
            isAsking.store(false, ordering: .relaxed)
        }
    }
}
