// The records of one partition, as the member of a group that owns it reads them.
import CRdKafka
import Foundation
import Observability
import Synchronization

/// One partition's records, batch after batch, while this member owns it. Read it from one task.
public final class PartitionFeed: Sendable {
    private struct State {
        var hasEnded = false
        /// What librdkafka said of the partition, after the records before it, and at which offset.
        var error: (KafkaError, offset: Int64)?
        /// Records that came after `error`: never given before it has been thrown.
        var rest: ConsumedBatch?
    }

    public let partition: TopicPartition
    /// The offset of its first record; nil: the beginning of the log.
    public let start: Int64?
    private let queue: KafkaQueue
    private let handle: KafkaHandle
    private let taken: Counter
    private let prefetch: Prefetch
    private let probe: BatchProbe
    private let state = Mutex(State())

    /// About how many bytes of values one `next` gives at most: large records come in smaller batches.
    static let batchBytesMax = 4 << 20

    /// The most that one `next` gives.
    public static let recordsMax = 100_000

    init(
        _ partition: TopicPartition, start: Int64?, handle: KafkaHandle, bounds: FetchBounds, probe: BatchProbe,
        taken: Counter
    ) throws(KafkaError) {
        self.partition = partition
        self.start = start
        prefetch = Prefetch(handle, bounds)
        self.handle = handle
        self.probe = probe
        self.taken = taken
        queue = try KafkaQueue(
            rd_kafka_queue_get_partition(handle.pointer, partition.topic, partition.partition), of: handle)
        // Otherwise the partition's records would come with everybody else's on the consumer's queue.
        rd_kafka_queue_forward(queue.pointer, nil)
    }

    /// The next records, at least one and at most `recordsMax`; waits for them, woken and not polling.
    ///
    /// Gives an empty batch when `waitMilliseconds` ran out, and nil when the partition was revoked, the consumer
    /// closed, or the task cancelled: then return from `process`.
    ///
    /// In place of a batch that cannot be unpacked one record comes that says so (`unreadable`).
    ///
    /// Throws `KafkaError` with `isOffsetOutOfRange` when the log does not hold the offset to go on from.
    public func next(recordsMax: Int, waitMilliseconds: Int? = nil) async throws(KafkaError) -> ConsumedBatch? {
        let deadline = waitMilliseconds.map { ContinuousClock.now + .milliseconds($0) }
        while true {
            if Task.isCancelled { return nil }
            let (hasEnded, error, rest) = state.withLock { state in
                defer { if state.error != nil { state.error = nil } else { state.rest = nil } }
                return (state.hasEnded, state.error, state.error == nil ? state.rest : nil)
            }
            if hasEnded { return nil }
            if let (error, offset) = error {
                guard error.isUnreadableBatch else { throw await explained(error) }
                let placeholder = ConsumedBatch(
                    storage: try await probe.placeholder(of: offset, in: partition, error))
                try await seek(to: placeholder.nextOffset)
                return placeholder
            }
            if let rest, !rest.isEmpty { return rest }

            if let batch = take(min(max(1, recordsMax), Self.recordsMax)) {
                taken.add(batch.count)
                return batch
            }
            if state.withLock({ $0.error != nil }) { continue }
            guard let deadline else {
                _ = await queue.wakeup.wait()
                continue
            }
            let left = (deadline - ContinuousClock.now) / .milliseconds(1)
            if left <= 0 { return .empty(partition) }
            _ = await queue.wakeup.wait(milliseconds: Int(left.rounded(.up)))
        }
    }

    /// Stops fetching. What was fetched already is dropped, and read again after `resume`.
    public func pause() { withList { rd_kafka_pause_partitions(handle.pointer, $0) } }

    /// Goes on after `pause` with the record after the last that `next` gave.
    public func resume() { withList { rd_kafka_resume_partitions(handle.pointer, $0) } }

    /// Makes `next` go on from `offset`; nil: from the first that the log holds.
    public func seek(to target: Int64?) async throws(KafkaError) {
        let (partition, handle) = (partition, handle)
        let offset = target ?? Int64(RD_KAFKA_OFFSET_BEGINNING)
        try await blocking { () throws(KafkaError) in
            let list = rd_kafka_topic_partition_list_new(1)
            defer { rd_kafka_topic_partition_list_destroy(list) }
            rd_kafka_topic_partition_list_add(list, partition.topic, partition.partition).pointee.offset = offset
            if let error = rd_kafka_seek_partitions(handle.pointer, list, 10_000) {
                throw KafkaError(consuming: error, "seek \(partition) to \(offset)")
            }
            if let failure = list?.pointee.elems[0].err, failure != RD_KAFKA_RESP_ERR_NO_ERROR {
                throw KafkaError(failure, "seek \(partition) to \(offset)")
            }
        }
        state.withLock {
            $0.error = nil
            $0.rest = nil
        }
    }

    /// Makes `next` give nil from now on.
    func end() {
        state.withLock { $0.hasEnded = true }
        queue.wakeup.signal()
    }

    /// Whether the partition has gone: what waits for something on its behalf should stop.
    public var hasEnded: Bool { state.withLock { $0.hasEnded } }

    /// Returns when the partition has gone, the task was cancelled, or the time is over.
    public func waitForEnd(atMost duration: Duration? = nil) async {
        let deadline = duration.map { ContinuousClock.now + $0 }
        while !hasEnded, !Task.isCancelled {
            guard let deadline else {
                _ = await queue.wakeup.wait()
                continue
            }
            let left = (deadline - ContinuousClock.now) / .milliseconds(1)
            if left <= 0 { return }
            _ = await queue.wakeup.wait(milliseconds: Int(left.rounded(.up)))
        }
    }

    /// Frees what was fetched and nobody will read.
    func discard() {
        _ = queue.take(recordsMax: .max) { rd_kafka_message_destroy($0) }
    }

    private func take(_ recordsMax: Int) -> ConsumedBatch? {
        let waiting = queue.count
        guard waiting > 0 else { return nil }
        let storage = RecordStorage(of: partition, recordsExpected: min(recordsMax, waiting))
        var failure: (error: KafkaError, offset: Int64, rest: RecordStorage)?
        let count = queue.take(recordsMax: recordsMax, bytesMax: Self.batchBytesMax) { message in
            if message.pointee.err == RD_KAFKA_RESP_ERR_NO_ERROR {
                (failure?.rest ?? storage).append(consuming: message)
            } else {
                if failure == nil {
                    failure = (KafkaError(message), message.pointee.offset, RecordStorage(of: partition))
                }
                rd_kafka_message_destroy(message)
            }
        }
        prefetch.took(count, left: queue.count, partition)
        if let failure {
            state.withLock { state in
                state.error = (failure.error, failure.offset)
                state.rest = ConsumedBatch(storage: failure.rest)
            }
        }
        return storage.count == 0 ? nil : ConsumedBatch(storage: storage)
    }

    /// Says of an offset out of range what the log holds instead, and what to do.
    private func explained(_ error: KafkaError) async -> KafkaError {
        guard error.isOffsetOutOfRange else { return error }
        let (partition, handle) = (partition, handle)
        let range = try? await blocking { () throws(KafkaError) in try handle.watermarks(partition) }
        let holds = range.map { "it holds \($0.low) to \($0.high)" } ?? "what it holds could not be found out"
        return KafkaError(
            RD_KAFKA_RESP_ERR__AUTO_OFFSET_RESET,
            "\(partition): the log does not hold the offset to go on from (\(holds)); \(error.message). Records between "
                + "may be lost: find out why, then set the stored offset to one that the log holds")
    }

    private func withList(_ body: (UnsafeMutablePointer<rd_kafka_topic_partition_list_t>?) -> rd_kafka_resp_err_t) {
        let list = rd_kafka_topic_partition_list_new(1)
        defer { rd_kafka_topic_partition_list_destroy(list) }
        rd_kafka_topic_partition_list_add(list, partition.topic, partition.partition)
        // Fails only for a partition that is not assigned any more, which has nothing to pause.
        _ = body(list)
    }
}

extension KafkaError {
    /// The error that came in place of a record.
    init(_ message: RecordStorage.Message) {
        let topic = message.pointee.rkt.flatMap { rd_kafka_topic_name($0) }.map { String(cString: $0) } ?? ""
        let text = rd_kafka_message_errstr(message).map { String(cString: $0) } ?? ""
        self.init(message.pointee.err, "\(topic)[\(message.pointee.partition)]: \(text)")
    }
}

extension KafkaHandle {
    /// Asks the broker for the first offset that the log holds and the one that the next record gets. Blocks. A partition
    /// whose leader is just changing, a new one for example, is asked again until the time is over.
    func watermarks(
        _ partition: TopicPartition, timeoutMilliseconds: Int32 = 10_000
    ) throws(KafkaError) -> (low: Int64, high: Int64) {
        var (low, high): (Int64, Int64) = (0, 0)
        let code = askAgain(timeoutMilliseconds, while: Self.leaderComes) {
            rd_kafka_query_watermark_offsets(
                pointer, partition.topic, partition.partition, &low, &high, timeoutMilliseconds)
        }
        guard code == RD_KAFKA_RESP_ERR_NO_ERROR else { throw KafkaError(code, "offsets of \(partition)") }
        return (low, high)
    }

    private static let leaderComes = [
        RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION, RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE,
    ]
    static let coordinatorComes = [
        RD_KAFKA_RESP_ERR_NOT_COORDINATOR, RD_KAFKA_RESP_ERR_COORDINATOR_NOT_AVAILABLE,
        RD_KAFKA_RESP_ERR_COORDINATOR_LOAD_IN_PROGRESS, RD_KAFKA_RESP_ERR__WAIT_COORD,
    ]

    /// Asks until the answer is none of those that pass by themselves, or the time is over. Blocks.
    func askAgain(
        _ timeoutMilliseconds: Int32, while passing: [rd_kafka_resp_err_t], _ ask: () -> rd_kafka_resp_err_t
    ) -> rd_kafka_resp_err_t {
        let deadline = ContinuousClock.now + .milliseconds(Int(timeoutMilliseconds))
        while true {
            let code = ask()
            guard passing.contains(code), ContinuousClock.now < deadline else { return code }
            Thread.sleep(forTimeInterval: 0.02)
        }
    }
}
