import JSON
import TestSupport
import Testing

@Suite struct JSONValueTests {
    private func read<T>(_ text: String, _ body: (JSONValue) throws(JSONError) -> T) throws(JSONError) -> T {
        try JSONParser.parse(Array(text.utf8), body)
    }

    private func problem<T>(_ text: String, _ body: (JSONValue) throws(JSONError) -> T) -> String? {
        do throws(JSONError) {
            _ = try read(text, body)
            return nil
        } catch {
            return error.description
        }
    }

    @Test func everyKindIsTold() throws {
        let kinds = try read(#"[{}, [], "", 1, -9223372036854775808, 9223372036854775808, 1.5, true, false, null]"#) {
            (json) throws(JSONError) in try json.elements(countMax: 10) { (value) throws(JSONError) in value.kind }
        }
        #expect(
            kinds == [.object, .array, .string, .integer, .integer, .number, .number, .boolean, .boolean, .null])
    }

    @Test func aMissingANullAndAWrongMemberAreNamed() {
        for text in ["{}", #"{"a":null}"#, #"{"a":1}"#, #"{"a":""}"#, "[]", "1", "\"a\""] {
            #expect(
                problem(text) { (json) throws(JSONError) in try json.string("a") }?.hasPrefix("a: expected a string")
                    == true)
        }
        #expect(
            problem(#"{"a":"1"}"#) { (json) throws(JSONError) in try json.integer("a", in: 1...100) }
                == "a: expected an integer from 1 to 100")
        #expect(
            problem(#"{"a":1}"#) { (json) throws(JSONError) in try json.boolean("a") } == "a: expected true or false")
        #expect(problem(#"{"a":"x"}"#) { (json) throws(JSONError) in try json.uuid("a") } == "a: expected a UUID")
    }

    @Test func anErrorNamesItsWholePath() {
        let text = #"{"batches":[{"lines":[{"units":1},{"units":-1}]}]}"#
        let found = problem(text) { (json) throws(JSONError) in
            try json.list("batches", countMax: 2) { (batch) throws(JSONError) in
                try batch.list("lines", countMax: 2) { (line) throws(JSONError) in
                    try line.integer("units", in: 0...Int64.max)
                }
            }
        }
        #expect(found == "batches[0].lines[1].units: expected an integer from 0")
    }

    @Test func optionalMembersMayBeMissingOrNullButNotWrong() throws {
        for text in ["{}", #"{"a":null}"#] {
            #expect(try read(text) { (json) throws(JSONError) in try json.optionalString("a") } == nil)
            #expect(try read(text) { (json) throws(JSONError) in try json.optionalInteger("a") } == nil)
            #expect(
                try read(text) { (json) throws(JSONError) in
                    try json.optionalList("a", countMax: 1) { (_) throws(JSONError) in 1 }
                } == nil)
        }
        #expect(problem(#"{"a":[]}"#) { (json) throws(JSONError) in try json.optionalString("a") } != nil)
        #expect(problem(#"{"a":[]}"#) { (json) throws(JSONError) in try json.optionalInteger("a") } != nil)
        #expect(
            problem(#"{"a":{}}"#) { (json) throws(JSONError) in
                try json.optionalList("a", countMax: 1) { (_) throws(JSONError) in 1 }
            } == "a: expected an array of at most 1 elements")
    }

    @Test func listsTextsAndObjectsAreBounded() {
        #expect(
            problem(#"{"a":[1,2,3]}"#) { (json) throws(JSONError) in
                try json.list("a", countMax: 2) { (_) throws(JSONError) in 1 }
            } == "a: expected an array of at most 2 elements")
        #expect(problem(#"{"a":"手机"}"#) { (json) throws(JSONError) in try json.string("a", bytesMax: 6) } == nil)
        #expect(
            problem(#"{"a":"手机"}"#) { (json) throws(JSONError) in try json.string("a", bytesMax: 5) }
                == "a: expected a string of 1 to 5 bytes")
        // Characters are Unicode's code points, as JSON Schema counts them.
        for (text, count) in [("手机", 2), ("\u{1F469}\u{200D}\u{1F467}", 3), ("e\u{301}", 2), ("\r\n", 2), ("abc", 3)] {
            let document = "{\"a\":\(String(decoding: JSONWriter.document(text), as: UTF8.self))}"
            #expect(problem(document) { (json) throws(JSONError) in try json.string("a", charactersMax: count) } == nil)
            #expect(
                problem(document) { (json) throws(JSONError) in try json.string("a", charactersMax: count - 1) }
                    == "a: expected a string of at most \(count - 1) characters")
        }
        #expect(
            problem(#"{"a":1,"b":2}"#) { (json) throws(JSONError) in
                try json.members(countMax: 1) { (_, _) throws(JSONError) in 1 }
            } == "expected an object of at most 1 members")
    }

    @Test func integersAreExactToTheLastBit() throws {
        for number in [Int64.min, -1, 0, 1, 9_007_199_254_740_993, Int64.max] {
            #expect(try read("{\"n\":\(number)}") { (json) throws(JSONError) in try json.integer("n") } == number)
        }
        for (text, number) in [
            ("1.0", 1), ("1e0", 1), ("1E2", 100), ("1e+3", 1000), ("100e-2", 1), ("-0", 0), ("0.000e5", 0), ("-0.0", 0),
            ("1.50e1", 15), ("0.1e1", 1), ("9007199254740993.0", 9_007_199_254_740_993),
            ("92233720368547758.07e2", .max),
            ("-9223372036854775808.000", .min), ("1" + String(repeating: "0", count: 400) + "e-400", 1),
            ("0e999999999999", 0),
        ] as [(String, Int64)] {
            #expect(
                try read("{\"n\":\(text)}") { (json) throws(JSONError) in try json.integer("n") } == number, "\(text)")
        }
        for text in [
            "9223372036854775808", "-9223372036854775809", "1.5", "1e-1", "1e400", "1e99999999999999999999", "\"1\"",
            "true",
            "9007199254740991.4", "1.00000000000000000000000000001", "1e-99999999999999999999", "0.5e0",
            "92233720368547758.071e2",
        ] {
            #expect(problem("{\"n\":\(text)}") { (json) throws(JSONError) in try json.integer("n") } != nil, "\(text)")
        }
    }

    /// Swift calls KELVIN SIGN and K equal; a key must not have either of them where the other is meant.
    @Test func aTokenIsOfVisibleASCII() throws {
        #expect(
            try read(#"{"a":"K30-black!~"}"#) { (json) throws(JSONError) in try json.token("a", bytesMax: 11) }
                == "K30-black!~")
        for text in ["\u{212a}30", "a b", "é", "", "a\u{7f}", "\u{ff21}", String(repeating: "k", count: 12)] {
            let document = "{\"a\":\(String(decoding: JSONWriter.document(text), as: UTF8.self))}"
            #expect(
                problem(document) { (json) throws(JSONError) in try json.token("a", bytesMax: 11) } != nil, "\(text)")
        }
    }

    @Test func halfASurrogatePairIsNoText() throws {
        for text in [#""\ud83d""#, #""x\ude00""#, #""\ude00\ud83d""#, #""\ud83d\u0041""#, #""\ud83d\ud83d\ude00""#] {
            #expect(
                problem(#"{"a":\#(text)}"#) { (json) throws(JSONError) in try json.string("a") }
                    == "a: expected a string of whole characters without U+0000")
            #expect(problem(#"{"a":\#(text)}"#) { (json) throws(JSONError) in try json.optionalString("a") } != nil)
        }
        #expect(
            try read(#"{"a":"\ud83d\uDE00!"}"#) { (json) throws(JSONError) in try json.string("a") } == "\u{1F600}!")
    }

    @Test func textWithU0000IsRefusedBecauseNoDatabaseKeepsIt() {
        #expect(problem(#"{"a":"x\u0000"}"#) { (json) throws(JSONError) in try json.string("a") } != nil)
        #expect(problem(#"{"a":"\u0000"}"#) { (json) throws(JSONError) in try json.optionalString("a") } != nil)
        #expect(
            problem(#"{"x\u0000":1}"#) { (json) throws(JSONError) in
                try json.members(countMax: 1) { (_, _) throws(JSONError) in 1 }
            } != nil)
    }

    @Test func aNameThatIsEscapedIsFound() throws {
        #expect(try read(#"{"\u0061":1}"#) { (json) throws(JSONError) in try json.integer("a") } == 1)
    }

    @Test func aMemberThatIsNotKnownIsNamed() throws {
        try read(#"{"b":1,"a":2}"#) { (json) throws(JSONError) in try json.onlyMembers(["a", "b"]) }
        #expect(
            problem(#"{"a":1,"unit":2}"#) { (json) throws(JSONError) in try json.onlyMembers(["a", "units"]) }
                == "unit: expected no such member; known are a, units")
        #expect(problem("[]") { (json) throws(JSONError) in try json.onlyMembers([]) } != nil)
    }
}

@Suite struct UUIDTextTests {
    @Test func whatIsWrittenIsReadAndFoundationAgrees() throws {
        var random = SeededRandom(seed: 3)
        for _ in 0..<2000 {
            let (high, low) = (random.next(), random.next())
            var bytes: [UInt8] = []
            UUIDText.append(high, low, to: &bytes)
            let text = String(decoding: bytes, as: UTF8.self)
            #expect(text == FoundationUUID.text(high, low))
            let read = try #require(UUIDText.parse(bytes))
            #expect(read == (high, low))
            let upper = try #require(UUIDText.parse(Array(text.uppercased().utf8)))
            #expect(upper == (high, low))
        }
    }

    @Test func whateverElseIsRefused() {
        let good = "01234567-89ab-7def-8123-456789abcdef"
        for wrong in [
            "", "0123", good + "0", String(good.dropLast()), good.replacing("-", with: "_"),
            good.replacing("-", with: ""), "{\(good)}", good.replacing("a", with: "g"),
            "0123456-789ab-7def-8123-456789abcdef",
        ] {
            #expect(UUIDText.parse(Array(wrong.utf8)) == nil, "\(wrong)")
        }
        // Every character in every place: only hexadecimal digits, and the dashes where they belong.
        for index in 0..<UUIDText.count {
            for byte in UInt8.min...UInt8.max {
                var bytes = Array(good.utf8)
                let isDash = bytes[index] == UInt8(ascii: "-")
                bytes[index] = byte
                let isDigit = Character(Unicode.Scalar(byte)).isHexDigit && byte < 128
                #expect((UUIDText.parse(bytes) != nil) == (isDash ? byte == UInt8(ascii: "-") : isDigit))
            }
        }
    }
}
