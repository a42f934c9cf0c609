// Events that come by the thousand and differ in two identifiers alone.
import JSON
import Kafka
import Models
import Observability

/// What such events have in common, packed once: a record of each is a copy with other texts in its places.
public struct EventMould<Key, Subject>: Sendable {
    let topic: Topic
    let type: String
    private let idEnd: [UInt8]
    private let untraced: RecordMould
    private let traced: RecordMould

    /// The texts of a record: its key, its subject, the trace context.
    private static var keyText: Range<Int> { 0..<UUIDText.count }
    private static var subjectText: Range<Int> { UUIDText.count..<2 * UUIDText.count }
    private static var traceText: Range<Int> {
        2 * UUIDText.count..<2 * UUIDText.count + TraceContext.traceparentBytes
    }

    /// How many bytes a record takes, packed.
    var bytes: Int { traced.count }

    init<Payload: EventPayload>(
        _ topic: Topic, _ what: String, source: String, time: Timestamp,
        _ payload: (Identifier<Key>, Identifier<Subject>) -> Payload
    ) {
        let idEnd = Array("/\(what)".utf8)
        // Stand in for those of the events: random, so that nothing else in a record is the same.
        let key = Identifier<Key>(high: .random(in: .min ... .max), low: .random(in: .min ... .max))
        let subject = Identifier<Subject>(high: .random(in: .min ... .max), low: .random(in: .min ... .max))
        let trace = TraceContext.new()
        let texts = key.textBytes + subject.textBytes + trace.traceparent.utf8
        var encoder = CloudEventEncoder(source: source)
        let value = JSONWriter.document(payload(key, subject))
        func mould(_ span: TraceContext?) -> RecordMould {
            var record = RecordBatch()
            encoder.append(
                type: Payload.type, topic: topic.name, key: key.textBytes, id: subject.textBytes + idEnd, value: value,
                time: time, span: span, to: &record)
            return RecordMould(record, placesOf: [Self.keyText, Self.subjectText, Self.traceText], in: texts)
        }
        self.topic = topic
        self.idEnd = idEnd
        type = Payload.type
        untraced = mould(nil)
        traced = mould(trace)
    }

    /// Of the event's `ce_id`: see `TraceContext.child(salt:)`.
    func salt(_ subject: Identifier<Subject>) -> UInt64 { TraceContext.salt(subject.textBytes + idEnd) }

    /// - Parameter texts: a buffer that is used again.
    func append(
        _ key: Identifier<Key>, _ subject: Identifier<Subject>, span: TraceContext?, to records: inout RecordBatch,
        texts: inout [UInt8]
    ) {
        texts.removeAll(keepingCapacity: true)
        key.appendText(to: &texts)
        subject.appendText(to: &texts)
        if let span { texts += span.traceparent.utf8 }
        records.append(span == nil ? untraced : traced, with: texts)
    }
}
