// Proofs of who published: they hold for one record of one publisher and for nothing else.
import Models
import Security
import TestSupport
import Testing

@Suite struct PublisherKeyTests {
    struct Record {
        var type: [UInt8]? = Array("stampede.order.placed.v1".utf8)
        var id: [UInt8]? = Array("0199".utf8)
        var key: [UInt8]? = Array("buyer".utf8)
        var value: [UInt8]? = Array("{}".utf8)

        func proof(_ key: PublisherKey) -> [UInt8] { key.proof(type: type, id: id, key: self.key, value: value) }
        func publisher(_ proof: [UInt8], among keys: PublisherKeys) -> PublisherName? {
            keys.publisher(proof: proof, type: type, id: id, key: key, value: value)
        }
    }

    let keys = PublisherKeys([TestPublishers.messaging, TestPublishers.partner, TestPublishers.other])

    /// As `docs/security.md` describes it, by another way than the code's own.
    @Test(arguments: [Record(), Record(type: nil, id: nil), Record(key: nil, value: nil), Record(id: [], value: [])])
    func aProofIsWhatTheDocumentSays(record: Record) {
        var text: [UInt8] = []
        func add(_ part: [UInt8]?) {
            let length = part.map { UInt32($0.count) } ?? .max
            text += [24, 16, 8, 0].map { UInt8(truncatingIfNeeded: length >> $0) } + (part ?? [])
        }
        for part in [Array("stampede-published-by/1".utf8), Array("partner".utf8)] { add(part) }
        for part in [record.type, record.id, record.key, record.value] { add(part) }
        let code = Digest.hmacSHA256(key: [UInt8](repeating: 2, count: 32), text)
        #expect(
            String(decoding: record.proof(TestPublishers.partner), as: UTF8.self) == "partner:\(Base64URL.encode(code))"
        )
        #expect(record.publisher(record.proof(TestPublishers.partner), among: keys) == TestPublishers.partner.name)
    }

    @Test func aProofFitsNoOtherRecord() {
        let proof = Record().proof(TestPublishers.partner)
        var others: [Record] = []
        for part: WritableKeyPath<Record, [UInt8]?> in [\.type, \.id, \.key, \.value] {
            for value: [UInt8]? in [nil, [], (Record()[keyPath: part] ?? []) + [0], [UInt8](repeating: 7, count: 300)] {
                var other = Record()
                other[keyPath: part] = value
                others.append(other)
            }
        }
        // A byte that moves from one part to the next.
        others.append(Record(key: Array("buye".utf8), value: Array("r{}".utf8)))
        others.append(Record(id: Array("0199buyer".utf8), key: []))
        for other in others { #expect(other.publisher(proof, among: keys) == nil, "\(other)") }
    }

    @Test func whatIsNotThePublishersOwnProofIsNone() {
        let record = Record()
        let good = record.proof(TestPublishers.partner)
        let code = good.dropFirst("partner:".utf8.count)
        var bad: [[UInt8]] = [
            record.proof(TestPublishers.unknown), record.proof(TestPublishers.impostor), [], Array("partner".utf8),
            Array("partner:".utf8), Array(code), Array("other:".utf8) + code, Array(":".utf8) + code,
            Array("Partner:".utf8) + code, good + Array("=".utf8), good + good, Array(good.dropLast()),
            [UInt8](repeating: 0x61, count: 100_000), [0xff] + good, Array("partner:\u{0}".utf8) + code.dropLast(),
        ]
        // The last character holds two bits that mean nothing: only one spelling counts.
        let alphabet = Array("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_".utf8)
        bad += alphabet.filter { $0 != good.last }.map { Array(good.dropLast()) + [$0] }
        for proof in bad { #expect(record.publisher(proof, among: keys) == nil, "\(proof.prefix(80))") }
    }

    @Test func publishersAreReadFromLines() throws {
        let keys = try PublisherKeys(text: TestPublishers.settings["STAMPEDE_PUBLISHERS"] ?? "")
        let record = Record()
        for key in [TestPublishers.messaging, TestPublishers.partner, TestPublishers.other] {
            #expect(record.publisher(record.proof(key), among: keys) == key.name)
        }
        #expect(keys.contains(.messaging))
        #expect(try !PublisherKeys(text: "").contains(.messaging))
    }

    @Test func aTextThatNamesNoPublishersSaysWhereAndKeepsTheSecret() {
        let secret = String(repeating: "ab", count: 32)
        for (text, part) in [
            ("messaging", "entry 1"), ("a=\(secret) B=\(secret)", "entry 2"), ("=\(secret)", "entry 1"),
            ("\(String(repeating: "a", count: 33))=\(secret)", "entry 1"), ("ａ=\(secret)", "entry 1"),
            ("a=\(secret.dropLast())", "secret of a"), ("a=\(secret)0", "secret of a"), ("a=", "secret of a"),
            ("a=\(secret.dropLast())g", "secret of a"), ("a=\(secret.dropLast())\u{ff10}", "secret of a"),
            ("a=\(secret)\na=\(secret)", "a is there twice"),
        ] {
            let error = #expect(throws: PublisherKeysError.self) { try PublisherKeys(text: text) }
            #expect(error?.description.contains(part) == true, "\(text): \(error?.description ?? "")")
            #expect(error?.description.contains("abab") == false)
        }
    }
}
