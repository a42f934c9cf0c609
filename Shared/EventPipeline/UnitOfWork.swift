// One transaction of a service and the records that it owes to Kafka.
import JSON
import Kafka
import Models
import Observability
import Postgres
import Security
import Synchronization

/// The one transaction that a batch or a command is applied in, and what goes out once it is committed.
/// Used by one task, inside the closure or handler that it was given to.
public final class UnitOfWork {
    public let transaction: Transaction
    /// The service's clock when the unit of work began.
    public let now: Timestamp

    private var outgoing = RecordBatch()
    private var deadLetters: [(ConsumedRecord, String)] = []
    /// Records that were read and whose traces are recorded.
    var consumed: [ConsumedSpan] = []
    /// What is counted when the unit of work is committed.
    private var counts: [(counter: Counter, amount: Int)] = []
    /// What was read of a batch, and where its events stand.
    private var reads: [(records: ArraySlice<ConsumedRecord>, events: [Int64], counters: EventCounters)] = []
    /// Rendered by the handler after the commit: see `EventHandler.render`.
    private(set) var deferred: [UInt8]?

    /// Where the batch was cut: see `stop(before:)`.
    private(set) var stopOffset: Int64?

    private let origin: EventOrigin
    private var encoder: EventEncoder

    init(transaction: Transaction, now: Timestamp, origin: EventOrigin) {
        self.transaction = transaction
        self.now = now
        self.origin = origin
        encoder = EventEncoder(origin)
    }

    /// Publishes an event after the commit. Events leave in the order in which they were given.
    /// - Parameters:
    ///   - id: CloudEvents' `id`, derived from the input so that a repeat is recognised: `<order>/captured`.
    ///   - signer: proves who publishes it.
    public func publish<Kind, Payload: EventPayload>(
        _ topic: Topic, key: Identifier<Kind>, id: String, _ payload: Payload, cause: TraceContext? = nil,
        signedBy signer: PublisherKey? = nil
    ) {
        publish(topic, key: key.textBytes, id: id, payload, cause: cause, signedBy: signer)
    }

    /// The same for a key that is text.
    public func publish<Payload: EventPayload>(
        _ topic: Topic, key: [UInt8], id: String, _ payload: Payload, cause: TraceContext? = nil,
        signedBy signer: PublisherKey? = nil
    ) {
        encoder.append(
            payload, topic, key: key, id: Array(id.utf8), time: now, cause: cause ?? TraceContext.current,
            signedBy: signer, to: &outgoing)
    }

    /// Removes a key from a compacted topic.
    public func publishTombstone<Kind>(_ topic: Topic, key: Identifier<Kind>) {
        publishTombstone(topic, key: key.textBytes)
    }

    /// The same for a key that is text.
    public func publishTombstone(_ topic: Topic, key: [UInt8]) {
        outgoing.append(topic: topic.name, key: key, value: nil, headers: [])
    }

    /// Has the handler render what this batch publishes after the commit, from the input and these bytes alone, so
    /// that the outbox keeps the bytes and not the records.
    public func publish(rendering deferred: [UInt8]) {
        self.deferred = deferred
    }

    /// Ends this unit of work before the record of that offset. What precedes it is committed; the rest comes again as the next
    /// batch. Dead letters of records from there on are put off with them.
    /// - Precondition: at least one record precedes it.
    public func stop(before offset: Int64) {
        stopOffset = offset
    }

    /// Adds to a counter once the unit of work is committed: a unit of work that is tried again counts once.
    public func count(_ counter: Counter, _ amount: Int = 1) {
        counts.append((counter, amount))
    }

    /// The same for what was read of a batch: what the unit of work was cut before comes again.
    func countRead(_ records: ArraySlice<ConsumedRecord>, events: [Int64], _ counters: EventCounters) {
        reads.append((records, events, counters))
    }

    private var readCounts: [(counter: Counter, amount: Int)] {
        let end = stopOffset ?? Int64.max
        return reads.flatMap { records, events, counters in
            let read = records.count { $0.offset < end }
            return [(counters.read, read), (counters.skipped, read - events.count { $0 < end })]
        }
    }

    /// Puts an event that was read but cannot be applied to the dead letters.
    public func dead<Value>(_ incoming: Incoming<Value>, reason: String) {
        dead(incoming.record, reason: reason)
    }

    func dead(_ record: ConsumedRecord, reason: String) {
        deadLetters.append((record, reason))
    }

    /// What is to be counted and told of this unit of work once it is committed.
    var report: StepReport {
        StepReport(
            counts: counts + readCounts, published: encoder.tally, dead: dead,
            consumed: consumed.filter { $0.offset < stopOffset ?? Int64.max }, spans: encoder.spans)
    }

    /// The dead letters of this unit of work: those of records that it was cut before come again.
    private var dead: [(record: ConsumedRecord, reason: String)] {
        deadLetters.filter { $0.0.offset < stopOffset ?? Int64.max }.map { ($0.0, $0.1) }
    }

    /// Everything that goes out as it is, the dead letters last.
    /// - Throws: `Unappliable` where an event is larger than what can be sent.
    func packed() throws(Unappliable) -> RecordBatch {
        if !outgoing.recordsLarger(than: KafkaProducer.recordBytesMax).isEmpty {
            throw Unappliable(
                reason:
                    "an event that it publishes has more than the \(KafkaProducer.recordBytesMax) bytes that can be sent"
            )
        }
        var packed = outgoing
        for (record, reason) in dead {
            DeadLetterRecord(record: record, reason: reason).append(to: &packed, service: origin.service, now: now)
        }
        return packed
    }
}

/// What a unit of work did besides its transaction.
struct StepReport: Sendable {
    var counts: [(counter: Counter, amount: Int)] = []
    /// Events that go out as they are.
    var published = PublishedTally()
    var dead: [(record: ConsumedRecord, reason: String)] = []
    var consumed: [ConsumedSpan] = []
    /// Of the events that go out as they are.
    var spans: [PublishedSpan] = []

    func count() {
        for (counter, amount) in counts { counter.add(amount) }
    }
}

/// Who publishes: what every record of a unit of work has in common.
struct EventOrigin: Sendable {
    let service: String
    let source: String
    let tracer: Tracer

    init(service: String, tracer: Tracer) {
        self.service = service
        self.tracer = tracer
        source = "/stampede/\(service)"
    }
}

/// How many events of each type a unit of work or a rendering publishes.
struct PublishedTally: Sendable {
    private(set) var counts: [(type: String, count: Int)] = []
    private var last = 0

    mutating func add(_ type: String) {
        if last >= counts.count || counts[last].type != type {
            last = counts.firstIndex { $0.type == type } ?? counts.count
            if last == counts.count { counts.append((type, 0)) }
        }
        counts[last].count += 1
    }
}

/// Counts what was acknowledged, by the event's type.
final class PublishedCounters: Sendable {
    private let metrics: Metrics
    private let known = Mutex<[String: Counter]>([:])

    init(_ metrics: Metrics) { self.metrics = metrics }

    func add(_ tally: PublishedTally) { add(tally.counts.lazy.map { ($0.type, $0.count) }) }

    func add(_ counts: [String: Int]) { add(counts.lazy.map { ($0.key, $0.value) }) }

    private func add(_ counts: some Sequence<(String, Int)>) {
        known.withLock { known in
            for (type, count) in counts {
                let counter =
                    known[type]
                    ?? metrics.counter(
                        "stampede_events_published_total", help: "Events that Kafka has acknowledged, by type",
                        labels: ["type": type])
                known[type] = counter
                counter.add(count)
            }
        }
    }
}

/// Turns a service's events into records, and counts and traces them. The buffer is used again.
struct EventEncoder: Sendable {
    private let origin: EventOrigin
    private var encoder: CloudEventEncoder
    private var writer = JSONWriter()
    private var texts: [UInt8] = []
    private(set) var tally = PublishedTally()
    private(set) var spans: [PublishedSpan] = []

    init(_ origin: EventOrigin) {
        self.origin = origin
        encoder = CloudEventEncoder(source: origin.source)
    }

    mutating func append<Payload: EventPayload>(
        _ payload: Payload, _ topic: Topic, key: [UInt8], id: [UInt8], time: Timestamp, cause: TraceContext?,
        signedBy signer: PublisherKey? = nil, to records: inout RecordBatch
    ) {
        writer.clear()
        payload.write(to: &writer)
        tally.add(Payload.type)
        // Derived from what identifies the event: published again, it is the same span.
        let span = cause.map { $0.child(salt: TraceContext.salt(id)) }
        if let cause, let span, origin.tracer.records(span) {
            spans.append(PublishedSpan(context: span, cause: cause, topic: topic, type: Payload.type))
        }
        encoder.append(
            type: Payload.type, topic: topic.name, key: key, id: id, value: writer.bytes, time: time, span: span,
            signedBy: signer, to: &records)
    }

    mutating func append<Key, Subject>(
        _ mould: EventMould<Key, Subject>, _ key: Identifier<Key>, _ subject: Identifier<Subject>,
        cause: TraceContext?, to records: inout RecordBatch
    ) {
        tally.add(mould.type)
        guard let cause else { return mould.append(key, subject, span: nil, to: &records, texts: &texts) }
        let span = cause.child(salt: mould.salt(subject))
        if origin.tracer.records(span) {
            spans.append(PublishedSpan(context: span, cause: cause, topic: mould.topic, type: mould.type))
        }
        mould.append(key, subject, span: span, to: &records, texts: &texts)
    }
}

/// Collects the events that a handler renders after the commit.
public struct Outgoing: Sendable {
    var records = RecordBatch()
    private let origin: EventOrigin
    private var encoder: EventEncoder

    init(origin: EventOrigin) {
        self.origin = origin
        encoder = EventEncoder(origin)
    }

    var published: PublishedTally { encoder.tally }
    var spans: [PublishedSpan] { encoder.spans }

    public mutating func publish<Key, Payload: EventPayload>(
        _ topic: Topic, key: Identifier<Key>, id: String, time: Timestamp, _ payload: Payload, cause: TraceContext?
    ) {
        encoder.append(
            payload, topic, key: key.textBytes, id: Array(id.utf8), time: time, cause: cause, to: &records)
    }

    /// What many events of this rendering have in common: all but their key, their subject, and the traces that they follow
    /// from. Their `ce_id` is `<subject>/<what>`.
    /// - Parameter payload: makes the event's body for a key and a subject.
    public func mould<Key, Subject, Payload: EventPayload>(
        _ topic: Topic, _ what: StaticString, time: Timestamp,
        _ payload: (Identifier<Key>, Identifier<Subject>) -> Payload
    ) -> EventMould<Key, Subject> {
        EventMould(topic, "\(what)", source: origin.source, time: time, payload)
    }

    /// Publishes an event of the mould.
    public mutating func publish<Key, Subject>(
        _ mould: EventMould<Key, Subject>, key: Identifier<Key>, subject: Identifier<Subject>, cause: TraceContext?
    ) {
        encoder.append(mould, key, subject, cause: cause, to: &records)
    }

    /// Makes room for so many events of about that size.
    public mutating func reserve<Key, Subject>(_ count: Int, of mould: EventMould<Key, Subject>) {
        records.reserveCapacity(bytes: records.bytes.count + count * mould.bytes)
    }
}
