// CloudEvents 1.0 as Kafka records (the Kafka protocol binding): written in binary mode, read in binary and structured mode.
import JSON
import Kafka
import Models
import Observability
import Security

/// Makes records of events. What those of one type and time have in common is packed once.
public struct CloudEventEncoder: Sendable {
    private let source: [UInt8]
    private var common: PackedHeaders?
    private var commonType = ""
    private var commonTime = Timestamp.distantPast

    /// - Parameter source: CloudEvents' `source`: `/stampede/reservation`.
    public init(source: String) { self.source = Array(source.utf8) }

    /// Appends an event whose body is `value`.
    /// - Parameters:
    ///   - span: that of the event itself, which its consumers go on from.
    ///   - signer: proves who publishes it.
    public mutating func append(
        type: String, topic: String, key: [UInt8]?, id: [UInt8], value: [UInt8], time: Timestamp,
        span: TraceContext? = nil, signedBy signer: PublisherKey? = nil, to records: inout RecordBatch
    ) {
        let common = common(type, time)
        let proof = signer?.proof(type: type.utf8, id: id, key: key, value: value)
        records.append(topic: topic, key: key, value: value) { headers in
            headers.add(common)
            headers.add("ce_id", id)
            if let span { headers.add("traceparent", span.traceparent.utf8) }
            if let proof { headers.add("\(PublisherKey.header)", proof) }
        }
    }

    /// The same for a body that is not written yet.
    public mutating func append<Payload: EventPayload>(
        _ payload: Payload, topic: Topic, key: [UInt8], id: [UInt8], time: Timestamp,
        signedBy signer: PublisherKey? = nil, to records: inout RecordBatch
    ) {
        append(
            type: Payload.type, topic: topic.name, key: key, id: id, value: JSONWriter.document(payload), time: time,
            signedBy: signer, to: &records)
    }

    private mutating func common(_ type: String, _ time: Timestamp) -> PackedHeaders {
        if let common, commonTime == time, commonType == type { return common }
        let packed = PackedHeaders { [source] headers in
            headers.add("ce_specversion", "1.0".utf8)
            headers.add("ce_type", type.utf8)
            headers.add("ce_source", source)
            headers.add("ce_time", time.textBytes)
            headers.add("content-type", "application/json".utf8)
        }
        (common, commonType, commonTime) = (packed, type, time)
        return packed
    }

    /// What `content-type` says of a record whose value is a whole event.
    public static let structuredContentType = "application/cloudevents+json"
}

extension ConsumedRecord {
    /// CloudEvents' `type`; nil in structured mode, and of what is no event.
    public var eventType: ByteView? { header("ce_type") }

    /// CloudEvents' `id`, where the publisher gave one in binary mode.
    public var eventID: ByteView? { header("ce_id") }

    /// CloudEvents' `time`: the publisher's clock.
    public var eventTime: Timestamp? {
        header("ce_time").flatMap { Timestamp(String(decoding: $0, as: UTF8.self)) }
    }
}

/// Reads the events of some types out of a topic's records.
public struct CloudEventDecoder {
    private let topic: Topic
    private let types: [String]
    private let parser = JSONParser()
    private var names: TypeNames

    public init(_ topic: Topic, only types: [String]) {
        self.topic = topic
        self.types = types
        names = TypeNames(types)
    }

    /// Hands the type and the parsed body to `reader`, which the body must not leave. A record of another type is nil
    /// without being parsed.
    /// - Throws: `JSONError` where the record is no event, and what `reader` throws.
    public mutating func read<Value>(
        _ record: ConsumedRecord, _ reader: (String, JSONValue) throws(JSONError) -> Value?
    ) throws(JSONError) -> Value? {
        try read(record, known: { _, _ in nil }, { (type, json, _) throws(JSONError) in try reader(type, json) })
    }

    /// The same for bodies of which some need not be parsed.
    /// - Parameters:
    ///   - known: what a body says, nil where it has to be parsed.
    ///   - reader: gets the body's bytes as well, which must not leave it either; nil where it is part of a document.
    public mutating func read<Value>(
        _ record: ConsumedRecord, known: (String, ByteRun) -> Value?,
        _ reader: (String, JSONValue, ByteRun?) throws(JSONError) -> Value?
    ) throws(JSONError) -> Value? {
        try record.withContents { (contents) throws(JSONError) in
            if let header = contents.header("ce_type") {
                guard let type = names.known(header) else { return nil }
                let body = try checkedBody(contents)
                if let value = known(type, body) { return value }
                return try parser.parse(body) { (json) throws(JSONError) in try reader(type, json, body) }
            }
            let body = try structuredBody(contents)
            return try parser.parse(body) { (json) throws(JSONError) -> Value? in
                let type = try json.token("type", bytesMax: 200)
                guard types.contains(type) else { return nil }
                return try json.read("data") { (data) throws(JSONError) in try reader(type, data, nil) }
            }
        }
    }

    private func checkedBody(_ record: RecordContents) throws(JSONError) -> ByteRun {
        guard let body = record.value else { throw JSONError(path: "", expected: "an event, got no value") }
        guard body.count <= topic.bodyBytesMax else {
            throw JSONError(path: "", expected: "at most \(topic.bodyBytesMax) bytes, got \(body.count)")
        }
        return body
    }

    private func structuredBody(_ record: RecordContents) throws(JSONError) -> ByteRun {
        let contentType = record.header("content-type").map { String(decoding: $0, as: UTF8.self) } ?? ""
        guard contentType.hasPrefix(CloudEventEncoder.structuredContentType) else {
            throw JSONError(
                path: "",
                expected: "the header ce_type, or content-type \(CloudEventEncoder.structuredContentType)")
        }
        return try checkedBody(record)
    }
}

/// Finds a header's type among the few that a reader knows, without making a string of each record's.
private struct TypeNames {
    private let known: [(bytes: ByteView, name: String)]
    private var last = 0

    init(_ types: [String]) { known = types.map { (ByteView(Array($0.utf8)), $0) } }

    mutating func known(_ header: ByteRun) -> String? {
        if last < known.count, header == known[last].bytes { return known[last].name }
        guard let index = known.firstIndex(where: { header == $0.bytes }) else { return nil }
        last = index
        return known[index].name
    }
}
