import Foundation
import JSON
import TestSupport
import Testing

@Suite struct JSONWriterTests {
    @Test func whatIsWrittenFoundationReads() throws {
        var random = SeededRandom(seed: 4)
        for _ in 0..<1500 {
            let document = random.tree(depth: 4)
            #expect(try DocumentTree(json: JSONWriter.document(document)) == document)
        }
    }

    @Test func everyScalarIsWrittenSoThatBothReadersGetItBack() throws {
        for code in UInt32(1)...0x2ffff {
            guard let scalar = Unicode.Scalar(code), code < 0x3000 || code % 97 == 0 else { continue }
            let text = "a\(Character(scalar))b"
            let bytes = JSONWriter.document(text)
            let ours = try JSONParser.parse(bytes) { (json) throws(JSONError) in json.stringValue }
            #expect(ours.map { Array($0.utf8) } == Array(text.utf8))
            if code < 0x300 { #expect(try DocumentTree(json: bytes) == .string(text)) }
        }
    }

    @Test func membersComeInTheirOrderAndMissingOnesAreLeftOut() {
        var writer = JSONWriter()
        writer.object {
            $0.field("b", 1)
            $0.field("none", optional: String?.none)
            $0.field("a", optional: "x\"\\\n\u{1}")
            $0.name("list")
            $0.array {
                $0.value(true)
                $0.null()
                $0.object { _ in }
                $0.array { _ in }
                $0.value(uuid: 0x0123_4567_89ab_7def, 0x8123_4567_89ab_cdef)
                $0.value(document: Array("[1]".utf8))
                $0.value(plain: "plain".utf8)
            }
            $0.name(escaping: "\"")
            $0.value(Int64.min)
        }
        #expect(
            String(decoding: writer.bytes, as: UTF8.self)
                == #"{"b":1,"a":"x\"\\\n\u0001","list":[true,null,{},[],"01234567-89ab-7def-8123-456789abcdef",[1],"plain"],"\"":-9223372036854775808}"#
        )
    }

    @Test func aWriterThatWasClearedStartsAfresh() {
        var writer = JSONWriter()
        writer.array { $0.value(1) }
        writer.clear()
        writer.array { $0.value(2) }
        #expect(String(decoding: writer.bytes, as: UTF8.self) == "[2]")
    }
}

/// The text of a UUID by Foundation.
enum FoundationUUID {
    static func text(_ high: UInt64, _ low: UInt64) -> String {
        let bytes: [UInt8] = (0..<16).map { index in
            let half = index < 8 ? high : low
            return UInt8(truncatingIfNeeded: half >> UInt64(56 - index % 8 * 8))
        }
        return bytes.withUnsafeBytes { UUID(uuid: $0.loadUnaligned(as: uuid_t.self)) }.uuidString.lowercased()
    }
}
