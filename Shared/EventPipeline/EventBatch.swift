// A partition's records as events.
import JSON
import Kafka
import Models
import Observability
import Synchronization

/// One event of a batch, read and checked.
public struct Incoming<Value: Sendable>: Sendable {
    public let value: Value
    public let record: ConsumedRecord
    /// Of who consumes it: see `ConsumerTracing`.
    let salt: UInt64

    /// The moment that the log gives it. On topics with `LogAppendTime` that is the broker's clock.
    public var time: Timestamp { Timestamp(milliseconds: record.timestamp) }

    public var partition: Int32 { record.partition }
    public var offset: Int64 { record.offset }
    public var key: ByteView? { record.key }

    /// The key where it is a UUID.
    public func key<Kind>(as kind: Identifier<Kind>.Type) -> Identifier<Kind>? {
        record.withContents { $0.key.flatMap { Identifier(text: $0) } }
    }

    /// CloudEvents' `id`; where the publisher gave none, the record's place in the log.
    public var id: String {
        record.eventID.map { String(decoding: $0, as: UTF8.self) }
            ?? "\(record.topic)/\(record.partition)/\(record.offset)"
    }

    /// The same event with another value.
    public func map<Other>(_ change: (Value) -> Other) -> Incoming<Other> {
        Incoming<Other>(value: change(value), record: record, salt: salt)
    }

    /// The trace that the publisher was in, if any: the cause of what is published because of this event.
    public var trace: TraceContext? { TraceContext(of: record).map(applying) }

    /// The span of applying the record, see `ConsumerTracing`. Without tracing, the record's own, so that no span is missing
    /// between others'.
    func applying(_ publisher: TraceContext) -> TraceContext { salt == 0 ? publisher : publisher.child(salt: salt) }
}

/// Consecutive records of one partition, in their order.
public struct EventBatch: Sendable {
    public let topic: Topic
    let records: ArraySlice<ConsumedRecord>
    let counters: EventCounters
    let tracing: ConsumerTracing
    private let cache: Cache

    public var partition: Int32 { records.first?.partition ?? 0 }
    public var count: Int { records.count }
    /// The offset of the first record.
    public var firstOffset: Int64 { records.first?.offset ?? 0 }
    /// One more than the offset of the last record.
    public var nextOffset: Int64 { (records.last?.offset ?? -1) + 1 }

    /// Reads the events of the given types. Records of other types are skipped and counted without being parsed; a
    /// record that is no event, or that `reader` refuses, goes to the dead letters with the reason.
    ///
    /// - Parameter reader: gets the type and the parsed body, which must not escape; nil skips the event.
    public func read<Value: Sendable>(
        _ unit: UnitOfWork, only types: [String], _ reader: (String, JSONValue) throws(JSONError) -> Value?
    ) -> [Incoming<Value>] {
        read(unit, only: types, known: { _, _ in nil }, { (type, json, _) throws(JSONError) in try reader(type, json) })
    }

    /// The same for bodies of which some need not be parsed: see `CloudEventDecoder`.
    public func read<Value: Sendable>(
        _ unit: UnitOfWork, only types: [String], known: (String, ByteRun) -> Value?,
        _ reader: (String, JSONValue, ByteRun?) throws(JSONError) -> Value?
    ) -> [Incoming<Value>] {
        let events = scan(types, known, reader) { unit.dead($0, reason: $1) }
        // No key path: with one in it the compiler makes one generic function of this for all readers.
        unit.countRead(records, events: events.map { $0.offset }, counters)
        if tracing.tracer.isOn {
            for event in events {
                if let span = ConsumedSpan(event.record, tracing) { unit.consumed.append(span) }
            }
        }
        return events
    }

    /// The events of one type, without the records that are none: for rendering what was read before.
    public func events<Payload: EventPayload>(of type: Payload.Type) -> [Incoming<Payload>] {
        events(of: [Payload.type]) { (_, json) throws(JSONError) in try Payload(json: json) }
    }

    /// The same for several types, read as `read` reads them.
    public func events<Value: Sendable>(
        of types: [String], _ reader: (String, JSONValue) throws(JSONError) -> Value?
    ) -> [Incoming<Value>] {
        scan(
            types, { _, _ in nil }, { (type, json, _) throws(JSONError) in try reader(type, json) },
            broken: { _, _ in })
    }

    /// Keeps what `apply` has read for `render`, which otherwise reads it again.
    public func keep<Value: Sendable>(_ value: Value) { cache.value.withLock { $0 = value } }

    /// What was kept for this batch; nil when it comes from the log again.
    public func kept<Value: Sendable>(_ type: Value.Type = Value.self) -> Value? {
        cache.value.withLock { $0 as? Value }
    }

    /// The same batch without what lies behind an offset.
    func prefix(before offset: Int64) -> EventBatch {
        EventBatch(
            topic: topic, records: records.prefix { $0.offset < offset }, counters: counters, tracing: tracing,
            cache: cache)
    }

    init(
        topic: Topic, records: ArraySlice<ConsumedRecord>, counters: EventCounters, tracing: ConsumerTracing
    ) {
        self.init(topic: topic, records: records, counters: counters, tracing: tracing, cache: Cache())
    }

    private init(
        topic: Topic, records: ArraySlice<ConsumedRecord>, counters: EventCounters, tracing: ConsumerTracing,
        cache: Cache
    ) {
        self.topic = topic
        self.records = records
        self.counters = counters
        self.tracing = tracing
        self.cache = cache
    }

    private func scan<Value: Sendable>(
        _ types: [String], _ known: (String, ByteRun) -> Value?,
        _ reader: (String, JSONValue, ByteRun?) throws(JSONError) -> Value?,
        broken: (ConsumedRecord, String) -> Void
    ) -> [Incoming<Value>] {
        var result: [Incoming<Value>] = []
        result.reserveCapacity(records.count)
        var decoder = CloudEventDecoder(topic, only: types)
        for record in records where !isTombstone(record) {
            if let reason = record.unreadable {
                broken(record, reason)
                continue
            }
            do throws(JSONError) {
                let value = try decoder.read(record, known: known, reader)
                if let value { result.append(Incoming(value: value, record: record, salt: tracing.salt)) }
            } catch {
                broken(record, "\(error)")
            }
        }
        return result
    }

    /// The keys that a compacted topic's records withdraw, with where they stand. They are no events.
    public var tombstones: [(key: ByteView, offset: Int64)] {
        records.compactMap { record in
            isTombstone(record) ? record.key.map { ($0, record.offset) } : nil
        }
    }

    private func isTombstone(_ record: ConsumedRecord) -> Bool {
        topic.isCompacted && record.value == nil && record.eventType == nil && record.unreadable == nil
    }
}

private final class Cache: Sendable {
    let value = Mutex<(any Sendable)?>(nil)
}

/// What a processor counts while it reads.
struct EventCounters: Sendable {
    let read: Counter
    let skipped: Counter
    let dead: Counter

    init(_ metrics: Metrics, processor: String, topic: Topic) {
        let labels = ["processor": processor, "topic": topic.name]
        read = metrics.counter("stampede_events_read_total", help: "Records read from the topic", labels: labels)
        skipped = metrics.counter(
            "stampede_events_skipped_total", help: "Events of a type that the processor does not need",
            labels: labels)
        dead = metrics.counter(
            "stampede_events_dead_total", help: "Records put to the dead letters", labels: labels)
    }
}
