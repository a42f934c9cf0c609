import Foundation
import JSON
import TestSupport
import Testing

@Suite struct JSONParserTests {
    @Test(arguments: [
        "", " ", "{", "}", "[1,]", "{\"a\":}", "{\"a\" 1}", "{a:1}", "{'a':1}", "nul", "TRUE", "01", "+1", "1.", ".5",
        "1e", "--1", "\"", "\"\\x\"", "\"\\u12\"", "\"\t\"", "\"\n\"", "[1] 2", "{} {}", "/* c */ 1", "NaN",
        "Infinity", "[1 2]", "{\"a\":1 \"b\":2}", "\u{feff}", "-", "1e+", "0x1", "1.5.5", "{\"a\":1,}", "{,}", "[", "]",
        "[}", "{\"a\":[}", "\"\\ud83g\"", "\"\\u\"", "\"a", "truE", "[\"a\"", "{\"a\"", "{\"a\":1", "{1:1}",
    ])
    func whatIsNotJSONIsRefused(text: String) {
        #expect(throws: JSONError.self) { try JSONParser.parse(Array(text.utf8)) { (_) throws(JSONError) in } }
    }

    @Test(
        arguments: [
            [0x22, 0xff, 0x22], [0x22, 0xc0, 0x80, 0x22], [0x22, 0xed, 0xa0, 0x80, 0x22], [0x22, 0xe4, 0xb8, 0x22],
            [0x22, 0xf5, 0x80, 0x80, 0x80, 0x22], [0x00], [0x31, 0x00], [0xff, 0xfe, 0x31, 0x00],
        ] as [[UInt8]])
    func textThatIsNotUTF8IsRefused(bytes: [UInt8]) {
        #expect(throws: JSONError.self) { try JSONParser.parse(bytes) { (_) throws(JSONError) in } }
    }

    @Test func nestingIsBoundedWhateverTheDocumentsSize() throws {
        func nested(_ depth: Int, padding: Int) -> [UInt8] {
            Array(
                (String(repeating: "[", count: depth) + "\"" + String(repeating: "x", count: padding) + "\""
                    + String(repeating: "]", count: depth)).utf8)
        }
        for padding in [0, 100_000] {
            try JSONParser.parse(nested(JSONParser.depthMax - 1, padding: padding)) { (_) throws(JSONError) in }
            #expect(throws: JSONError.self) {
                try JSONParser.parse(nested(JSONParser.depthMax + 1, padding: padding)) { (_) throws(JSONError) in }
            }
        }
        #expect(throws: JSONError.self) {
            try JSONParser.parse(nested(1_000_000, padding: 0)) { (_) throws(JSONError) in }
        }
    }

    /// It is JSON, whatever a reader of it could not make of it: a number without bound, half a surrogate pair, depth.
    @Test(arguments: [
        "123456789012345678901234567890", "-1e400", "1E-999999999999999999999", "0.00000000000000000000001",
        #""thanks \ud83d""#, #""\udc00\ud800""#, #""\u0000""#, #"{"\ud800":1}"#, #"{"a":1,"a":2}"#,
        "[[[[[[[[[[[[[[[[{}]]]]]]]]]]]]]]]]", #"{"a":{"b":{"c":[{"d":[1e999]}]}}}"#,
    ])
    func aMemberThatNobodyReadsNeverFails(value: String) throws {
        let text = #"{"note":\#(value),"n":7,"last":\#(value)}"#
        #expect(try JSONParser.parse(Array(text.utf8)) { (json) throws(JSONError) in try json.integer("n") } == 7)
        #expect(throws: JSONError.self) {
            try JSONParser.parse(Array(text.utf8)) { (json) throws(JSONError) in
                _ = try? json.string("note")
                return (try json.integer("note"), try json.string("last"))
            }
        }
    }

    @Test func aNameThatComesTwiceIsRefusedWhereItsObjectIsRead() throws {
        let many = (0..<100).map { #""m\#($0)":\#($0)"# }.joined(separator: ",")
        for text in [
            #"{"n":1,"n":1}"#, #"{"n":1,"x":1,"\u0078":2}"#, #"{"x":1,"n":1,"x":1}"#, #"{"":1,"n":1,"":1}"#,
            #"{"n":1,\#(many),"m42":1}"#, #"{"n":1,"note":1e999,"note":2}"#,
        ] {
            #expect(throws: JSONError.self) {
                try JSONParser.parse(Array(text.utf8)) { (json) throws(JSONError) in try json.integer("n") }
            }
            // However the reader asks, and whatever it makes of the answer.
            #expect(throws: JSONError.self) {
                try JSONParser.parse(Array(text.utf8)) { (json) throws(JSONError) in json["n"] == nil }
            }
            #expect(throws: JSONError.self) {
                try JSONParser.parse(Array("[{\"a\":\(text)}]".utf8)) { (json) throws(JSONError) in
                    try json.elements(countMax: 1) { (element) throws(JSONError) in
                        try element.read("a") { (inner) throws(JSONError) in
                            try inner.members(countMax: 200) { ($0, $1.kind) }
                        }
                    }
                }
            }
            try JSONParser.parse(Array("{\"a\":\(text),\"b\":1}".utf8)) { (json) throws(JSONError) in
                _ = try json.integer("b")
            }
        }
        let told = #expect(throws: JSONError.self) {
            try JSONParser.parse(Array(#"{"batch":1,"batch":2}"#.utf8)) { (json) throws(JSONError) in
                try json.integer("batch")
            }
        }
        #expect(told == JSONError(path: "batch", expected: "one member of this name"))
        // Equal to Swift and to nobody else: two names.
        try JSONParser.parse(Array("{\"e\u{301}\":1,\"\u{e9}\":2,\"n\":1,\(many)}".utf8)) { (json) throws(JSONError) in
            _ = try json.integer("n")
        }
    }

    @Test func membersAreFoundInWhateverOrderTheyAreAskedFor() throws {
        var random = SeededRandom(seed: 9)
        let names: [StaticString] = ["a", "b", "c", "d", "e", "f"]
        for _ in 0..<200 {
            let present = names.shuffled(using: &random).prefix(random.int(in: 0...6))
            let text = "{" + present.map { #""\#($0)":{"a":"\#($0)"}"# }.joined(separator: ",") + "}"
            try JSONParser.parse(Array(text.utf8)) { (json) throws(JSONError) in
                for _ in 0..<20 {
                    let name = random.pick(names)
                    let isThere = present.contains { "\($0)" == "\(name)" }
                    #expect((json[name] != nil) == isThere)
                    #expect(json[name]?["a"]?.stringValue == (isThere ? "\(name)" : nil))
                }
            }
        }
    }

    @Test func aParserGoesOnAfterABrokenDocumentAndAfterALargeOne() throws {
        let parser = JSONParser()
        for text in ["{\"n\":1}", "{", "{\"n\":1}", "[" + String(repeating: "1,", count: 1 << 20) + "1]", "{\"n\":1}"] {
            let bytes = Array(text.utf8)
            if text.hasPrefix("{\"") {
                #expect(try parser.parse(bytes) { (json) throws(JSONError) in try json.integer("n") } == 1)
            } else {
                _ = try? parser.parse(bytes) { (_) throws(JSONError) in }
            }
        }
    }

    @Test func bytesThatAreNotContiguousAreReadAsWell() throws {
        let bytes = Array("{\"a\":\"b\"}".utf8)
        let scattered = bytes.lazy.map { $0 }
        #expect(try JSONParser.parse(scattered) { (json) throws(JSONError) in try json.string("a") } == "b")
    }

    @Test func whatFoundationWritesIsRead() throws {
        var random = SeededRandom(seed: 1)
        for _ in 0..<400 {
            let document = random.tree(depth: 4)
            let data = try JSONSerialization.data(
                withJSONObject: [document.foundation], options: random.bool() ? [.prettyPrinted] : [])
            #expect(try JSONParser.parse(data) { (json) throws(JSONError) in try plain(json) } == .array([document]))
        }
    }

    @Test func whatIsReadFoundationReadsTheSame() throws {
        var random = SeededRandom(seed: 2)
        var accepted = 0
        for _ in 0..<6000 {
            var bytes = JSONWriter.document(random.tree(depth: 3))
            for _ in 0..<random.int(in: 0...2) where !bytes.isEmpty {
                let index = random.int(in: 0...bytes.count - 1)
                switch random.int(in: 0...3) {
                case 0: bytes[index] = UInt8(random.int(in: 0...255))
                case 1: bytes.remove(at: index)
                case 2: bytes.insert(random.pick(Array("{}[]\",:\\0123456789eE+-.tfn ".utf8)), at: index)
                default: bytes.removeSubrange(index...)
                }
            }
            guard let ours = try? JSONParser.parse(bytes, { (json) throws(JSONError) in try plain(json) }) else {
                continue
            }
            accepted += 1
            #expect(try DocumentTree(json: bytes) == ours, "\(String(decoding: bytes, as: UTF8.self))")
        }
        #expect(accepted > 1500)
    }
}

/// The document as a tree; a number that is no 64-bit integer stays out of the comparison, and a document that Foundation
/// makes less of than it says.
private func plain(_ value: JSONValue) throws(JSONError) -> DocumentTree {
    switch value.kind {
    case .object:
        let members = try value.members(countMax: 1000) { (name, value) throws(JSONError) in (name, try plain(value)) }
        return .object(Dictionary(members, uniquingKeysWith: { first, _ in first }))
    case .array: return .array(try value.elements(countMax: 1000, plain))
    case .string:
        guard let text = value.stringValue else { throw JSONError(path: "", expected: "text") }
        return .string(text)
    case .integer:
        guard let number = value.integerValue else { throw JSONError(path: "", expected: "an integer") }
        return .integer(number)
    case .number: throw JSONError(path: "", expected: "an integer")
    case .boolean: return .boolean(value.booleanValue ?? false)
    case .null: return .null
    }
}

extension SeededRandom {
    /// A random document without fractions.
    mutating func tree(depth: Int) -> DocumentTree {
        switch int(in: 0...(depth == 0 ? 4 : 6)) {
        case 0: .null
        case 1: .boolean(bool())
        case 2: .integer(pick([0, 1, -1, .max, .min, Int64(bitPattern: next()), Int64(int(in: -1000...1000))]))
        case 3, 4: .string(text())
        case 5: .array((0..<int(in: 0...5)).map { _ in tree(depth: depth - 1) })
        default: .object(Dictionary((0..<int(in: 0...5)).map { _ in (text(), tree(depth: depth - 1)) }) { a, _ in a })
        }
    }
}

extension DocumentTree {
    fileprivate var foundation: Any {
        switch self {
        case .null, .number: NSNull()
        case .boolean(let flag): flag
        case .integer(let number): number
        case .string(let text): text
        case .array(let elements): elements.map(\.foundation)
        case .object(let members): members.mapValues(\.foundation)
        }
    }
}
