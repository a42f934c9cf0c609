// `docs/asyncapi.yaml` against the models and the topics' settings.
import JSON
import TestSupport
import Testing

@testable import Models

@Suite struct AsyncAPITests {
    private let document: DocumentTree

    init() throws { document = try Repository.yaml("docs/asyncapi.yaml") }

    private func resolved(_ value: DocumentTree?) -> DocumentTree? {
        value?["$ref"]?.string.flatMap(document.resolve) ?? value
    }

    private var messages: [String: DocumentTree] { document["components"]?["messages"]?.members ?? [:] }
    private var channels: [String: DocumentTree] { document["channels"]?.members ?? [:] }

    @Test func itIsVersion3AndRefersToNothingThatIsNotThere() {
        #expect(document["asyncapi"] == .string("3.0.0"))
        #expect(document.references.filter { document.resolve($0) == nil } == [])
        let used = Set(document.references)
        let schemas = document["components"]?["schemas"]?.members.keys.map { "#/components/schemas/\($0)" } ?? []
        #expect(schemas.filter { !used.contains($0) } == [])
    }

    @Test func everyTopicIsAChannelWithItsSettings() throws {
        #expect(Set(channels.keys) == Set(Topic.allCases.map(\.name) + ["deadLetters"]))
        for topic in Topic.allCases {
            let channel = try #require(channels[topic.name])
            #expect(channel["address"] == .string(topic.name))
            let kafka = try #require(channel["bindings"]?["kafka"])
            #expect(kafka["topic"] == .string(topic.name))
            #expect(kafka["partitions"] == .integer(Int64(topic.partitions)))
            var settings: [String: DocumentTree] = [
                "cleanup.policy": .array([.string(topic.isCompacted ? "compact" : "delete")])
            ]
            if !topic.isCompacted { settings["retention.ms"] = .integer(Int64(topic.retentionHours) * 3_600_000) }
            if topic.usesLogAppendTime { settings["message.timestamp.type"] = .string("LogAppendTime") }
            #expect(kafka["topicConfiguration"] == .object(settings), "\(topic)")
            let owner = topic.owner == "open" ? "Open to every publisher" : "Owned by \(topic.owner)."
            #expect(channel["description"]?.string?.hasPrefix(owner) == true, "\(topic)")
        }
        let dead = try #require(channels["deadLetters"])
        #expect(dead["address"] == .string("{topic}.dead"))
        #expect(dead["parameters"]?["topic"]?["enum"]?.elements.compactMap(\.string) == Topic.allCases.map(\.name))
        let kept = dead["bindings"]?["kafka"]?["topicConfiguration"]?["retention.ms"]
        #expect(kept == .integer(Int64(Topic.deadLetterRetentionHours) * 3_600_000))
    }

    @Test func everyEventIsAMessageOfItsTopicAndNoOtherIs() throws {
        var documented: [String: String] = [:]
        for (topic, channel) in channels where topic != "deadLetters" {
            for reference in channel["messages"]?.members.values ?? [:].values {
                let message = try #require(resolved(reference))
                if let type = message["headers"]?["properties"]?["ce_type"]?["const"]?.string {
                    #expect(message["name"] == .string(type))
                    #expect(documented.updateValue(topic, forKey: type) == nil, "\(type) stands on two topics")
                }
            }
        }
        let published = Dictionary(
            uniqueKeysWithValues: Topic.allCases.flatMap { topic in topic.events.map { ($0.type, topic.name) } })
        #expect(documented == published)
    }

    @Test(arguments: [
        "docs/asyncapi.yaml", "docs/openapi/catalog.yaml", "docs/openapi/messaging.yaml", "docs/openapi/payment.yaml",
    ])
    func theCurrenciesAreThoseThatAreTaken(path: String) throws {
        let document = try Repository.yaml(path)
        let schema = try #require(document.resolve("#/components/schemas/Currency"))
        #expect(schema["enum"]?.elements.compactMap(\.string) == Currency.codes.sorted())
    }

    @Test func onlyCompactedTopicsHaveTombstones() {
        for (topic, channel) in channels where channel["messages"]?["tombstone"] != nil {
            #expect(Topic(rawValue: topic)?.isCompacted == true)
        }
    }

    /// Names, types, bounds, enumerations, and which members are always there: no more and no less than the program declares.
    @Test(arguments: Topic.allEvents.indices) func thePayloadOfAnEventIsWhatIsDeclared(index: Int) throws {
        let event = Topic.allEvents[index]
        let documented = JSONSchema(try payload(of: event.type), in: document).rules
        let declared = event.shape.jsonSchema
        let members = [documented, declared].map { $0["properties"]?.members ?? [:] }
        for name in Set(members[0].keys).union(members[1].keys) {
            #expect(members[0][name] == members[1][name], "\(event.type): \(name)")
        }
        #expect(documented == declared, "\(event.type)")
    }

    @Test(arguments: Topic.allEvents.indices) func whatIsWrittenFitsItsSchema(index: Int) throws {
        try checkFit(Topic.allEvents[index])
    }

    private func checkFit<Payload: EventPayload>(_ type: Payload.Type) throws {
        let schema = JSONSchema(try payload(of: Payload.type), in: document)
        var random = SeededRandom(seed: 14)
        for _ in 0..<40 {
            let written = JSONWriter.document(try Payload.sample(&random))
            #expect(schema.problems(try DocumentTree(json: written)) == [], "\(Payload.type)")
        }
    }

    /// What the document forbids the reader refuses: one member gone or out of its bounds at a time.
    @Test(arguments: Topic.allEvents.indices) func whatTheDocumentForbidsIsRefused(index: Int) throws {
        let event = Topic.allEvents[index]
        let schema = JSONSchema(try payload(of: event.type), in: document)
        var random = SeededRandom(seed: 15)
        let wrong: [DocumentTree] = [
            .integer(-1), .integer(0), .integer(Int64.max), .string(""), .string("x"), .boolean(true), .number(0.5),
            .array([.integer(1)]), .object([:]), .array(Array(repeating: .object([:]), count: 101)),
            .string(String(repeating: "x", count: 9000)),
        ]
        for _ in 0..<4 {
            let good = event.shape.sample(&random).members
            for name in good.keys {
                for value in wrong.map(Optional.some) + [nil] {
                    var members = good
                    members[name] = value
                    let isForbidden = !schema.problems(.object(members)).isEmpty
                    if isForbidden {
                        let isTaken = isRead(event, DocumentTree.object(members).json)
                        #expect(!isTaken, "\(event.type): \(name) = \(String(describing: value))")
                    }
                }
            }
        }
    }

    @Test func theExamplesAreEvents() throws {
        var count = 0
        for message in messages.values {
            for example in message["examples"]?.elements ?? [] {
                let type = try #require(message["name"]?.string)
                let event = try #require(Topic.allEvents.first { $0.type == type })
                let body = try #require(example["payload"])
                let isEvent = isRead(event, body.json)
                #expect(isEvent, "\(type)")
                let headers = try #require(message["headers"])
                #expect(JSONSchema(headers, in: document).problems(try #require(example["headers"])) == [])
                count += 1
            }
        }
        #expect(count > 0)
    }

    private func payload(of type: String) throws -> DocumentTree {
        let message = try #require(messages.values.first { $0["name"]?.string == type }, "\(type) is not documented")
        return try #require(resolved(message["payload"]))
    }

    private func isRead<Payload: EventPayload>(_ event: Payload.Type, _ bytes: [UInt8]) -> Bool {
        (try? JSONParser.parse(bytes, Payload.init(json:))) != nil
    }
}
