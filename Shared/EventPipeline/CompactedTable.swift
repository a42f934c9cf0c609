// Facts that every decision needs and that are few, kept in memory from a compacted topic.
import JSON
import Kafka
import Models
import Observability
import ServiceKit
import Synchronization

/// Reads a compacted topic from its beginning and goes on reading. `start` returns when all that the topic held then
/// has been applied, so that a service never says it is ready on half of the facts.
public final class CompactedTable: Component {
    /// Applies one record: the key, the CloudEvents type, and the body, nil for a tombstone. The body must not escape.
    public typealias Apply = @Sendable (ByteView, String, JSONValue?) throws(JSONError) -> Void

    public let name: String
    private let topic: Topic
    private let context: ServiceContext
    private let apply: Apply
    private let tracing: ConsumerTracing
    private let following = Mutex<(reader: TopicReader, task: Task<Void, Never>)?>(nil)
    private let waiters = Mutex(Waiters())

    public init(_ context: ServiceContext, topic: Topic, apply: @escaping Apply) {
        name = "table of \(topic.name)"
        self.topic = topic
        self.context = context
        self.apply = apply
        tracing = ConsumerTracing(context.tracer, group: "\(context.serviceName) table of \(topic.name)")
    }

    public var isReady: Bool { following.withLock { $0 != nil } }

    public func start() async throws {
        let reader = try await TopicReader(
            context.kafka, topic: topic.name, partitions: nil, from: .beginning, log: context.log,
            metrics: context.metrics)
        let marks = try await reader.watermarks()
        let lows = marks.mapValues(\.low)
        waiters.withLock { $0.positions = lows }
        var missing = marks.filter { $0.value.high > $0.value.low }.mapValues(\.high)
        while !missing.isEmpty, let batches = try await reader.next(recordsMax: 10_000, waitMilliseconds: nil) {
            for batch in batches {
                take(batch)
                if let end = missing[batch.partition], batch.nextOffset >= end { missing[batch.partition] = nil }
            }
        }
        let task = Task.detached { [self] in
            do {
                while let batches = try await reader.next(recordsMax: 10_000, waitMilliseconds: nil) {
                    let began = tracing.tracer.isOn ? Tracer.now() : 0
                    for batch in batches {
                        take(batch)
                        if tracing.tracer.isOn { trace(batch, began) }
                    }
                }
            } catch {
                context.log.error("a table is no longer kept current", ["topic": topic.name, "error": "\(error)"])
            }
            wake { $0.hasEnded = true }
        }
        following.withLock { $0 = (reader, task) }
    }

    /// Returns when all that the topic holds now has been applied: for a fact that another record points to and that may
    /// be on its way.
    public func catchUp() async throws {
        guard let reader = following.withLock({ $0?.reader }) else { return }
        let ends = try await reader.highWatermarks()
        await withCheckedContinuation { continuation in
            wake { $0.waiting.append(Waiter(ends: ends, continuation: continuation)) }
        }
    }

    public func stop() async {
        let last = following.withLock { following in
            defer { following = nil }
            return following
        }
        await last?.reader.close()
        await last?.task.value
    }

    private func take(_ batch: ConsumedBatch) {
        let parser = JSONParser()
        for record in batch {
            guard let key = record.key else { continue }
            let type = record.header("ce_type").map { String(decoding: $0, as: UTF8.self) } ?? ""
            do throws(JSONError) {
                if let body = record.value {
                    try parser.parse(body) { (json) throws(JSONError) in try apply(key, type, json) }
                } else {
                    try apply(key, type, nil)
                }
            } catch {
                context.log.error(
                    "a record of a table is broken and was left out",
                    ["topic": topic.name, "offset": "\(record.offset)", "error": "\(error)"])
            }
        }
        moved(batch.partition, to: batch.nextOffset)
    }

    /// Of what comes while the service runs: the traces of what was there before are over.
    private func trace(_ batch: ConsumedBatch, _ began: Int64) {
        tracing.tracer.recordConsumed(
            batch.compactMap { ConsumedSpan($0, tracing) }, topic: topic, partition: batch.partition,
            group: tracing.group, start: began, end: Tracer.now())
    }

    /// Notes how far a partition is applied and wakes whoever waited for that.
    private func moved(_ partition: Int32, to offset: Int64) {
        wake { $0.positions[partition] = offset }
    }

    private func wake(_ change: (inout Waiters) -> Void) {
        let done = waiters.withLock { waiters in
            change(&waiters)
            let (done, waiting) = waiters.waiting.partitioned { waiters.hasReached($0.ends) }
            waiters.waiting = waiting
            return done
        }
        for waiter in done { waiter.continuation.resume() }
    }

    private struct Waiter {
        let ends: [Int32: Int64]
        let continuation: CheckedContinuation<Void, Never>
    }

    private struct Waiters {
        /// The next offset of each partition that was not applied yet.
        var positions: [Int32: Int64] = [:]
        var waiting: [Waiter] = []
        var hasEnded = false

        func hasReached(_ ends: [Int32: Int64]) -> Bool {
            hasEnded || ends.allSatisfy { positions[$0.key] ?? 0 >= $0.value }
        }
    }
}

extension Array {
    fileprivate func partitioned(_ belongs: (Element) -> Bool) -> ([Element], [Element]) {
        (filter(belongs), filter { !belongs($0) })
    }
}
