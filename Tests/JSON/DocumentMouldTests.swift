// A document that is read by the mould of another says what the parser would read.
import JSON
import TestSupport
import Testing

@Suite struct DocumentMouldTests {
    private static let first = "01234567-89ab-7def-8123-456789abcdef"
    private static let second = "fedcba98-7654-7321-8fed-cba987654321"

    private static func document(_ one: String, _ two: String, text: String = "mi3", number: Int = 1) -> String {
        #"{ "a" : "\#(one)","text":"\#(text)","n":\#(number),"same":"\#(first)","b":"\#(two)"}"#
    }

    private static func mould(_ document: String, _ members: [StaticString] = ["b", "a"]) throws -> DocumentMould? {
        let bytes = Array(document.utf8)
        return try JSONParser.parse(bytes) { (json) throws(JSONError) in
            DocumentMould(bytes, json, uuids: members)
        }
    }

    private static func read(_ mould: DocumentMould, _ bytes: [UInt8]) -> [[UInt64]]? {
        mould.read(bytes) { $0.map { [$0.high, $0.low] } }
    }

    private static func parsed(_ bytes: [UInt8]) -> [[UInt64]]? {
        try? JSONParser.parse(bytes) { (json) throws(JSONError) in
            try ["b", "a"].map { (name: StaticString) throws(JSONError) in
                let (high, low) = try json.uuid(name)
                return [high, low]
            }
        }
    }

    @Test func alikeDocumentsAreReadAndOthersAreNot() throws {
        let mould = try #require(try Self.mould(Self.document(Self.first, Self.second)))
        let alike = Self.document(Self.second.uppercased(), Self.first)
        #expect(Self.read(mould, Array(alike.utf8)) == Self.parsed(Array(alike.utf8)))
        #expect(Self.read(mould, Array(alike.utf8))?[0] == [0x0123_4567_89ab_7def, 0x8123_4567_89ab_cdef])
        for other in [
            Self.document(Self.second, Self.first, text: "mi4"), Self.document(Self.second, Self.first, number: 2),
            Self.document(Self.second, Self.first) + " ", "", Self.document("x" + Self.second.dropFirst(), Self.first),
            Self.document(#"\u0030\u0031\u0032\u0033\u0034\u0035"#, Self.second),
        ] {
            #expect(Self.read(mould, Array(other.utf8)) == nil, "\(other)")
        }
    }

    @Test func whatIsEscapedOrNoUUIDMakesNoMould() throws {
        #expect(try Self.mould(Self.document(Self.first, Self.second, text: #"\u006di3"#)) == nil)
        #expect(try Self.mould(#"{"a":"\u0030\#(Self.first.dropFirst())","b":"\#(Self.second)"}"#) == nil)
        #expect(try Self.mould(#"{"a":"x","b":"\#(Self.second)"}"#) == nil)
        #expect(try Self.mould(#"{"a":1,"b":"\#(Self.second)"}"#) == nil)
        #expect(try Self.mould(#"{"b":"\#(Self.second)"}"#) == nil)
        #expect(try Self.mould("[]") == nil)
    }

    /// Every byte of a document as every other byte: what the mould reads is what the parser reads.
    @Test func noByteMakesADocumentSayWhatTheParserDoesNotRead() throws {
        let document = Array(Self.document(Self.first, Self.second).utf8)
        let mould = try #require(try Self.mould(Self.document(Self.second, Self.first)))
        var read = 0
        for place in document.indices {
            for byte in UInt8.min...UInt8.max {
                var other = document
                other[place] = byte
                guard let found = Self.read(mould, other) else { continue }
                read += 1
                #expect(found == Self.parsed(other))
            }
        }
        #expect(read > 1000)
    }
}
