import Security
import Testing

@Suite struct DigestTests {
    static func hex(_ bytes: [UInt8]) -> String {
        bytes.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined()
    }

    @Test(arguments: [
        // FIPS 180-4 examples.
        ("", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"),
        ("abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"),
        (
            "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
            "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1"
        ),
    ])
    func sha256IsThePublishedOne(text: String, expected: String) {
        #expect(Self.hex(Digest.sha256(text.utf8)) == expected)
        #expect(Self.hex(Digest.sha256(Array(text.utf8))) == expected)
        #expect(Self.hex(Digest.sha256(Array("xx\(text)".utf8).dropFirst(2))) == expected)
    }

    @Test(arguments: [
        // RFC 4231, cases 1, 2 and 6.
        (
            [UInt8](repeating: 0x0b, count: 20), "Hi There",
            "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7"
        ),
        (
            Array("Jefe".utf8), "what do ya want for nothing?",
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
        ),
        (
            [UInt8](repeating: 0xaa, count: 131), "Test Using Larger Than Block-Size Key - Hash Key First",
            "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54"
        ),
    ])
    func hmacSHA256IsThePublishedOne(key: [UInt8], text: String, expected: String) {
        #expect(Self.hex(Digest.hmacSHA256(key: key, text.utf8)) == expected)
    }

    @Test func comparingTellsEqualFromDifferent() {
        #expect(Digest.constantTimeEqual([1, 2, 3], [1, 2, 3]))
        #expect(!Digest.constantTimeEqual([1, 2, 3], [1, 2, 4]))
        #expect(!Digest.constantTimeEqual([1, 2, 3], [1, 2]))
        #expect(Digest.constantTimeEqual([UInt8](), [UInt8]()))
        #expect(Digest.constantTimeEqual("abc".utf8, Array("abc".utf8)))
    }

    @Test(arguments: [
        ("", ""), ("f", "Zg"), ("fo", "Zm8"), ("foo", "Zm9v"), ("foob", "Zm9vYg"), ("fooba", "Zm9vYmE"),
        ("foobar", "Zm9vYmFy"),
    ])
    func base64URLIsThePublishedOne(text: String, expected: String) {
        #expect(Base64URL.encode(text.utf8) == expected)
        #expect(Base64URL.decode(expected) == Array(text.utf8))
    }

    @Test func base64URLUsesTheAlphabetOfURLs() {
        #expect(Base64URL.encode([0xFB, 0xFF, 0xFE]) == "-__-")
        #expect(Base64URL.decode("-__-") == [0xFB, 0xFF, 0xFE])
    }

    @Test(arguments: ["+//+", "Zg==", "Z", "Zm9v!", "Zm 9v", "Zm9v\n", "é"])
    func whatIsNoBase64URLIsRefused(text: String) { #expect(Base64URL.decode(text) == nil) }

    @Test func randomnessHasTheLengthAskedForAndDoesNotRepeat() {
        for count in [0, 1, 31, 32, 1000] { #expect(Random.bytes(count).count == count) }
        #expect(Set((0..<1000).map { _ in Random.bytes(16) }).count == 1000)
        #expect(Set((0..<1000).map { _ in Random.uint64() }).count == 1000)
        #expect(Random.token().utf8.count == 43)
        // Each bit of the upper and the lower half is set about half of the time.
        let ones = (0..<4000).reduce(into: [Int](repeating: 0, count: 64)) { counts, _ in
            let value = Random.uint64()
            for bit in 0..<64 where value >> UInt64(bit) & 1 == 1 { counts[bit] += 1 }
        }
        for count in ones { #expect((1600...2400).contains(count)) }
    }
}
