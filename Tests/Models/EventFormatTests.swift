// The lean reader and writer of every event against Foundation's, which say the same format by other means.
import Foundation
import JSON
import Models
import TestSupport
import Testing

@Suite struct EventFormatTests {
    @Test func everyEventHasATypeOfItsOwn() {
        let types = eventSamples.map(\.type)
        #expect(Set(types).count == types.count)
        for type in types { #expect(type.wholeMatch(of: /stampede\.[a-z]+\.[a-z]+\.v[1-9]/) != nil, "\(type)") }
    }

    @Test(arguments: eventSamples.indices) func whatOneSideWritesTheOtherReads(index: Int) throws {
        try check(eventSamples[index])
    }

    private func check<Payload>(_ sample: some AnyEventSample<Payload>) throws {
        var random = SeededRandom(seed: 5)
        let encoder = JSONEncoder()
        let decoder = JSONDecoder()
        for _ in 0..<100 {
            let event = sample.make(&random)
            let lean = JSONWriter.document(event)
            let foundation = Array(try encoder.encode(event))
            #expect(try decoder.decode(Payload.self, from: Data(lean)) == event)
            #expect(try JSONParser.parse(foundation, Payload.init(json:)) == event)
            #expect(try JSONParser.parse(lean, Payload.init(json:)) == event)
            #expect(try DocumentTree(json: lean) == DocumentTree(json: foundation))
        }
    }

    @Test(arguments: eventSamples.indices) func membersThatAreNotKnownAreIgnored(index: Int) throws {
        try checkUnknown(eventSamples[index])
    }

    private func checkUnknown<Payload>(_ sample: some AnyEventSample<Payload>) throws {
        var random = SeededRandom(seed: 6)
        let event = sample.make(&random)
        var members = try DocumentTree(json: JSONWriter.document(event)).members
        members["aMemberOfANewerVersion"] = .object(["deep": .array([.null])])
        #expect(try JSONParser.parse(DocumentTree.object(members).json, Payload.init(json:)) == event)
    }

    /// Takes each member away, and puts a value of every other kind in its place: nothing but a `JSONError` may come of
    /// it, one that names the member, and never an event where a required member is gone.
    @Test(arguments: eventSamples.indices) func aMemberThatIsMissingOrWrongIsNamed(index: Int) throws {
        try checkHostile(eventSamples[index])
    }

    private func checkHostile<Payload>(_ sample: some AnyEventSample<Payload>) throws {
        var random = SeededRandom(seed: 7)
        let wrong: [DocumentTree] = [
            .integer(-1), .integer(.max), .integer(.min), .string(""), .string(String(repeating: "x", count: 9000)),
            .string("x"), .array([.null]), .object([:]), .object(["x": .array([])]), .boolean(true), .number(0.5),
            .array(Array(repeating: .object([:]), count: 101)),
        ]
        var refused = 0
        for _ in 0..<6 {
            let document = try DocumentTree(json: JSONWriter.document(sample.make(&random)))
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

    @Test(arguments: ["null", "[]", "1", "\"x\"", "true", "{}"])
    func whatIsNoObjectIsNoEvent(text: String) {
        for sample in eventSamples {
            let isRead = reads(sample, text)
            #expect(!isRead, "\(sample.type)")
        }
    }

    private func reads<Payload>(_ sample: some AnyEventSample<Payload>, _ text: String) -> Bool {
        (try? JSONParser.parse(Array(text.utf8), Payload.init(json:))) != nil
    }

    @Test func randomDamageNeverEndsTheProgram() {
        var random = SeededRandom(seed: 8)
        for sample in eventSamples { damage(sample, &random) }
    }

    private func damage<Payload>(_ sample: some AnyEventSample<Payload>, _ random: inout SeededRandom) {
        for _ in 0..<200 {
            var bytes = JSONWriter.document(sample.make(&random))
            for _ in 0..<random.int(in: 1...4) {
                bytes[random.int(in: 0...bytes.count - 1)] = UInt8(random.int(in: 0...255))
            }
            guard let event = try? JSONParser.parse(bytes, Payload.init(json:)) else { continue }
            // What was read can be written and read again.
            #expect((try? JSONParser.parse(JSONWriter.document(event), Payload.init(json:))) == event)
        }
    }
}
