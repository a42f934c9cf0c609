import Foundation
import JSON
import TestSupport
import Testing

@Suite struct JSONParserTests {
    @Test(arguments: [
        "", " ", "{", "}", "[1,]", "{\"a\":}", "{\"a\" 1}", "{a:1}", "{'a':1}", "nul", "TRUE", "01", "+1", "1.", ".5",
        "1e", "--1", "\"", "\"\\x\"", "\"\\u12\"", "\"\t\"", "\"\n\"", "[1] 2", "{} {}", "/* c */ 1", "NaN",
        "Infinity", "18446744073709551616", "1e999", "[1 2]", "{\"a\":1 \"b\":2}", "\u{feff}",
        "\"\\ud800\"", "\"\\ud800\\u0041\"", "\"\\udc00\"",
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

/// The document as a tree; a number that is no 64-bit integer stays out of the comparison.
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
