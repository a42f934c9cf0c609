// Reading a topic without a group: tables kept from a compacted topic, tails, audits, what an outbox has published.
import CRdKafka
import Observability
import Synchronization

/// Reads given partitions of one topic from a given start, on its own. Nothing is committed, nobody else is affected.
/// Read it from one task.
public final class TopicReader: Sendable {
    public enum Start: Sendable {
        case beginning
        /// After what the log holds when the reader is made.
        case end
        /// Partitions that are not named start at the beginning.
        case offsets([Int32: Int64])
    }

    /// What an error was said of.
    private struct Place {
        let partition: Int32
        let offset: Int64
    }

    private struct State {
        var atEnd: Set<Int32> = []
        var isClosed = false
        var error: (KafkaError, at: Place)?
        var rest: [ConsumedBatch] = []
    }

    public let topic: String
    public let partitions: [Int32]
    private let handle: KafkaHandle
    private let queue: KafkaQueue
    private let source: ReaderSource
    private let probe: BatchProbe
    private let taken: Counter
    private let prefetch: Prefetch
    private let state = Mutex(State())

    /// - Parameters:
    ///   - partitions: nil: all that the topic has now.
    ///   - queueBytesMax: how much memory what is fetched ahead may take, all partitions together.
    ///
    /// Throws `isUnknownTopic` when there is no such topic.
    public init(
        _ configuration: KafkaConfiguration, topic: String, partitions: [Int32]? = nil, from start: Start,
        queueBytesMax: Int = 8 << 20, log: Logger, metrics: Metrics
    ) async throws(KafkaError) {
        let bounds = FetchBounds(queueBytesMax: queueBytesMax, configuration)
        let handle = try KafkaHandle(
            RD_KAFKA_CONSUMER, configuration,
            fixed: [
                "enable.auto.commit": "false", "enable.auto.offset.store": "false", "auto.offset.reset": "error",
                "enable.partition.eof": "true",
            ],
            defaults: bounds.properties, log: log)
        let queue = try KafkaQueue(rd_kafka_queue_new(handle.pointer), of: handle)
        let (chosen, source) = try await blocking { () throws(KafkaError) -> ([Int32], ReaderSource) in
            let known = try handle.partitions(of: topic)
            let chosen = partitions ?? known
            if let missing = chosen.first(where: { !known.contains($0) }) {
                throw KafkaError(
                    RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION, "\(topic) has \(known.count) partitions, not \(missing)")
            }
            // All of them before the first is fetched: a question would wait behind a fetch that waits for records.
            let offsets = try chosen.map { (partition) throws(KafkaError) -> (Int32, Int64) in
                switch start {
                case .beginning: (partition, Int64(RD_KAFKA_OFFSET_BEGINNING))
                // Asked now: librdkafka would ask later, and what was published in between would be missed.
                case .end: (partition, try handle.watermarks(TopicPartition(topic: topic, partition: partition)).high)
                case .offsets(let offsets): (partition, offsets[partition] ?? Int64(RD_KAFKA_OFFSET_BEGINNING))
                }
            }
            // Not before it is known to exist: naming a topic to librdkafka can make it.
            let source = try ReaderSource(topic, handle: handle)
            for (partition, offset) in offsets { try source.start(partition, at: offset, into: queue) }
            return (chosen, source)
        }
        self.topic = topic
        self.partitions = chosen
        self.handle = handle
        self.queue = queue
        self.source = source
        prefetch = Prefetch(handle, bounds)
        probe = BatchProbe(configuration: configuration, bounds: bounds)
        taken = metrics.counter(
            "kafka_records_read_total", help: "Records read without a group", labels: ["topic": topic])
    }

    /// The next records, at most `recordsMax` together, as one batch for each partition that has some; waits for them,
    /// woken and not polling.
    ///
    /// Gives an empty array when the end of a partition was reached (ask `isAtEnd`) or `waitMilliseconds` ran out, and
    /// nil when the reader was closed or the task cancelled. In place of a batch that cannot be unpacked one record comes
    /// that says so (`unreadable`). Throws `isOffsetOutOfRange` when the log does not hold the
    /// offset to go on from.
    public func next(recordsMax: Int, waitMilliseconds: Int? = nil) async throws(KafkaError) -> [ConsumedBatch]? {
        let deadline = waitMilliseconds.map { ContinuousClock.now + .milliseconds($0) }
        while true {
            if Task.isCancelled { return nil }
            let (isClosed, error, rest) = state.withLock { state in
                defer { if state.error != nil { state.error = nil } else { state.rest = [] } }
                return (state.isClosed, state.error, state.error == nil ? state.rest : [])
            }
            if isClosed { return nil }
            if let (error, place) = error {
                guard error.isUnreadableBatch else { throw error }
                return [try await passOver(place, error)]
            }
            if !rest.isEmpty { return rest }
            if let batches = take(min(max(1, recordsMax), PartitionFeed.recordsMax)) { return batches }
            if state.withLock({ $0.error != nil }) { continue }
            guard let deadline else {
                _ = await queue.wakeup.wait()
                continue
            }
            let left = (deadline - ContinuousClock.now) / .milliseconds(1)
            if left <= 0 { return [] }
            _ = await queue.wakeup.wait(milliseconds: Int(left.rounded(.up)))
        }
    }

    /// Whether every partition had been read to its end when `next` last returned.
    public var isAtEnd: Bool { state.withLock { $0.atEnd.count == partitions.count } }

    /// The same of one partition.
    public func isAtEnd(of partition: Int32) -> Bool { state.withLock { $0.atEnd.contains(partition) } }

    /// Asks the broker for the first offset that each partition's log holds, and the one that the next record gets.
    public func watermarks() async throws(KafkaError) -> [Int32: (low: Int64, high: Int64)] {
        let (handle, topic, partitions) = (handle, topic, partitions)
        return try await blocking { () throws(KafkaError) in
            var offsets: [Int32: (low: Int64, high: Int64)] = [:]
            for partition in partitions {
                offsets[partition] = try handle.watermarks(TopicPartition(topic: topic, partition: partition))
            }
            return offsets
        }
    }

    /// Stops reading; `next` gives nil from now on.
    public func close() async {
        let isFirst = state.withLock { state in
            defer { state.isClosed = true }
            return !state.isClosed
        }
        queue.wakeup.signal()
        guard isFirst else { return }
        let source = source
        _ = try? await blocking { () throws(KafkaError) in source.stop() }
    }

    /// Nil when the queue was empty, or an error came first.
    private func take(_ recordsMax: Int) -> [ConsumedBatch]? {
        var batches: [ConsumedBatch] = []
        var rest: [ConsumedBatch] = []
        var error: (KafkaError, at: Place)?
        var ends: Set<Int32> = []
        var records = 0
        let waiting = queue.count
        let count = queue.take(recordsMax: recordsMax, bytesMax: PartitionFeed.batchBytesMax) { message in
            let partition = message.pointee.partition
            switch message.pointee.err {
            case RD_KAFKA_RESP_ERR_NO_ERROR:
                records += 1
                ends.remove(partition)
                if error == nil {
                    append(message, to: &batches, recordsExpected: min(recordsMax, waiting) / partitions.count)
                } else {
                    append(message, to: &rest, recordsExpected: 0)
                }
            case RD_KAFKA_RESP_ERR__PARTITION_EOF:
                ends.insert(partition)
                rd_kafka_message_destroy(message)
            default:
                error =
                    error ?? (KafkaError(message), Place(partition: partition, offset: message.pointee.offset))
                rd_kafka_message_destroy(message)
            }
        }
        guard count > 0 else { return nil }
        if let first = partitions.first {
            prefetch.took(count, left: queue.count, TopicPartition(topic: topic, partition: first))
        }
        taken.add(records)
        state.withLock { state in
            for batch in batches { state.atEnd.remove(batch.partition) }
            state.atEnd.formUnion(ends)
            if let error {
                state.error = error
                state.rest = rest
            }
        }
        return error != nil && batches.isEmpty ? nil : batches
    }

    private func passOver(_ place: Place, _ error: KafkaError) async throws(KafkaError) -> ConsumedBatch {
        let partition = TopicPartition(topic: topic, partition: place.partition)
        let storage = try await probe.placeholder(of: place.offset, in: partition, error)
        let placeholder = ConsumedBatch(storage: storage)
        let source = source
        try await blocking { () throws(KafkaError) in
            try source.seek(partition.partition, to: placeholder.nextOffset)
        }
        return placeholder
    }

    /// What one fetch brought of a partition lies together, so the right batch is nearly always the last used.
    private func append(
        _ message: RecordStorage.Message, to batches: inout [ConsumedBatch], recordsExpected: Int
    ) {
        let partition = message.pointee.partition
        if let index = batches.lastIndex(where: { $0.partition == partition }) {
            batches[index].storage.append(consuming: message)
        } else {
            let storage = RecordStorage(
                of: TopicPartition(topic: topic, partition: partition), recordsExpected: recordsExpected)
            storage.append(consuming: message)
            batches.append(ConsumedBatch(storage: storage))
        }
    }
}

/// The topic of a reader and which partitions are fetched. Stops fetching when it goes.
///
/// `@unchecked Sendable`: the topic may be used from any thread; what changes is behind the mutex.
private final class ReaderSource: @unchecked Sendable {
    private let topic: OpaquePointer
    private let handle: KafkaHandle
    private let started = Mutex<[Int32]>([])

    init(_ name: String, handle: KafkaHandle) throws(KafkaError) {
        guard let topic = rd_kafka_topic_new(handle.pointer, name, nil) else {
            throw KafkaError(rd_kafka_last_error(), "topic \(name)")
        }
        self.topic = topic
        self.handle = handle
    }

    deinit {
        stop()
        rd_kafka_topic_destroy(topic)
    }

    func start(_ partition: Int32, at offset: Int64, into queue: KafkaQueue) throws(KafkaError) {
        guard rd_kafka_consume_start_queue(topic, partition, offset, queue.pointer) == 0 else {
            throw KafkaError(rd_kafka_last_error(), "start partition \(partition)")
        }
        started.withLock { $0.append(partition) }
    }

    func seek(_ partition: Int32, to offset: Int64) throws(KafkaError) {
        let code = rd_kafka_seek(topic, partition, offset, 10_000)
        guard code == RD_KAFKA_RESP_ERR_NO_ERROR else { throw KafkaError(code, "seek partition \(partition)") }
    }

    func stop() {
        let partitions = started.withLock { started in
            defer { started = [] }
            return started
        }
        for partition in partitions { rd_kafka_consume_stop(topic, partition) }
    }
}
