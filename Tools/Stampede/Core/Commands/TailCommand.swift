// Shows a topic's records as they come.
import EventPipeline
import Foundation
import JSON
import Kafka
import Models
import Observability

struct TailCommand: Command {
    static let description = CommandDescription(
        "tail", "show the records of a topic", words: ["TOPIC"],
        options: [
            Option("from", "PLACE", "beginning, or end", default: "end"),
            Option("type", "TEXT", "only types that contain it"),
            Option("key", "KEY", "only records of that key"),
            Option("limit", "N", "end after so many"),
            Option("stop-at-end", nil, "end where the log ends now, instead of waiting for more"),
            .json,
        ],
        details: "With --json it prints one object a line: topic, partition, offset, time, key, headers, value.")

    private enum Place: String, CaseIterable { case beginning, end }

    private let kafka: KafkaConfiguration
    private let topic: String
    private let start: TopicReader.Start
    private let type: String?
    private let key: String?
    private let limit: Int?
    private let stopsAtEnd: Bool
    private let json: Bool

    init(_ arguments: Arguments, _ settings: Settings) throws {
        kafka = try settings.kafka(clientID: "stampede-tail")
        topic = arguments.words[0]
        start = try arguments.choice("from", of: Place.self) == .end ? .end : .beginning
        type = arguments["type"]
        key = arguments["key"]
        limit = try arguments.optionalInteger("limit", in: 1...Int.max)
        stopsAtEnd = arguments.has("stop-at-end")
        json = arguments.has("json")
    }

    func run(_ console: Console) async throws -> ExitCode {
        let scan = try await TopicScan(kafka, topic: topic, from: start, toEnd: stopsAtEnd)
        var shown = 0
        reading: while let batches = try await scan.next() {
            for batch in batches {
                for record in batch {
                    guard matches(record) else { continue }
                    if json {
                        console.print(json: RecordText.json(record))
                    } else {
                        console.print(RecordText.line(record))
                    }
                    shown += 1
                    if shown == limit { break reading }
                }
            }
        }
        await scan.close()
        return .success
    }

    private func matches(_ record: ConsumedRecord) -> Bool {
        if let key, record.key.map({ String(decoding: $0, as: UTF8.self) }) != key { return false }
        if let type, !RecordText.type(of: record).contains(type) { return false }
        return true
    }
}

/// A record as text.
enum RecordText {
    /// `12:00:00.123  3/1042  019a…  order.placed  {"orderId":…}`
    static func line(_ record: ConsumedRecord) -> String {
        let time = Timestamp(milliseconds: record.timestamp).description
        let type = type(of: record).replacing("stampede.", with: "").replacing(".v1", with: "")
        let key = record.key.map { printable($0, bytesMax: 64) } ?? "-"
        let value = record.value.map { printable($0, bytesMax: 1000) } ?? record.unreadable ?? "(null)"
        return "\(time)  \(record.partition)/\(record.offset)  \(key)  \(type)  \(value)"
    }

    static func json(_ record: ConsumedRecord) -> [UInt8] {
        var writer = JSONWriter()
        writer.object {
            $0.field("topic", record.topic)
            $0.field("partition", Int64(record.partition))
            $0.field("offset", record.offset)
            $0.field("time", Timestamp(milliseconds: record.timestamp))
            $0.field("key", optional: record.key.map { String(decoding: $0, as: UTF8.self) })
            $0.name("headers")
            $0.object {
                for header in record.headers {
                    $0.name(escaping: header.name)
                    $0.value(String(decoding: header.value, as: UTF8.self))
                }
            }
            $0.name("value")
            if let value = record.value { write(value, to: &$0) } else { $0.null() }
        }
        return writer.bytes
    }

    /// A JSON document as it is, on one line; anything else as a string.
    private static func write(_ value: ByteView, to writer: inout JSONWriter) {
        let isDocument = (try? JSONParser.parse(value) { (_) throws(JSONError) in true }) ?? false
        if isDocument, !value.contains(UInt8(ascii: "\n")) {
            writer.value(document: value)
        } else {
            writer.value(String(decoding: value, as: UTF8.self))
        }
    }

    static func type(of record: ConsumedRecord) -> String {
        record.eventType.map { String(decoding: $0, as: UTF8.self) } ?? "(no type)"
    }

    /// What a terminal can show, cut where it gets long.
    static func printable(_ bytes: some Collection<UInt8>, bytesMax: Int) -> String {
        let text = String(decoding: bytes.prefix(bytesMax), as: UTF8.self)
        let shown = String(
            text.map { $0.unicodeScalars.allSatisfy { $0.properties.generalCategory == .control } ? " " : $0 })
        return bytes.count > bytesMax ? "\(shown)… (\(bytes.count.grouped) bytes)" : shown
    }
}
