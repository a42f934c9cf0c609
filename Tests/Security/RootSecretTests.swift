// What the root secret seals and proves, and nobody else does.
import Testing

@testable import Security

@Suite struct RootSecretTests {
    let root: RootSecret
    let other: RootSecret

    init() throws {
        root = try #require(RootSecret("one secret of thirty-two bytes or more"))
        other = try #require(RootSecret("another secret of as many bytes, or more"))
    }

    @Test func whatIsSealedIsReadByTheSameSecretAndNoOther() throws {
        for plain in [[], [7], Array("a key".utf8), [UInt8](repeating: 1, count: 10_000)] as [[UInt8]] {
            let sealed = root.seal(plain)
            #expect(root.open(sealed) == plain)
            #expect(root.seal(plain) != sealed)
            #expect(other.open(sealed) == nil)
            for index in stride(from: 0, to: sealed.count, by: 13) {
                var changed = sealed
                changed[index] ^= 1
                #expect(root.open(changed) == nil)
            }
            #expect(root.open(Array(sealed.dropLast())) == nil)
        }
        for short in 0..<48 { #expect(root.open([UInt8](repeating: 0, count: short)) == nil) }
    }

    @Test func aProofHoldsForItsWordsAndItsRoot() throws {
        let words = Array("these words".utf8)
        let proof = root.proof(of: words)
        let keys = try #require(RootKeys(root.publicKey))
        let both = try #require(RootKeys("\(other.publicKey), \(root.publicKey)"))
        #expect(keys.prove(words, by: proof) && both.prove(words, by: proof))
        #expect(both.prove(words, by: other.proof(of: words)))
        #expect(!keys.prove(words, by: other.proof(of: words)))
        #expect(!keys.prove(words + [0], by: proof))
        for wrong in [
            "", "x", proof + "=", String(proof.dropLast()), Base64URL.encode([UInt8](repeating: 0, count: 64)),
        ] {
            #expect(!keys.prove(words, by: wrong))
        }
    }

    @Test func onlyKeysAreRootKeysAndOnlyLongTextsAreSecrets() {
        for text in ["", ",", "x", "\(root.publicKey),", "\(root.publicKey) x", "\(root.publicKey)=", "AAAA"] {
            #expect(RootKeys(text) == nil, "\(text)")
        }
        #expect(RootSecret(String(repeating: "x", count: RootSecret.bytesMin - 1)) == nil)
        #expect(RootSecret(String(repeating: "x", count: RootSecret.bytesMin))?.publicKey.count == 43)
    }

    @Test func aSecretNeverShowsItself() {
        #expect("\(root)" == "RootSecret(\(root.publicKey))")
        #expect(Array(Mirror(reflecting: root).children).isEmpty)
    }

    @Test func theSealAndTheDerivedFollowFromTheSecretAlone() throws {
        let same = try #require(RootSecret("one secret of thirty-two bytes or more"))
        #expect(same.publicKey == root.publicKey && same.derive(from: [1]) == root.derive(from: [1]))
        #expect(root.derive(from: [1]) != root.derive(from: [2]))
        #expect(root.derive(from: [1]) != other.derive(from: [1]))
    }
}
