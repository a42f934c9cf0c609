import JSON
import Testing

@Suite struct SchemaTests {
    private enum Colour: String, JSONCodable, CaseIterable { case red, green }

    private struct Size: JSONObject, Equatable {
        let width: Int
        let unit: String?

        static let schema = Schema(
            Self.init, Field("width", \.width, .integer(1...9)), Field("unit", \.unit, .token(bytesMax: 3)))
    }

    private struct Shirt: JSONObject, Equatable {
        let size: Size
        let colour: Colour
        let spare: Size?
        let washed: [Bool]

        static let schema = Schema(
            Self.init, Field(membersOf: \.size), Field("colour", \.colour), Field("spare", \.spare),
            Field("washed", \.washed, .list(of: Bool.codec, countMax: 2)))
    }

    private func read(_ text: String) throws(JSONError) -> Shirt {
        try JSONParser.parse(Array(text.utf8), Shirt.init(json:))
    }

    @Test func aSchemaReadsWhatItWritesInItsOrder() throws {
        let shirt = Shirt(
            size: Size(width: 7, unit: "cm"), colour: .green, spare: Size(width: 1, unit: nil), washed: [true, false])
        let text = #"{"width":7,"unit":"cm","colour":"green","spare":{"width":1},"washed":[true,false]}"#
        #expect(String(decoding: JSONWriter.document(shirt), as: UTF8.self) == text)
        #expect(try read(text) == shirt)
    }

    @Test func whatMayBeMissingMayBeNull() throws {
        let shirt = Shirt(size: Size(width: 1, unit: nil), colour: .red, spare: nil, washed: [])
        #expect(try read(#"{"washed":[],"colour":"red","width":1.0}"#) == shirt)
        #expect(try read(#"{"washed":[],"colour":"red","width":1e0,"unit":null,"spare":null,"x":1e999}"#) == shirt)
    }

    @Test(arguments: [
        (#"{"colour":"red","washed":[]}"#, "width: expected an integer from 1 to 9"),
        (#"{"width":10,"colour":"red","washed":[]}"#, "width: expected an integer from 1 to 9"),
        (#"{"width":1,"unit":7,"colour":"red","washed":[]}"#, "unit: expected a string"),
        (
            #"{"width":1,"unit":"long","colour":"red","washed":[]}"#,
            "unit: expected a string of 1 to 3 visible characters of ASCII"
        ),
        (#"{"width":1,"colour":"blue","washed":[]}"#, "colour: expected one of red, green"),
        (#"{"width":1,"washed":[]}"#, "colour: expected one of red, green"),
        (#"{"width":1,"colour":"red"}"#, "washed: expected an array"),
        (#"{"width":1,"colour":"red","washed":[1]}"#, "washed[0]: expected true or false"),
        (#"{"width":1,"colour":"red","washed":[true,true,true]}"#, "washed: expected an array of at most 2 elements"),
        (
            #"{"width":1,"colour":"red","washed":[],"spare":{"width":0}}"#,
            "spare.width: expected an integer from 1 to 9"
        ),
        (#"{"width":1,"colour":"red","washed":[],"washed":[]}"#, "washed: expected one member of this name"),
    ])
    func anErrorSaysWhereItIsAndWhatWasExpected(text: String, message: String) {
        let error = #expect(throws: JSONError.self) { try read(text) }
        #expect(error?.description == message)
    }

    @Test func aSchemaTellsItsMembers() {
        #expect(Shirt.schema.members.map(\.name) == ["width", "unit", "colour", "spare", "washed"])
        #expect(Shirt.schema.members.filter(\.isRequired).map(\.name) == ["width", "colour", "washed"])
        #expect(Shirt.schema.members[2].shape == .choice(["red", "green"]))
    }

    @Test func anAlphabetIsWhatARegularExpressionSays() throws {
        for alphabet in [Alphabet("a-z0-9-"), Alphabet("A-Za-z0-9._-"), .visible, Alphabet("x"), Alphabet("-")] {
            let expression = try Regex("[\(alphabet.text)]")
            for byte in UInt8.min...127 {
                let isMatched = String(UnicodeScalar(byte)).wholeMatch(of: expression) != nil
                #expect(alphabet.contains(byte) == isMatched, "\(alphabet.text): \(byte)")
            }
            for byte in 128...UInt8.max { #expect(!alphabet.contains(byte)) }
        }
    }
}
