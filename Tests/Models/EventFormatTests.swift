// Reader and writer of every event against what its schema says, by documents that are made of it.
import Foundation
import JSON
import Models
import TestSupport
import Testing

@Suite struct EventFormatTests {
    @Test func everyEventHasATypeOfItsOwn() {
        let types = Topic.allEvents.map { $0.type }
        #expect(Set(types).count == types.count)
        for type in types { #expect(type.wholeMatch(of: /stampede\.[a-z]+\.[a-z]+\.v[1-9]/) != nil, "\(type)") }
    }

    @Test func everyEventThatIsDeclaredStandsOnATopic() throws {
        let folder = Repository.root.appending(path: "Shared/Models/Events")
        let files = try FileManager.default.contentsOfDirectory(at: folder, includingPropertiesForKeys: nil)
        let declared = try files.flatMap { file in
            try String(contentsOf: file, encoding: .utf8).matches(of: /static let type = "([^"]+)"/).map {
                String($0.1)
            }
        }
        #expect(declared.sorted() == Topic.allEvents.map { $0.type }.sorted())
    }

    /// Foundation reads what is written; a member that changed places with another would come out in its place.
    @Test(arguments: Topic.allEvents.indices) func whatIsReadIsWrittenAsItCame(index: Int) throws {
        try check(Topic.allEvents[index])
    }

    private func check<Payload: EventPayload>(_ type: Payload.Type) throws {
        var random = SeededRandom(seed: 5)
        for _ in 0..<100 {
            let document = Payload.shape.sample(&random)
            let event = try JSONParser.parse(document.json, Payload.init(json:))
            let written = JSONWriter.document(event)
            #expect(try DocumentTree(json: written) == document)
            #expect(try JSONParser.parse(written, Payload.init(json:)) == event)
        }
    }

    /// Whatever came before: an order that is read by another's bytes is the one that the parser reads.
    @Test func alikeOrdersAreReadAsTheyWouldBeParsed() throws {
        var random = SeededRandom(seed: 11)
        let alike = AlikeOrders()
        var (known, order) = (0, try OrderPlaced.sample(&random))
        for number in 0..<3000 {
            if random.int(in: 0...9) == 0 { order = try OrderPlaced.sample(&random) }
            let id = number % 50 == 0 ? OrderID(high: 0, low: 0) : OrderID(high: random.next(), low: random.next())
            let next = OrderPlaced(
                orderId: id, saleId: order.saleId, batch: order.batch, variant: order.variant,
                buyerId: random.bool() ? AccountID(high: random.next(), low: random.next()) : order.buyerId)
            let body = JSONWriter.document(next)
            if let read = alike.order(body) {
                known += 1
                #expect(read == next && id.high | id.low != 0)
                continue
            }
            try? JSONParser.parse(body) { (json) throws(JSONError) in
                alike.learn(try OrderPlaced(json: json), json, of: body)
            }
        }
        #expect(known > 2000)
    }

    @Test(arguments: Topic.allEvents.indices) func membersStandInTheOrderOfTheSchema(index: Int) throws {
        try checkOrder(Topic.allEvents[index])
    }

    private func checkOrder<Payload: EventPayload>(_ type: Payload.Type) throws {
        var random = SeededRandom(seed: 9)
        for _ in 0..<10 {
            let written = JSONWriter.document(try Payload.sample(&random))
            let names = try JSONParser.parse(written) { (json) throws(JSONError) in
                try json.members(countMax: 64) { (name, _) throws(JSONError) in name }
            }
            #expect(names == Payload.schema.members.map(\.name).filter(names.contains))
        }
    }

    /// At each bound of each member, and one beyond it.
    @Test(arguments: Topic.allEvents.indices) func boundsAreThoseOfTheSchema(index: Int) throws {
        try checkBounds(Topic.allEvents[index])
    }

    private func checkBounds<Payload: EventPayload>(_ type: Payload.Type) throws {
        var random = SeededRandom(seed: 10)
        for edge in Payload.shape.edges(&random) {
            do throws(JSONError) {
                let event = try JSONParser.parse(edge.value.json, Payload.init(json:))
                #expect(edge.isTaken, "\(Payload.type): \(edge.path) was taken")
                #expect((try? DocumentTree(json: JSONWriter.document(event))) == edge.value, "\(edge.path)")
            } catch {
                #expect(!edge.isTaken, "\(Payload.type): \(error) for \(edge.path)")
                #expect(error.path.hasPrefix(edge.path), "\(Payload.type): \(error) for \(edge.path)")
            }
        }
    }

    /// What is read and written by hand reads, refuses and writes what the schema does, in the same words and bytes.
    @Test(arguments: Topic.allEvents.indices) func whatIsDoneByHandIsWhatTheSchemaDoes(index: Int) throws {
        try checkByHand(Topic.allEvents[index])
    }

    private func checkByHand<Payload: EventPayload>(_ type: Payload.Type) throws {
        var random = SeededRandom(seed: 11)
        var refused = 0
        for round in 0..<20 {
            let document = Payload.shape.sample(&random)
            let event = try JSONParser.parse(document.json, Payload.init(json:))
            var writer = JSONWriter()
            Payload.schema.write(event, to: &writer)
            #expect(writer.bytes == JSONWriter.document(event))
            for damage in round < 4 ? document.damages : [] {
                let byHand = result(damage.bytes, Payload.init(json:))
                #expect(byHand == result(damage.bytes, Payload.schema.read), "\(Payload.type): \(damage.field ?? "")")
                if case .failure = byHand { refused += 1 }
            }
        }
        #expect(refused > 0)
    }

    private func result<Payload: EventPayload>(
        _ bytes: [UInt8], _ reader: (JSONValue) throws(JSONError) -> Payload
    ) -> Result<Payload, JSONError> {
        do throws(JSONError) { return .success(try JSONParser.parse(bytes, reader)) } catch { return .failure(error) }
    }

    @Test(arguments: Topic.allEvents.indices) func membersThatAreNotKnownAreIgnored(index: Int) throws {
        try checkUnknown(Topic.allEvents[index])
    }

    private func checkUnknown<Payload: EventPayload>(_ type: Payload.Type) throws {
        var random = SeededRandom(seed: 6)
        let event = try Payload.sample(&random)
        var members = try DocumentTree(json: JSONWriter.document(event)).members
        members["aMemberOfANewerVersion"] = .object(["deep": .array([.null])])
        #expect(try JSONParser.parse(DocumentTree.object(members).json, Payload.init(json:)) == event)
    }

    /// Takes each member away, and puts a value of every other kind in its place: nothing but a `JSONError` may come of
    /// it, one that names the member, and never an event where a required member is gone.
    @Test(arguments: Topic.allEvents.indices) func aMemberThatIsMissingOrWrongIsNamed(index: Int) throws {
        try checkHostile(Topic.allEvents[index])
    }

    private func checkHostile<Payload: EventPayload>(_ type: Payload.Type) throws {
        var random = SeededRandom(seed: 7)
        let wrong: [DocumentTree] = [
            .integer(-1), .integer(.max), .integer(.min), .string(""), .string(String(repeating: "x", count: 9000)),
            .string("x"), .array([.null]), .object([:]), .object(["x": .array([])]), .boolean(true), .number(0.5),
            .array(Array(repeating: .object([:]), count: 101)),
        ]
        var refused = 0
        for _ in 0..<6 {
            let document = Payload.shape.sample(&random)
            for name in document.members.keys {
                for value in wrong + [.null] {
                    var members = document.members
                    members[name] = value == .null ? nil : value
                    do throws(JSONError) {
                        let read = try JSONParser.parse(DocumentTree.object(members).json, Payload.init(json:))
                        // What was taken must come out as it went in.
                        let written = JSONWriter.document(read)
                        #expect((try? DocumentTree(json: written))?[name] == (value == .null ? nil : value))
                    } catch {
                        refused += 1
                        #expect(error.path.hasPrefix(name), "\(Payload.type): \(error) for \(name)")
                    }
                }
            }
        }
        #expect(refused > 0)
    }

    @Test(arguments: Topic.allEvents.indices) func aMemberThatStandsTwiceIsRefused(index: Int) throws {
        try checkTwice(Topic.allEvents[index])
    }

    private func checkTwice<Payload: EventPayload>(_ type: Payload.Type) throws {
        var random = SeededRandom(seed: 12)
        let written = JSONWriter.document(try Payload.sample(&random))
        let name = try #require(Payload.schema.members.first?.name)
        let twice = Array("{\"\(name)\":1,".utf8) + written.dropFirst()
        #expect(throws: JSONError(path: name, expected: "one member of this name")) {
            try JSONParser.parse(twice, Payload.init(json:))
        }
    }

    @Test(arguments: ["null", "[]", "1", "\"x\"", "true", "{}"])
    func whatIsNoObjectIsNoEvent(text: String) {
        for type in Topic.allEvents {
            let isRead = reads(type, text)
            #expect(!isRead, "\(type.type)")
        }
    }

    private func reads<Payload: EventPayload>(_ type: Payload.Type, _ text: String) -> Bool {
        (try? JSONParser.parse(Array(text.utf8), Payload.init(json:))) != nil
    }

    @Test func randomDamageNeverEndsTheProgram() throws {
        var random = SeededRandom(seed: 8)
        for type in Topic.allEvents { try damage(type, &random) }
    }

    private func damage<Payload: EventPayload>(_ type: Payload.Type, _ random: inout SeededRandom) throws {
        for _ in 0..<200 {
            var bytes = JSONWriter.document(try Payload.sample(&random))
            for _ in 0..<random.int(in: 1...4) {
                bytes[random.int(in: 0...bytes.count - 1)] = UInt8(random.int(in: 0...255))
            }
            guard let event = try? JSONParser.parse(bytes, Payload.init(json:)) else { continue }
            // What was read can be written and read again.
            #expect((try? JSONParser.parse(JSONWriter.document(event), Payload.init(json:))) == event)
        }
    }
}
