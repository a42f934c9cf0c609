// Sending. Records go from a packed batch into librdkafka's queue; one thread takes the delivery reports and counts
// them per call, so a call costs one allocation and one resumption whatever the number of its records.
import CRdKafka
import Dispatch
import Foundation
import Observability
import Runtime
import Synchronization

/// An idempotent producer: every record is acknowledged by all in-sync replicas, none is written twice, and the records
/// of one call keep their order within a partition.
///
/// A record is sent until it is acknowledged or refused, however long the broker is away: one that gave up by itself,
/// before others with its key, would leave behind them the next time. `close` ends the waiting.
///
/// Two calls at the same time may interleave. Memory is bounded by `queueBytesMax`; a call that meets the bound waits,
/// in turn with others, until deliveries have made room.
public final class KafkaProducer: Sendable {
    private let configuration: KafkaConfiguration
    private let queueBytesMax: Int
    private let giveUpSeconds: Int?
    private let log: Logger
    private let counters: ProducerCounters
    /// Replaced when librdkafka declares it beyond repair; nil once closed.
    private let connection: Mutex<ProducerConnection?>

    /// - Parameter queueBytesMax: about how much memory waiting records may take. Librdkafka needs some 700 bytes for a
    ///   record with CloudEvents headers besides its key and value, so the number of records is bounded, too.
    /// - Parameter giveUpSeconds: after so long without an acknowledgement a call fails: for a program that then ends.
    public init(
        _ configuration: KafkaConfiguration, log: Logger, metrics: Metrics, queueBytesMax: Int = 32 << 20,
        giveUpSeconds: Int? = nil
    ) throws(KafkaError) {
        self.configuration = configuration
        self.queueBytesMax = queueBytesMax
        self.giveUpSeconds = giveUpSeconds
        recordBytesMax = configuration.properties["message.max.bytes"].flatMap { Int($0) } ?? Self.recordBytesMax
        self.log = log
        counters = ProducerCounters(metrics)
        connection = Mutex(
            try ProducerConnection(
                configuration, queueBytesMax: queueBytesMax, giveUpSeconds: giveUpSeconds, counters: counters, log: log)
        )
        metrics.observed("kafka_producer_queue_records", help: "Records that wait for their acknowledgement") {
            [weak self] in self.map { Double($0.queuedRecords) }
        }
    }

    /// The largest record that `send` takes, as `RecordBatch.recordBytes` counts: alone in a batch, which has a head of 61
    /// bytes, it fits into the 4 MiB that topics take.
    public static let recordBytesMax = (4 << 20) - 61
    /// The same, unless `message.max.bytes` was configured.
    public let recordBytesMax: Int

    /// Records that were given to `send` and are neither acknowledged nor failed.
    private var queuedRecords: Int {
        connection.withLock { $0 }.map { Int(rd_kafka_outq_len($0.handle.pointer)) } ?? 0
    }

    deinit {
        connection.withLock { $0 }?.abandon()
    }

    /// Returns when every record has been acknowledged.
    ///
    /// When some were refused, as too large for example, throws the first error after the fate of all is known; the others
    /// are sent all the same. `RecordBatch.recordsLarger(than: recordBytesMax)` says beforehand which are too large.
    /// Throws also when the producer is closed meanwhile (`isClosed`) or is beyond repair (`isFatal`: the next call begins
    /// with a new connection); what was not acknowledged by then may or may not be in the log.
    public func send(_ batch: RecordBatch) async throws(KafkaError) {
        guard !batch.isEmpty else { return }
        _ = try await current().send(batch)
    }

    /// Sends one record and says where it was written.
    @discardableResult
    public func send(
        topic: String, key: [UInt8]?, value: [UInt8]?, headers: [(String, [UInt8])] = [], partition: Int32? = nil
    ) async throws(KafkaError) -> RecordPosition {
        var batch = RecordBatch()
        batch.append(topic: topic, key: key, value: value, headers: headers, partition: partition)
        let (partition, offset) = try await current().send(batch)
        return RecordPosition(topic: topic, partition: partition, offset: offset)
    }

    /// Waits until what was sent is acknowledged, at most `timeoutSeconds`; fails the rest. Later calls throw.
    public func close(timeoutSeconds: Double) async {
        let last = connection.withLock { connection in
            defer { connection = nil }
            return connection
        }
        await last?.close(timeoutMilliseconds: Int32(clamping: Int(max(0, timeoutSeconds) * 1_000)))
    }

    /// The topics that the cluster has, and how many partitions each. Asked over this producer's connections, so it also
    /// tells whether a broker answers within the time.
    public func topicPartitions(timeoutSeconds: Double) async throws(KafkaError) -> [String: Int] {
        let handle = try current().handle
        return try await blocking { () throws(KafkaError) in
            try handle.topics(timeoutMilliseconds: Int32(timeoutSeconds * 1000)).mapValues(\.count)
        }
    }

    /// The first offset that each partition's log holds, and the one that the next record gets. Asked over this producer's
    /// connections: on a consumer's the question waits behind each fetch that waits for records.
    public func watermarks(
        of topic: String, _ partitions: [Int32], timeoutSeconds: Double = 10
    ) async throws(KafkaError) -> [Int32: (low: Int64, high: Int64)] {
        let handle = try current().handle
        return try await blocking { () throws(KafkaError) in
            var found: [Int32: (low: Int64, high: Int64)] = [:]
            for partition in partitions {
                found[partition] = try handle.watermarks(
                    TopicPartition(topic: topic, partition: partition),
                    timeoutMilliseconds: Int32(timeoutSeconds * 1000))
            }
            return found
        }
    }

    private func current() throws(KafkaError) -> ProducerConnection {
        var replaced: ProducerConnection?
        let current = try connection.withLock { connection throws(KafkaError) in
            guard let present = connection else { throw KafkaError.closed("the producer") }
            guard let cause = present.handle.fatalError else { return present }
            log.warning("Kafka producer failed for good; making a new one", ["error": "\(cause)"])
            let new = try ProducerConnection(
                configuration, queueBytesMax: queueBytesMax, giveUpSeconds: giveUpSeconds, counters: counters, log: log)
            replaced = present
            connection = new
            return new
        }
        replaced?.abandon()
        return current
    }
}

private struct ProducerCounters: Sendable {
    let acknowledged: Counter
    let failed: Counter

    init(_ metrics: Metrics) {
        acknowledged = metrics.counter("kafka_records_sent_total", help: "Records acknowledged by the broker")
        failed = metrics.counter("kafka_send_failures_total", help: "Records that were not acknowledged")
    }
}

/// One `rd_kafka_t` and the thread that takes its delivery reports.
///
/// `@unchecked Sendable`: the queue may be used from any thread; what changes is behind mutexes and atomics.
private final class ProducerConnection: @unchecked Sendable {
    let handle: KafkaHandle
    private let reports: OpaquePointer
    private let topics = Mutex<[String: TopicHandle]>([:])
    private let gate = SendGate()
    private let counters: ProducerCounters
    private let log: Logger
    private let isStopping = Atomic(false)
    private let stopped = Latch()

    /// After so many records a call lets others go first.
    private static let turnRecordsMax = 1_024
    /// What a record takes in librdkafka beside its bytes, roughly, with seven headers.
    private static let recordBytes = 700

    init(
        _ configuration: KafkaConfiguration, queueBytesMax: Int, giveUpSeconds: Int?, counters: ProducerCounters,
        log: Logger
    ) throws(KafkaError) {
        let kilobytes = max(queueBytesMax >> 10, 4 << 10)
        handle = try KafkaHandle(
            RD_KAFKA_PRODUCER, configuration,
            fixed: ["enable.idempotence": "true", "acks": "all"],
            defaults: [
                "compression.codec": "lz4",
                // Whoever sends gives a whole batch at once: long enough for that, and no wait for others.
                "linger.ms": "0.5",
                "partitioner": "murmur2_random",
                "message.max.bytes": "\(KafkaProducer.recordBytesMax)",
                "message.timeout.ms": "\((giveUpSeconds ?? 0) * 1_000)",
                "topic.metadata.propagation.max.ms": "10000",
                "queue.buffering.max.kbytes": "\(kilobytes)",
                "queue.buffering.max.messages": "\(max(1_000, queueBytesMax / (Self.recordBytes + 200)))",
            ],
            events: RD_KAFKA_EVENT_DR | RD_KAFKA_EVENT_ERROR, log: log)
        guard let reports = rd_kafka_queue_get_main(handle.pointer) else {
            throw KafkaError(RD_KAFKA_RESP_ERR__CRIT_SYS_RESOURCE)
        }
        self.reports = reports
        self.counters = counters
        self.log = log
        let thread = Thread { [self] in takeReports() }
        thread.name = "kafka-producer"
        thread.start()
    }

    // MARK: Sending

    /// Returns where the last reported record was written.
    func send(_ batch: RecordBatch) async throws(KafkaError) -> (partition: Int32, offset: Int64) {
        let delivery = Delivery(count: batch.count)
        var position = 0
        var records = 0
        while records < batch.count {
            guard await gate.enter() else {
                delivery.ended(batch.count - records, error: .closed("the producer"))
                break
            }
            defer { gate.leave() }
            let turnEnd = min(batch.count, records + Self.turnRecordsMax)
            while records < turnEnd {
                let room = gate.room
                enqueue(batch, &position, &records, until: turnEnd, delivery)
                if records < turnEnd {
                    guard await gate.waitForRoom(since: room) else {
                        delivery.ended(batch.count - records, error: .closed("the producer"))
                        records = batch.count
                        break
                    }
                }
            }
        }
        return try await delivery.outcome()
    }

    /// Hands records to librdkafka until `until` or until its queue is full. A record that it refuses for another
    /// reason counts as failed, and the next follows.
    private func enqueue(
        _ batch: RecordBatch, _ position: inout Int, _ records: inout Int, until: Int, _ delivery: Delivery
    ) {
        batch.bytes.withUnsafeBytes { bytes in
            withUnsafeTemporaryAllocation(
                of: rd_kafka_vu_t.self, capacity: FixedField.count + RecordBatch.headersMax
            ) { fields in
                var cursor = RecordBatch.Cursor(bytes, at: position)
                var topic: TopicHandle?
                FixedField.prepare(fields, opaque: delivery.opaque)
                while records < until {
                    let before = cursor.position
                    let record = cursor.next()
                    if topic?.isNamed(record.topic, record.topicBytes) != true {
                        do throws(KafkaError) {
                            topic = try topicHandle(String(cString: record.topic))
                        } catch {
                            delivery.ended(1, error: error)
                            records += 1
                            continue
                        }
                    }
                    let count = FixedField.fill(fields, record, topic: topic.unsafelyUnwrapped.pointer)
                    if let error = rd_kafka_produceva(handle.pointer, fields.baseAddress, count) {
                        if rd_kafka_error_code(error) == RD_KAFKA_RESP_ERR__QUEUE_FULL {
                            rd_kafka_error_destroy(error)
                            position = before
                            return
                        }
                        delivery.ended(1, error: KafkaError(consuming: error))
                    }
                    records += 1
                }
                position = cursor.position
            }
        }
    }

    private func topicHandle(_ name: String) throws(KafkaError) -> TopicHandle {
        try topics.withLock { topics throws(KafkaError) in
            if let known = topics[name] { return known }
            guard let pointer = rd_kafka_topic_new(handle.pointer, name, nil) else {
                throw KafkaError(rd_kafka_last_error(), "topic \(name)")
            }
            let new = TopicHandle(pointer, name)
            topics[name] = new
            return new
        }
    }

    // MARK: Delivery reports

    /// The thread's body: ends after `stop`, when every record has been reported.
    private func takeReports() {
        let capacity = 1_024
        let messages = UnsafeMutablePointer<UnsafePointer<rd_kafka_message_t>?>.allocate(capacity: capacity)
        defer { messages.deallocate() }
        while !(isStopping.load(ordering: .acquiring) && rd_kafka_outq_len(handle.pointer) == 0) {
            guard let event = rd_kafka_queue_poll(reports, 1_000) else { continue }
            switch rd_kafka_event_type(event) {
            case RD_KAFKA_EVENT_DR:
                while true {
                    let count = rd_kafka_event_message_array(event, messages, capacity)
                    guard count > 0 else { break }
                    tally(UnsafeBufferPointer(start: messages, count: count))
                }
            case RD_KAFKA_EVENT_ERROR:
                let text = rd_kafka_event_error_string(event).map { String(cString: $0) }
                let error = KafkaError(
                    rd_kafka_event_error(event), text, isFatal: rd_kafka_event_error_is_fatal(event) != 0)
                log.warning("Kafka producer", ["error": "\(error)"])
                // Nothing more of this client is sent: who waits is told, and comes again with the next one.
                if error.isFatal { purge() }
            default: break
            }
            rd_kafka_event_destroy(event)
            // Only now does librdkafka no longer count the messages.
            gate.makeRoom()
        }
        topics.withLock { topics in
            for topic in topics.values { rd_kafka_topic_destroy(topic.pointer) }
            topics = [:]
        }
        rd_kafka_queue_destroy(reports)
        stopped.open()
    }

    /// Consecutive reports mostly belong to one call: they are counted together.
    private func tally(_ messages: UnsafeBufferPointer<UnsafePointer<rd_kafka_message_t>?>) {
        var current: UnsafeMutableRawPointer?
        var run = 0
        var acknowledged = 0
        for case let message? in messages {
            let opaque = message.pointee._private
            if message.pointee.err != RD_KAFKA_RESP_ERR_NO_ERROR {
                let text = rd_kafka_message_errstr(message).map { String(cString: $0) }
                let topic = message.pointee.rkt.flatMap { rd_kafka_topic_name($0) }.map { String(cString: $0) } ?? ""
                let error = KafkaError(message.pointee.err, "\(topic): \(text ?? "")")
                Delivery.of(opaque)?.ended(
                    1, error: error.isPurge ? handle.fatalError ?? .closed("the producer") : error)
                counters.failed.add(1)
                continue
            }
            acknowledged += 1
            if opaque != current {
                if run > 0 { Delivery.of(current)?.ended(run) }
                current = opaque
                run = 0
                Delivery.of(opaque)?.written(partition: message.pointee.partition, offset: message.pointee.offset)
            }
            run += 1
        }
        if run > 0 { Delivery.of(current)?.ended(run) }
        if acknowledged > 0 { counters.acknowledged.add(acknowledged) }
    }

    // MARK: Ending

    func close(timeoutMilliseconds: Int32) async {
        await gate.close()
        _ = try? await blocking { () throws(KafkaError) in
            rd_kafka_flush(self.handle.pointer, timeoutMilliseconds)
            self.stop()
        }
        await stopped.wait()
    }

    /// For a producer that is let go or replaced without `close`.
    func abandon() {
        Task.detached { [self] in await close(timeoutMilliseconds: 0) }
    }

    private func purge() {
        rd_kafka_purge(handle.pointer, RD_KAFKA_PURGE_F_QUEUE | RD_KAFKA_PURGE_F_INFLIGHT)
    }

    private func stop() {
        if rd_kafka_outq_len(handle.pointer) > 0 { purge() }
        isStopping.store(true, ordering: .releasing)
        rd_kafka_queue_yield(reports)
    }
}

/// `@unchecked Sendable`: immutable.
private final class TopicHandle: @unchecked Sendable {
    let pointer: OpaquePointer
    private let name: ContiguousArray<CChar>

    init(_ pointer: OpaquePointer, _ name: String) {
        self.pointer = pointer
        self.name = ContiguousArray(name.utf8CString)
    }

    @inline(__always)
    func isNamed(_ other: UnsafePointer<CChar>, _ count: Int) -> Bool {
        name.count == count + 1
            && name.withUnsafeBytes { bytes in
                bytes.baseAddress.map { memcmp($0, other, count) == 0 } ?? false
            }
    }
}

/// The fields of `rd_kafka_produceva`, in a fixed order: what is the same for every record is written once.
private enum FixedField {
    static let topic = 0
    static let partition = 1
    static let key = 2
    static let value = 3
    static let flags = 4
    static let opaque = 5
    static let count = 6

    static func prepare(_ fields: UnsafeMutableBufferPointer<rd_kafka_vu_t>, opaque: UnsafeMutableRawPointer) {
        fields[topic].vtype = RD_KAFKA_VTYPE_RKT
        fields[partition].vtype = RD_KAFKA_VTYPE_PARTITION
        fields[key].vtype = RD_KAFKA_VTYPE_KEY
        fields[value].vtype = RD_KAFKA_VTYPE_VALUE
        fields[flags].vtype = RD_KAFKA_VTYPE_MSGFLAGS
        fields[flags].u.i = RD_KAFKA_MSG_F_COPY
        fields[Self.opaque].vtype = RD_KAFKA_VTYPE_OPAQUE
        fields[Self.opaque].u.ptr = opaque
    }

    /// Returns the number of fields.
    @inline(__always)
    static func fill(
        _ fields: UnsafeMutableBufferPointer<rd_kafka_vu_t>, _ record: RecordBatch.Packed, topic: OpaquePointer
    ) -> Int {
        let start = fields.baseAddress.unsafelyUnwrapped
        start[Self.topic].u.rkt = topic
        start[partition].u.i32 = record.partition
        start[key].u.mem.ptr = UnsafeMutableRawPointer(mutating: record.key?.baseAddress)
        start[key].u.mem.size = record.key?.count ?? 0
        start[value].u.mem.ptr = UnsafeMutableRawPointer(mutating: record.value?.baseAddress)
        start[value].u.mem.size = record.value?.count ?? 0
        var rest = record.headers
        for index in count..<count + record.headerCount {
            let header = RecordBatch.Cursor.header(&rest)
            start[index].vtype = RD_KAFKA_VTYPE_HEADER
            start[index].u.header.name = header.name
            start[index].u.header.val = header.value.baseAddress
            start[index].u.header.size = header.value.count
        }
        return count + record.headerCount
    }
}

/// The fate of one call's records. Librdkafka carries a reference to it with each of them.
private final class Delivery: Sendable {
    private struct State {
        var error: KafkaError?
        var position: (partition: Int32, offset: Int64) = (-1, -1)
        var isDone = false
        var waiter: CheckedContinuation<Void, Never>?
    }

    private let open: Atomic<Int>
    private let state = Mutex(State())

    /// Holds itself until all `count` have ended.
    init(count: Int) {
        open = Atomic(count)
        _ = Unmanaged.passRetained(self)
    }

    var opaque: UnsafeMutableRawPointer { Unmanaged.passUnretained(self).toOpaque() }

    static func of(_ opaque: UnsafeMutableRawPointer?) -> Delivery? {
        opaque.map { Unmanaged<Delivery>.fromOpaque($0).takeUnretainedValue() }
    }

    func written(partition: Int32, offset: Int64) {
        state.withLock { $0.position = (partition, offset) }
    }

    func ended(_ count: Int, error: KafkaError? = nil) {
        if let error { state.withLock { $0.error = $0.error ?? error } }
        guard open.subtract(count, ordering: .acquiringAndReleasing).newValue == 0 else { return }
        let waiter = state.withLock { state in
            state.isDone = true
            defer { state.waiter = nil }
            return state.waiter
        }
        waiter?.resume()
        Unmanaged.passUnretained(self).release()
    }

    func outcome() async throws(KafkaError) -> (partition: Int32, offset: Int64) {
        await withCheckedContinuation { continuation in
            let isDone = state.withLock { state in
                if !state.isDone { state.waiter = continuation }
                return state.isDone
            }
            if isDone { continuation.resume() }
        }
        let (error, position) = state.withLock { ($0.error, $0.position) }
        if let error { throw error }
        return position
    }
}

/// Lets one call at a time hand records over, in the order of asking, and wakes it when there is room again.
private final class SendGate: Sendable {
    private struct State {
        var isClosed = false
        var isTaken = false
        var line: [CheckedContinuation<Bool, Never>] = []
        var lineHead = 0
        /// Counts deliveries, so that room made between "full" and waiting is not missed.
        var room: UInt64 = 0
        var roomWaiter: CheckedContinuation<Bool, Never>?
        var closer: CheckedContinuation<Void, Never>?

        mutating func nextInLine() -> CheckedContinuation<Bool, Never>? {
            guard lineHead < line.count else { return nil }
            defer {
                lineHead += 1
                if lineHead > 64, lineHead * 2 > line.count {
                    line.removeFirst(lineHead)
                    lineHead = 0
                }
            }
            return line[lineHead]
        }
    }

    private let state = Mutex(State())

    /// False when the producer is closed; otherwise `leave` must follow.
    func enter() async -> Bool {
        let now = state.withLock { state -> Bool? in
            if state.isClosed { return false }
            if state.isTaken { return nil }
            state.isTaken = true
            return true
        }
        if let now { return now }
        return await withCheckedContinuation { continuation in
            let now = state.withLock { state -> Bool? in
                if state.isClosed { return false }
                if !state.isTaken {
                    state.isTaken = true
                    return true
                }
                state.line.append(continuation)
                return nil
            }
            if let now { continuation.resume(returning: now) }
        }
    }

    func leave() {
        let (next, left) = state.withLock {
            state -> (CheckedContinuation<Bool, Never>?, CheckedContinuation<Void, Never>?) in
            if let next = state.nextInLine() { return (next, nil) }
            state.isTaken = false
            defer { state.closer = nil }
            return (nil, state.closer)
        }
        next?.resume(returning: true)
        left?.resume()
    }

    var room: UInt64 { state.withLock { $0.room } }

    /// False when the producer is closed.
    func waitForRoom(since room: UInt64) async -> Bool {
        await withCheckedContinuation { continuation in
            let now = state.withLock { state -> Bool? in
                if state.isClosed { return false }
                if state.room != room { return true }
                state.roomWaiter = continuation
                return nil
            }
            if let now { continuation.resume(returning: now) }
        }
    }

    func makeRoom() {
        let waiter = state.withLock { state in
            state.room &+= 1
            defer { state.roomWaiter = nil }
            return state.roomWaiter
        }
        waiter?.resume(returning: true)
    }

    /// Returns when nobody is inside and nobody can enter any more.
    func close() async {
        let (line, waiter) = state.withLock { state in
            state.isClosed = true
            defer {
                state.line = []
                state.lineHead = 0
                state.roomWaiter = nil
            }
            return (Array(state.line[state.lineHead...]), state.roomWaiter)
        }
        for continuation in line { continuation.resume(returning: false) }
        waiter?.resume(returning: false)
        await withCheckedContinuation { continuation in
            let isLeft = state.withLock { state in
                if state.isTaken { state.closer = continuation }
                return !state.isTaken
            }
            if isLeft { continuation.resume() }
        }
    }
}
