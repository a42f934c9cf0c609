// Dead letters: records that a service could not process, with why, and sending them again.
import JSON
import Kafka
import Models
import Observability

/// A dead letter's headers, as the services write them.
struct DeadLetter {
    let record: ConsumedRecord

    func fact(_ name: String) -> String {
        record.header(named: "stampede-dead-\(name)").map { String(decoding: $0, as: UTF8.self) } ?? ""
    }

    var reason: String { fact("reason") }
    var service: String { fact("service") }
    var time: String { fact("time") }
    /// Where the record stood: `orders/3/1042`.
    var origin: String { "\(fact("topic"))/\(fact("partition"))/\(fact("offset"))" }
    /// Where the dead letter stands: `orders.dead/0/12`.
    var place: String { "\(record.topic)/\(record.partition)/\(record.offset)" }
}

/// Which dead letters: a topic's, or one by its place.
struct DeadPlace: Equatable {
    let topic: Topic
    let position: Position?

    struct Position: Equatable {
        let partition: Int32
        let offset: Int64
    }

    /// `orders`, `orders.dead` or `orders.dead/0/12`.
    init(_ text: String) throws(UsageError) {
        let parts = text.split(separator: "/", omittingEmptySubsequences: false)
        guard let topic = TopicPlan.deadLetters(named: String(parts[0])) else {
            throw UsageError("'\(parts[0])': expected one of \(Topic.allCases.map(\.name).joined(separator: ", "))")
        }
        self.topic = topic
        switch parts.count {
        case 1: position = nil
        case 3:
            guard let partition = Int32(parts[1]), let offset = Int64(parts[2]), partition >= 0, offset >= 0 else {
                fallthrough
            }
            position = Position(partition: partition, offset: offset)
        default: throw UsageError("'\(text)': expected TOPIC.dead/PARTITION/OFFSET, as 'dead list' prints it")
        }
    }

    func contains(_ record: ConsumedRecord) -> Bool {
        position.map { $0.partition == record.partition && $0.offset == record.offset } ?? true
    }

    /// Every dead letter of it that the log holds when the scan begins.
    func scan(_ kafka: KafkaConfiguration, _ body: (ConsumedRecord) async throws -> Void) async throws {
        let start = position.map { TopicReader.Start.offsets([$0.partition: $0.offset]) } ?? .beginning
        let scan = try await TopicScan(kafka, topic: topic.deadLetters, from: start, toEnd: true, recordsMax: 500)
        while let batches = try await scan.next() {
            for batch in batches {
                for record in batch where contains(record) && scan.includes(record) { try await body(record) }
            }
        }
        await scan.close()
    }
}

struct DeadListCommand: Command {
    static let description = CommandDescription(
        "dead list", "the records that could not be processed, and why", words: ["[TOPIC…]"],
        options: [Option("limit", "N", "of each topic the last so many", default: "100"), .json],
        details: "Without TOPIC those of all. Exit code 0 whether there are any or not.")

    private let kafka: KafkaConfiguration
    private let places: [DeadPlace]
    private let limit: Int
    private let json: Bool

    init(_ arguments: Arguments, _ settings: Settings) throws {
        kafka = try settings.kafka(clientID: "stampede-dead")
        let names = arguments.words.isEmpty ? Topic.allCases.map(\.name) : arguments.words
        places = try names.map { try DeadPlace($0) }
        limit = try arguments.integer("limit", in: 1...100_000)
        json = arguments.has("json")
    }

    /// What is shown of one; the record itself is not kept.
    private struct Line {
        let cells: [String]
        let json: [UInt8]
    }

    func run(_ console: Console) async throws -> ExitCode {
        var table = Table([
            ("dead letter", .left), ("came from", .left), ("when", .left), ("by", .left), ("bytes", .right),
            ("why", .left),
        ])
        var writer = JSONWriter()
        var total = 0
        for place in places {
            var last: [Line] = []
            try await place.scan(kafka) { record in
                total += 1
                last.append(line(DeadLetter(record: record)))
                // Half of the list goes at a time: dropping one by one would move all the others each time.
                if last.count >= 2 * limit { last.removeFirst(last.count - limit) }
            }
            for line in last.suffix(limit) {
                table.add(line.cells)
                writer.value(document: line.json)
            }
        }
        if json {
            console.print(json: Array("[".utf8) + writer.bytes + Array("]".utf8))
        } else {
            console.print(total == 0 ? "no dead letters" : "\(table.text)\n\(total.grouped) dead letters")
        }
        return .success
    }

    private func line(_ letter: DeadLetter) -> Line {
        var writer = JSONWriter()
        writer.object {
            $0.field("place", letter.place)
            $0.field("origin", letter.origin)
            $0.field("time", letter.time)
            $0.field("service", letter.service)
            $0.field("bytes", letter.record.value?.count ?? 0)
            $0.field("reason", letter.reason)
        }
        return Line(
            cells: [
                letter.place, letter.origin, letter.time, letter.service, (letter.record.value?.count ?? 0).grouped,
                RecordText.printable(letter.reason.utf8, bytesMax: 200),
            ], json: writer.bytes)
    }
}

struct DeadShowCommand: Command {
    static let description = CommandDescription(
        "dead show", "one dead letter with its headers", words: ["PLACE"], options: [.json],
        details: "PLACE is as 'dead list' prints it: orders.dead/0/12.")

    private let kafka: KafkaConfiguration
    private let place: DeadPlace
    private let json: Bool

    init(_ arguments: Arguments, _ settings: Settings) throws {
        kafka = try settings.kafka(clientID: "stampede-dead")
        place = try DeadPlace(arguments.words[0])
        guard place.position != nil else { throw UsageError("expected TOPIC.dead/PARTITION/OFFSET") }
        json = arguments.has("json")
    }

    func run(_ console: Console) async throws -> ExitCode {
        var isFound = false
        try await place.scan(kafka) { record in
            isFound = true
            if json {
                console.print(json: RecordText.json(record))
            } else {
                for header in record.headers {
                    console.print("\(header.name): \(RecordText.printable(header.value, bytesMax: 1000))")
                }
                console.print("key: \(record.key.map { RecordText.printable($0, bytesMax: 1000) } ?? "(none)")")
                console.print(record.value.map { "\n\(RecordText.printable($0, bytesMax: 100_000))" } ?? "\n(null)")
            }
        }
        guard isFound else { throw CommandError(.foundWrong, "there is no such dead letter") }
        return .success
    }
}

struct DeadReplayCommand: Command {
    static let description = CommandDescription(
        "dead replay", "send dead letters to their topic again", words: ["PLACE…"], options: [.json],
        details: """
            PLACE is one dead letter, orders.dead/0/12, or all of a topic: orders. The record goes out as it first came; one
            that is still broken comes back. What was processed meanwhile is recognised by its ID and not done twice.
            """)

    private let kafka: KafkaConfiguration
    private let places: [DeadPlace]
    private let json: Bool

    init(_ arguments: Arguments, _ settings: Settings) throws {
        kafka = try settings.kafka(clientID: "stampede-dead")
        places = try arguments.words.map { try DeadPlace($0) }
        json = arguments.has("json")
    }

    func run(_ console: Console) async throws -> ExitCode {
        let producer = try KafkaProducer(
            kafka, log: Logger(service: "stampede-dead", level: .warning), metrics: Metrics(), giveUpSeconds: 30)
        var replayed = 0
        var cut = 0
        var batch = RecordBatch()
        func send() async throws {
            try await producer.send(batch)
            replayed += batch.count
            batch.removeAll()
        }
        do {
            for place in places {
                // What is still broken comes back behind the scan's end, and is left for the next time.
                try await place.scan(kafka) { record in
                    // Only its beginning is there: it would come back for another reason than its own.
                    if record.header(named: "stampede-dead-kept") != nil {
                        cut += 1
                        return
                    }
                    Self.append(record, topic: place.topic, to: &batch)
                    if batch.count >= Self.batchRecordsMax || batch.bytes.count >= Self.batchBytesMax {
                        try await send()
                    }
                }
            }
            try await send()
        } catch {
            await producer.close(timeoutSeconds: 10)
            throw error
        }
        await producer.close(timeoutSeconds: 10)
        console.print(json ? "{\"replayed\":\(replayed)}" : "replayed \(replayed.grouped)")
        if cut > 0 { console.complain("\(cut.grouped) left where they are: only their beginnings were kept") }
        guard replayed + cut > 0 else { throw CommandError(.foundWrong, "there is no such dead letter") }
        return .success
    }

    private static let batchRecordsMax = 1_000
    private static let batchBytesMax = 4 << 20

    /// Adds the record as it first came.
    private static func append(_ record: ConsumedRecord, topic: Topic, to batch: inout RecordBatch) {
        let headers = record.headers.filter { !$0.name.hasPrefix("stampede-dead-") }
        batch.append(
            topic: topic.name, key: record.key.map { Array($0) }, value: record.value.map { Array($0) },
            headers: headers.map { ($0.name, $0.value) })
    }
}
