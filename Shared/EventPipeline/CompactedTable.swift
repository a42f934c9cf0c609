// Facts that every decision needs and that are few, kept in memory from a compacted topic.
import JSON
import Kafka
import Models
import Observability
import Runtime
import ServiceKit
import Synchronization

/// Thrown by `catchUp`: the table does not hold what the topic holds, or it is not known whether it does.
public struct TableNotCurrent: Error, Sendable, CustomStringConvertible {
    public let topic: String
    public let reason: String

    public var description: String { "the table of \(topic) is not current: \(reason)" }
}

/// Reads a compacted topic from its beginning and goes on reading. `start` returns when all that the topic held then
/// has been applied, so that a service never says it is ready on half of the facts.
///
/// A reader that fails is replaced, again and again. The new one goes on where the old one was, so nothing is missed.
/// Meanwhile the facts stay as they are, the table is not ready, and `catchUp` throws.
public final class CompactedTable: Consumer {
    /// Applies one record: the key, the CloudEvents type, and the body, nil for a tombstone. The body must not escape.
    public typealias Apply = @Sendable (ByteView, String, JSONValue?) throws(JSONError) -> Void

    public let name: String
    public let topic: Topic
    public let group: String? = nil
    private let context: ServiceContext
    private let apply: Apply
    private let tracing: ConsumerTracing
    private let restarts: Counter
    private let state = Mutex(State())

    /// How long `catchUp` waits at the most.
    private static let catchUpDuration = Duration.seconds(5)

    public init(_ context: ServiceContext, topic: Topic, apply: @escaping Apply) {
        name = "table of \(topic.name)"
        self.topic = topic
        self.context = context
        self.apply = apply
        tracing = ConsumerTracing(context.tracer, group: "\(context.serviceName) table of \(topic.name)")
        restarts = context.metrics.counter(
            "stampede_table_restarts_total", help: "Readers of a compacted topic that ended by an error",
            labels: ["topic": topic.name])
    }

    /// Whether a reader runs and all that the topic held when it began is applied.
    public var isReady: Bool { state.withLock { $0.obstacle == nil } }

    public var detail: String? { state.withLock { $0.obstacle } }

    public func start() async throws {
        let reader = try await open(isRestart: false)
        let task = Task.detached { [self] in await keepCurrent(reader) }
        let isStopped = state.withLock { state in
            state.task = task
            return state.isStopped
        }
        if isStopped { await stop() }
    }

    /// Returns when all that the topic holds now has been applied: for a fact that another record points to and that may
    /// be on its way.
    public func catchUp() async throws(TableNotCurrent) {
        let (reader, obstacle) = state.withLock { ($0.reader, $0.obstacle) }
        guard let reader, obstacle == nil else { throw notCurrent(obstacle ?? "it has no reader") }
        let caughtUp = await within(Self.catchUpDuration) { [self] () -> Result<Void, TableNotCurrent> in
            do throws(KafkaError) {
                let ends = try await watermarks(reader).mapValues(\.high)
                return await reached(ends).map { .failure(notCurrent($0)) } ?? .success(())
            } catch {
                return .failure(notCurrent("\(error)"))
            }
        }
        guard let caughtUp else {
            throw notCurrent(
                Task.isCancelled ? "cancelled" : "it has not caught up within \(Self.catchUpDuration.inSeconds) s")
        }
        try caughtUp.get()
    }

    public func stop() async {
        let (reader, task, waiting) = state.withLock { state in
            state.isStopped = true
            return (state.reader, state.task, state.fail("the service stops"))
        }
        for waiter in waiting { waiter.resume(returning: "the service stops") }
        task?.cancel()
        await reader?.close()
        await task?.value
    }

    // MARK: Readers and their ends

    /// Follows the topic until the table is stopped, by one reader after the other.
    private func keepCurrent(_ first: TopicReader) async {
        var current: TopicReader? = first
        var backoff = Backoff()
        while !Task.isCancelled {
            do {
                let reader = if let current { current } else { try await open(isRestart: true) }
                if current == nil { context.log.info("a table is current again", ["topic": topic.name]) }
                current = reader
                while let batches = try await reader.next(recordsMax: 10_000) {
                    takeAndTrace(batches)
                    backoff.reset()
                }
                throw ReaderEnded()
            } catch {
                await current?.close()
                let isFirst = current != nil
                current = nil
                if state.withLock({ $0.isStopped }) || Task.isCancelled { return }
                if (error as? KafkaError)?.isOffsetOutOfRange == true { state.withLock { $0.beginsAnew = true } }
                failed(error, saying: isFirst)
            }
            try? await Task.sleep(for: backoff.next())
        }
    }

    /// Told once; the attempts that follow are counted.
    private func failed(_ error: any Error, saying: Bool) {
        let reason = "\(error)"
        restarts.add()
        for waiter in state.withLock({ $0.fail(reason) }) { waiter.resume(returning: reason) }
        if saying {
            context.log.error("a table is not kept current", ["topic": topic.name, "error": reason])
        }
    }

    /// A reader that has read to the end that the topic had when it began. It goes on from where the last one was; from
    /// the beginning where there was none, or where the log does not hold that place.
    ///
    /// The log holds no such place when the topic was made anew, or its oldest part deleted. What it holds now from its
    /// beginning is then all there is to know: compaction removes a record only where a newer one of its key is kept, or
    /// a tombstone some time after it removed its key. So a key that is not found was removed and goes from the table.
    private func open(isRestart: Bool) async throws -> TopicReader {
        let (positions, isAnew) = state.withLock { ($0.positions, $0.beginsAnew) }
        let reader = try await TopicReader(
            context.kafka, topic: topic.name, partitions: nil, from: isAnew ? .beginning : .offsets(positions),
            log: context.log, metrics: context.metrics)
        do {
            let marks = try await watermarks(reader)
            if !isAnew, marks.contains(where: { !($0.value.low...$0.value.high).contains(positions[$0.key] ?? 0) }) {
                state.withLock { $0.beginsAnew = true }
                throw PlaceLost()
            }
            let isStopped = state.withLock { state in
                state.reader = reader
                if isAnew { state.positions = marks.mapValues(\.low) }
                return state.isStopped
            }
            if isStopped { throw CancellationError() }
            var found: [[UInt8]: Found]? = isAnew && isRestart ? [:] : nil
            var fetched: Set<Int32> = []
            // A restart is over when fetching works again, also where nothing new has come.
            while !marks.allSatisfy({ partition, mark in
                state.withLock { $0.positions[partition] ?? 0 } >= mark.high
                    && (!isRestart || fetched.contains(partition) || reader.isAtEnd(of: partition))
            }) {
                guard let batches = try await reader.next(recordsMax: 10_000) else { throw ReaderEnded() }
                for batch in batches {
                    fetched.insert(batch.partition)
                    if found == nil { take(batch) } else { gather(batch, into: &found) }
                }
            }
            if let found { replace(by: found) }
            state.withLock { state in
                state.beginsAnew = false
                if !state.isStopped { state.obstacle = nil }
            }
            return reader
        } catch {
            await reader.close()
            throw error
        }
    }

    private func watermarks(_ reader: TopicReader) async throws(KafkaError) -> [Int32: (low: Int64, high: Int64)] {
        try await context.producer.watermarks(of: topic.name, reader.partitions)
    }

    /// The newest record of a key, of a topic that is read anew.
    private struct Found {
        let type: String
        /// Nil for a tombstone.
        let body: [UInt8]?
    }

    /// An old record of a key must not replace a newer one for a moment: what is read anew counts when all is read.
    private func gather(_ batch: ConsumedBatch, into found: inout [[UInt8]: Found]?) {
        for record in batch {
            guard let key = key(of: record) else { continue }
            found?[Array(key)] = Found(type: Self.type(of: record), body: record.value.map { Array($0) })
        }
        moved(batch.partition, to: batch.nextOffset)
    }

    private func replace(by found: [[UInt8]: Found]) {
        let gone = state.withLock { $0.keys.filter { found[$0]?.body == nil } }
        let parser = JSONParser()
        for key in gone { applyOne(ByteView(key), "", nil as ByteView?, parser) }
        for (key, record) in found {
            if let body = record.body { applyOne(ByteView(key), record.type, ByteView(body), parser) }
        }
    }

    // MARK: Records

    private func takeAndTrace(_ batches: [ConsumedBatch]) {
        let began = tracing.tracer.isOn ? Tracer.now() : 0
        for batch in batches {
            take(batch)
            if tracing.tracer.isOn { trace(batch, began) }
        }
    }

    private func take(_ batch: ConsumedBatch) {
        let parser = JSONParser()
        for record in batch {
            guard let key = key(of: record) else { continue }
            applyOne(key, Self.type(of: record), record.value, parser, offset: record.offset)
        }
        moved(batch.partition, to: batch.nextOffset)
    }

    private func applyOne(
        _ key: ByteView, _ type: String, _ body: ByteView?, _ parser: JSONParser, offset: Int64? = nil
    ) {
        state.withLock { state in
            if body != nil { state.keys.insert(Array(key)) } else { state.keys.remove(Array(key)) }
        }
        do throws(JSONError) {
            if let body {
                guard body.count <= topic.bodyBytesMax else {
                    throw JSONError(path: "", expected: "at most \(topic.bodyBytesMax) bytes, got \(body.count)")
                }
                try parser.parse(body) { (json) throws(JSONError) in try apply(key, type, json) }
            } else {
                try apply(key, type, nil)
            }
        } catch {
            leftOut("\(error)", at: offset)
        }
    }

    /// Nil for a record without one, which no table has, and for those that cannot be read: told in the log.
    private func key(of record: ConsumedRecord) -> ByteView? {
        if let reason = record.unreadable { leftOut(reason, at: record.offset) }
        return record.key
    }

    private func leftOut(_ reason: String, at offset: Int64?) {
        context.log.error(
            "a record of a table is broken and was left out",
            ["topic": topic.name, "offset": offset.map { "\($0)" } ?? "unknown", "error": reason])
    }

    private static func type(of record: ConsumedRecord) -> String {
        record.eventType.map { String(decoding: $0, as: UTF8.self) } ?? ""
    }

    /// Of what comes while the service runs: the traces of what was there before are over.
    private func trace(_ batch: ConsumedBatch, _ began: Int64) {
        tracing.tracer.recordConsumed(
            batch.compactMap { ConsumedSpan($0, tracing) }, topic: topic, partition: batch.partition,
            group: tracing.group, start: began, end: Tracer.now())
    }

    // MARK: Waiting

    /// Notes how far a partition is applied and wakes whoever waited for that.
    private func moved(_ partition: Int32, to offset: Int64) {
        let done = state.withLock { state in
            state.positions[partition] = offset
            let done = state.waiting.filter { state.hasReached($0.value.ends) }
            for id in done.keys { state.waiting[id] = nil }
            return done
        }
        for waiter in done.values { waiter.continuation.resume(returning: nil) }
    }

    /// Returns when the table has reached the ends: nil, or why it does not. Ends at once when the task is cancelled.
    private func reached(_ ends: [Int32: Int64]) async -> String? {
        let id = state.withLock { state in
            state.lastID += 1
            return state.lastID
        }
        return await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                let outcome = state.withLock { state -> String?? in
                    if Task.isCancelled { return "cancelled" }
                    if let obstacle = state.obstacle { return obstacle }
                    if state.hasReached(ends) { return .some(nil) }
                    state.waiting[id] = Waiter(ends: ends, continuation: continuation)
                    return nil
                }
                if let outcome { continuation.resume(returning: outcome) }
            }
        } onCancel: {
            state.withLock { $0.waiting.removeValue(forKey: id) }?.continuation.resume(returning: "cancelled")
        }
    }

    private func notCurrent(_ reason: String) -> TableNotCurrent { TableNotCurrent(topic: topic.name, reason: reason) }

    /// For tests: the reader in use, how many wait in `catchUp`, and a key to believe in.
    var reader: TopicReader? { state.withLock { $0.reader } }
    var waiting: Int { state.withLock { $0.waiting.count } }
    func remember(_ key: [UInt8]) { _ = state.withLock { $0.keys.insert(key) } }

    private struct Waiter {
        let ends: [Int32: Int64]
        /// Resumed with nil, or with why the ends were not reached.
        let continuation: CheckedContinuation<String?, Never>
    }

    private struct State {
        var reader: TopicReader?
        var task: Task<Void, Never>?
        var isStopped = false
        /// Why the table is not current; nil while it is.
        var obstacle: String? = "it has not been read yet"
        /// The next reader begins at the beginning.
        var beginsAnew = true
        /// The next offset of each partition that was not applied yet.
        var positions: [Int32: Int64] = [:]
        /// The keys that have a value.
        var keys: Set<[UInt8]> = []
        var waiting: [UInt64: Waiter] = [:]
        var lastID: UInt64 = 0

        func hasReached(_ ends: [Int32: Int64]) -> Bool {
            ends.allSatisfy { positions[$0.key] ?? 0 >= $0.value }
        }

        /// Notes why the table is not current. Gives those that can wait no longer.
        mutating func fail(_ reason: String) -> [CheckedContinuation<String?, Never>] {
            obstacle = reason
            defer { waiting = [:] }
            return waiting.values.map(\.continuation)
        }
    }
}

/// The log does not hold the place where reading was to go on.
private struct PlaceLost: Error, CustomStringConvertible {
    var description: String { "the log does not hold the place to go on from: the table is read anew" }
}

/// Somebody else closed the reader.
private struct ReaderEnded: Error, CustomStringConvertible {
    var description: String { "its reader was closed" }
}
