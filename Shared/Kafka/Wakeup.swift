// Waiting for librdkafka without polling: its threads signal, a task waits.
import CRdKafka
import Runtime

/// A queue of librdkafka that wakes a task when something arrives on it.
///
/// `@unchecked Sendable`: queues may be used from any thread; nothing here changes after `init`.
final class KafkaQueue: @unchecked Sendable {
    let pointer: OpaquePointer
    let wakeup = Wakeup()
    /// Outlives its queues.
    private let handle: KafkaHandle

    /// Takes over `pointer`. Nil, as librdkafka gives when there is no such queue, is an error.
    init(_ pointer: OpaquePointer?, of handle: KafkaHandle) throws(KafkaError) {
        guard let pointer else { throw KafkaError(RD_KAFKA_RESP_ERR__STATE, "the client has no such queue") }
        self.pointer = pointer
        self.handle = handle
        rd_kafka_queue_cb_event_enable(pointer, Self.arrived, Unmanaged.passUnretained(wakeup).toOpaque())
    }

    deinit {
        // Takes the queue's lock, under which librdkafka calls back: no call comes after this.
        rd_kafka_queue_cb_event_enable(pointer, nil, nil)
        rd_kafka_queue_destroy(pointer)
    }

    private static let arrived: @convention(c) (OpaquePointer?, UnsafeMutableRawPointer?) -> Void = { _, opaque in
        guard let opaque else { return }
        Unmanaged<Wakeup>.fromOpaque(opaque).takeUnretainedValue().signal()
    }

    /// Takes what is there, at most `recordsMax` messages, and goes on until about `bytesMax`. `body` is called with each
    /// and frees it. Never waits. Returns how many there were.
    func take(
        recordsMax: Int, bytesMax: Int = .max, _ body: (RecordStorage.Message) -> Void
    ) -> Int {
        // In small steps: what is freed at once is still in the cache, and is used again.
        withUnsafeTemporaryAllocation(of: RecordStorage.Message?.self, capacity: min(recordsMax, 128)) { buffer in
            var count = 0
            var bytes = 0
            while count < recordsMax, bytes < bytesMax {
                let got = rd_kafka_consume_batch_queue(
                    pointer, 0, buffer.baseAddress, min(buffer.count, recordsMax - count))
                guard got > 0 else { break }
                for index in 0..<got {
                    guard let message = buffer[index] else { continue }
                    bytes += message.pointee.len
                    body(message)
                }
                count += got
            }
            return count
        }
    }

    /// How many messages wait.
    var count: Int { rd_kafka_queue_length(pointer) }
}
