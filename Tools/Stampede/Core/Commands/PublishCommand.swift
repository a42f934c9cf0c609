// Publishes a file of events, one JSON object a line.
import EventPipeline
import Foundation
import JSON
import Kafka
import Models
import Observability
import Security

struct PublishCommand: Command {
    static let description = CommandDescription(
        "publish", "publish order events from a file of JSON lines", words: ["[FILE]"],
        options: [
            Option("topic", "NAME", "where to", default: Topic.orders.name),
            Option("type", "TYPE", "the events' type, where a line does not say it", default: OrderPlaced.type),
            Option("key", "MEMBER", "the member that is the record's key", default: "buyerId"),
            Option("in-flight", "N", "records that may wait for the broker's word", default: "20000"),
            Option("unchecked", nil, "send lines as they are, broken ones too"),
            Option("unsigned", nil, "prove nothing, whatever the environment says"),
        ] + Option.publisher + [.json],
        details: """
            Without FILE, or with '-', it reads standard input. A line is an event's body:

              {"orderId":"…","saleId":"…","batch":1,"variant":"mi3-silver-16","buyerId":"…"}

            or a whole CloudEvent: {"specversion":"1.0","id":"…","type":"stampede.order.cancelled.v1","data":{…}}. The record's
            ID is derived from the body, so that a file published twice is recognised. A line that is not such an object is
            named and left out (exit code 1), or, with --unchecked, published for the dead letters to show.

            A buyer's standing authorisation pays orders of the publisher that it names. An order of nobody is decided like any
            other; only its buyer can pay it, and only who proves nothing cancels it.
            """)

    private let kafka: KafkaConfiguration
    private let file: String?
    private let encoder: LineEncoder
    private let inFlightMax: Int
    private let json: Bool

    init(_ arguments: Arguments, _ settings: Settings) throws {
        kafka = try settings.kafka(clientID: "stampede-publish")
        let name = arguments.words.first ?? "-"
        file = name == "-" ? nil : name
        inFlightMax = try arguments.integer("in-flight", in: 1...1_000_000)
        json = arguments.has("json")
        let topic = arguments["topic"] ?? Topic.orders.name
        let signs = topic == Topic.orders.name && !arguments.has("unsigned")
        encoder = LineEncoder(
            topic: topic, type: arguments["type"] ?? OrderPlaced.type,
            key: arguments["key"] ?? "buyerId", isChecked: !arguments.has("unchecked"),
            signer: signs ? try settings.publisher(arguments) : nil)
    }

    /// Lines beyond this are broken whatever they hold: with headers and a key they would be no record.
    private static let lineBytesMax = KafkaProducer.recordBytesMax - 1_024
    private static let complaintsMax = 20

    func run(_ console: Console) async throws -> ExitCode {
        let input = try open()
        defer { try? input.close() }
        let producer = try KafkaProducer(
            kafka, log: Logger(service: "stampede-publish", level: .warning), metrics: Metrics(),
            queueBytesMax: 64 << 20, giveUpSeconds: 30)
        let started = ContinuousClock.now
        var tally = Tally()
        var failure: (any Error)?
        do {
            try await publish(input, producer, console, &tally)
        } catch {
            failure = error
        }
        await producer.close(timeoutSeconds: 30)
        if let failure { throw failure }
        report(tally, seconds: (ContinuousClock.now - started).seconds, console)
        return tally.broken == 0 ? .success : .foundWrong
    }

    private struct Tally {
        var published = 0
        var broken = 0
    }

    private func publish(
        _ input: FileHandle, _ producer: KafkaProducer, _ console: Console, _ tally: inout Tally
    ) async throws {
        var lines = LineReader(input, lineBytesMax: Self.lineBytesMax)
        var batch = RecordBatch()
        // Two halves: one is encoded while the other waits for the broker.
        let batchMax = max(1, inFlightMax / 2)
        var sending: Task<Void, any Error>?
        var lastProgress = ContinuousClock.now
        let parser = JSONParser()
        while let line = try lines.next() {
            if line.bytes.isEmpty { continue }
            do throws(JSONError) {
                try encoder.append(line.bytes, to: &batch, with: parser)
                tally.published += 1
            } catch {
                tally.broken += 1
                if tally.broken <= Self.complaintsMax { console.complain("line \(line.number): \(error)") }
            }
            guard batch.count >= batchMax else { continue }
            try await sending?.value
            let full = batch
            sending = Task { try await producer.send(full) }
            batch = RecordBatch()
            if ContinuousClock.now - lastProgress > .seconds(1) {
                lastProgress = .now
                console.progress("published \(tally.published.grouped)")
            }
        }
        try await sending?.value
        if !batch.isEmpty { try await producer.send(batch) }
    }

    private func report(_ tally: Tally, seconds: Double, _ console: Console) {
        if json {
            var writer = JSONWriter()
            writer.object {
                $0.field("published", tally.published)
                $0.field("broken", tally.broken)
                $0.field("milliseconds", Int((seconds * 1000).rounded()))
            }
            console.print(json: writer.bytes)
        } else {
            let rate = Int(Double(tally.published) / max(seconds, 0.001))
            let broken = tally.broken == 0 ? "" : ", \(tally.broken.grouped) lines were broken and left out"
            console.print(
                "published \(tally.published.grouped) events in \(seconds.fixed(1)) s (\(rate.grouped)/s)\(broken)")
        }
    }

    private func open() throws -> FileHandle {
        guard let file else { return .standardInput }
        guard let handle = FileHandle(forReadingAtPath: file) else {
            throw CommandError(.usage, "\(file) cannot be read")
        }
        return handle
    }
}

/// Makes a record of a line: a body in CloudEvents' binary mode, a whole event in structured mode.
struct LineEncoder: Sendable {
    let topic: String
    let type: String
    /// The body's member that is the record's key.
    let key: String
    let isChecked: Bool
    /// Who proves to publish; nil: nobody.
    var signer: PublisherKey?

    func append(_ line: [UInt8], to batch: inout RecordBatch, with parser: JSONParser) throws(JSONError) {
        let event: Event
        do throws(JSONError) {
            event = try parser.parse(line) { (json) throws(JSONError) in try read(json) }
        } catch {
            if isChecked { throw error }
            event = .body(type: type, id: Self.anyID(), key: nil)
        }
        switch event {
        case .body(let type, let id, let key):
            var encoder = CloudEventEncoder(source: "/stampede/publish")
            encoder.append(
                type: type, topic: topic, key: key, id: Array(id.utf8), value: line, time: WallClock.now(),
                signedBy: signer, to: &batch)
        case .structured(let key):
            let proof = signer?.proof(type: [UInt8]?.none, id: [UInt8]?.none, key: key, value: line)
            batch.append(topic: topic, key: key, value: line) { headers in
                headers.add("content-type", CloudEventEncoder.structuredContentType.utf8)
                if let proof { headers.add("\(PublisherKey.header)", proof) }
            }
        }
    }

    private enum Event {
        case body(type: String, id: String, key: [UInt8]?)
        case structured(key: [UInt8]?)
    }

    private func read(_ json: JSONValue) throws(JSONError) -> Event {
        guard json.kind == .object else { throw JSONError(path: "", expected: "an object") }
        guard json["specversion"] != nil else {
            let (key, orderID) = try checked(json, type: type)
            return .body(type: type, id: Self.id(type: type, orderID: orderID), key: key)
        }
        _ = try json.string("id", bytesMax: 200)
        let type = try json.string("type", bytesMax: 200)
        return .structured(key: try json.read("data") { (data) throws(JSONError) in try checked(data, type: type).key })
    }

    private func checked(_ body: JSONValue, type: String) throws(JSONError) -> (key: [UInt8]?, orderID: String?) {
        if isChecked {
            let event = Topic(rawValue: topic)?.events.first { $0.type == type }
            _ = try event?.init(json: body)
        }
        var keyText: String?
        _ = try body.members(countMax: 1000) { (name, value) throws(JSONError) in
            if name == key { keyText = value.stringValue }
        }
        guard keyText != nil || !isChecked else { throw JSONError(path: key, expected: "a string, the record's key") }
        return (keyText.map { Array($0.utf8) }, body["orderId"]?.stringValue)
    }

    /// The same body has the same ID whenever it is published.
    private static func id(type: String, orderID: String?) -> String {
        switch (type, orderID) {
        case (OrderPlaced.type, let order?): order
        case (OrderCancelled.type, let order?): "\(order)/cancelled"
        default: anyID()
        }
    }

    private static func anyID() -> String { UUID().uuidString.lowercased() }
}

/// Reads lines without holding more than one block and one line.
struct LineReader {
    private let input: FileHandle
    private let lineBytesMax: Int
    private var buffer: [UInt8] = []
    private var position = 0
    private var isAtEnd = false
    private var number = 0

    private static let blockBytes = 1 << 20

    init(_ input: FileHandle, lineBytesMax: Int) {
        self.input = input
        self.lineBytesMax = lineBytesMax
    }

    /// The next line without its end, nil after the last. A line beyond the bound is an error.
    mutating func next() throws -> (number: Int, bytes: [UInt8])? {
        var searched = position
        while true {
            if let end = buffer[searched...].firstIndex(of: UInt8(ascii: "\n")) {
                defer { position = end + 1 }
                return line(until: end)
            }
            searched = buffer.count
            if isAtEnd {
                guard position < buffer.count else { return nil }
                defer { position = buffer.count }
                return line(until: buffer.count)
            }
            guard buffer.count - position <= lineBytesMax else {
                throw CommandError(.foundWrong, "line \(number + 1) is longer than \(lineBytesMax.grouped) bytes")
            }
            searched -= position
            buffer.removeFirst(position)
            position = 0
            let block = try input.read(upToCount: Self.blockBytes) ?? Data()
            isAtEnd = block.isEmpty
            buffer.append(contentsOf: block)
        }
    }

    private mutating func line(until end: Int) -> (number: Int, bytes: [UInt8]) {
        number += 1
        let end = end > position && buffer[end - 1] == UInt8(ascii: "\r") ? end - 1 : end
        return (number, Array(buffer[position..<end]))
    }
}
