// The spans of exactly-once processing: a record taken, the transaction that applied it, what was published after it.
import Kafka
import Models
import Observability

/// Who consumes, for the traces that records carry.
struct ConsumerTracing: Sendable {
    let tracer: Tracer
    let group: String
    /// Of the group's name, zero while nothing is traced.
    let salt: UInt64

    init(_ tracer: Tracer, group: String) {
        self.tracer = tracer
        self.group = group
        salt = tracer.isOn ? TraceContext.salt(group.utf8) : 0
    }
}

extension TraceContext {
    /// The one that the record's publisher was in.
    init?(of record: ConsumedRecord) {
        guard let context = record.withContents({ $0.header("traceparent").flatMap { TraceContext($0) } }) else {
            return nil
        }
        self = context
    }
}

/// A record that was applied, or put to the dead letters.
struct ConsumedSpan: Sendable {
    let context: TraceContext
    let publisher: TraceContext
    let offset: Int64
    var failure: String?

    /// Nil where the record's trace is not recorded.
    init?(_ record: ConsumedRecord, _ tracing: ConsumerTracing, failure: String? = nil) {
        guard let publisher = TraceContext(of: record), tracing.tracer.records(publisher) else { return nil }
        self.publisher = publisher
        context = publisher.child(salt: tracing.salt)
        offset = record.offset
        self.failure = failure
    }
}

/// A record that is published.
struct PublishedSpan: Sendable {
    let context: TraceContext
    let cause: TraceContext
    let topic: Topic
    let type: String
}

extension Tracer {
    /// Spans that a transaction names as its causes besides the first.
    private static let linksMax = 32

    func recordConsumed(
        _ spans: [ConsumedSpan], topic: Topic, partition: Int32, group: String, start: Int64, end: Int64
    ) {
        for span in spans {
            record(
                Span(
                    "process \(topic.name)", .consumer, span.context, parent: span.publisher, start: start, end: end,
                    attributes: [
                        ("messaging.system", .text("kafka")), ("messaging.operation.type", .text("process")),
                        ("messaging.destination.name", .text(topic.name)),
                        ("messaging.destination.partition.id", .text("\(partition)")),
                        ("messaging.kafka.offset", .number(span.offset)),
                        ("messaging.consumer.group.name", .text(group)),
                    ], failure: span.failure))
        }
    }

    /// A transaction is shared by what happens at the same time: it is a child of the first and names the others.
    func recordTransaction(_ causes: [TraceContext], start: Int64, end: Int64) {
        guard let first = causes.first else { return }
        record(
            Span(
                "transaction", .within, first.child(), parent: first,
                links: Array(causes.dropFirst().prefix(Self.linksMax)), start: start, end: end,
                attributes: [
                    ("db.system.name", .text("postgresql")), ("stampede.traced", .number(Int64(causes.count))),
                ]))
    }

    func recordPublished(_ spans: [PublishedSpan], start: Int64) {
        if spans.isEmpty { return }
        let end = Tracer.now()
        for span in spans {
            record(
                Span(
                    "publish \(span.topic.name)", .producer, span.context, parent: span.cause, start: start, end: end,
                    attributes: [
                        ("messaging.system", .text("kafka")), ("messaging.operation.type", .text("send")),
                        ("messaging.destination.name", .text(span.topic.name)),
                        ("cloudevents.event_type", .text(span.type)),
                    ]))
        }
    }
}
