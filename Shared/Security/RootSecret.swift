// What whoever signs tokens knows and nobody else: it seals the signing keys, and proves to verifiers whose keys they are.
import CSodium

/// The root of an installation's trust, from the configuration of the service that signs. Three keys follow from it, each
/// for one purpose: one seals, one proves (Ed25519), one derives.
public struct RootSecret: Sendable {
    /// 24 random bytes in hexadecimal have 48.
    public static let bytesMin = 32

    /// What verifiers are configured with: 43 characters of base64url.
    public let publicKey: String
    private let sealing: [UInt8]
    private let proving: [UInt8]
    private let deriving: [UInt8]

    /// Nil when the text is shorter than `bytesMin`.
    public init?(_ text: String) {
        guard text.utf8.count >= Self.bytesMin else { return nil }
        let secret = Array(text.utf8)
        sealing = Digest.hmacSHA256(key: secret, "stampede sealing".utf8)
        deriving = Digest.hmacSHA256(key: secret, "stampede deriving".utf8)
        var publicKey = [UInt8](repeating: 0, count: Int(crypto_sign_ed25519_PUBLICKEYBYTES))
        var privateKey = [UInt8](repeating: 0, count: Int(crypto_sign_ed25519_SECRETKEYBYTES))
        let seed = Digest.hmacSHA256(key: secret, "stampede proving".utf8)
        _ = crypto_sign_ed25519_seed_keypair(&publicKey, &privateKey, seed)
        self.publicKey = Base64URL.encode(publicKey)
        proving = privateKey
    }

    /// Encrypts and authenticates (XSalsa20-Poly1305): a random nonce and the box.
    public func seal(_ bytes: some Collection<UInt8>) -> [UInt8] {
        let nonce = Random.bytes(Int(crypto_secretbox_NONCEBYTES))
        let plain = Array(bytes)
        var box = [UInt8](repeating: 0, count: plain.count + Int(crypto_secretbox_MACBYTES))
        _ = crypto_secretbox_easy(&box, plain, UInt64(plain.count), nonce, sealing)
        return nonce + box
    }

    /// What `seal` was given; nil where another secret sealed it, or where it was changed.
    public func open(_ sealed: [UInt8]) -> [UInt8]? {
        _ = Sodium.isReady
        let nonce = sealed.prefix(Int(crypto_secretbox_NONCEBYTES))
        let box = sealed.dropFirst(nonce.count)
        guard box.count >= Int(crypto_secretbox_MACBYTES) else { return nil }
        var plain = [UInt8](repeating: 0, count: box.count - Int(crypto_secretbox_MACBYTES))
        guard crypto_secretbox_open_easy(&plain, Array(box), UInt64(box.count), Array(nonce), sealing) == 0 else {
            return nil
        }
        return plain
    }

    /// A proof that this secret's owner said these bytes: 86 characters, always the same for the same bytes.
    public func proof(of message: [UInt8]) -> String {
        var signature = [UInt8](repeating: 0, count: Int(crypto_sign_ed25519_BYTES))
        _ = crypto_sign_ed25519_detached(&signature, nil, message, UInt64(message.count), proving)
        return Base64URL.encode(signature)
    }

    /// 32 bytes that follow from these and that nobody without the secret can tell.
    public func derive(from bytes: some Collection<UInt8>) -> [UInt8] { Digest.hmacSHA256(key: deriving, bytes) }
}

extension RootSecret: CustomStringConvertible, CustomDebugStringConvertible, CustomReflectable {
    /// Names the public half and never shows the secret.
    public var description: String { "RootSecret(\(publicKey))" }
    public var debugDescription: String { description }
    public var customMirror: Mirror { Mirror(self, children: []) }
}

/// The public halves of the secrets whose proofs are believed: one, or two while a secret is replaced.
public struct RootKeys: Sendable, Equatable {
    private let keys: [[UInt8]]

    /// Reads public keys, separated by commas. Nil when there is none, or one that is no Ed25519 key.
    public init?(_ text: String) {
        let parts = text.split(separator: ",", omittingEmptySubsequences: false)
        keys = parts.compactMap { part in
            Base64URL.decode(String(part.drop { $0 == " " }.reversed().drop { $0 == " " }.reversed()))
        }
        guard keys.count == parts.count, keys.allSatisfy({ $0.count == Int(crypto_sign_ed25519_PUBLICKEYBYTES) }) else {
            return nil
        }
    }

    /// Whether one of the secrets' owners said these bytes.
    public func prove(_ message: [UInt8], by proof: String) -> Bool {
        _ = Sodium.isReady
        guard let signature = Base64URL.decode(proof), signature.count == Int(crypto_sign_ed25519_BYTES) else {
            return false
        }
        return keys.contains { crypto_sign_ed25519_verify_detached(signature, message, UInt64(message.count), $0) == 0 }
    }
}
