// Proofs of who published a record: a header that only the publisher can have made, and for that record only.
import CCJose
import CSodium
import Models

/// The secret of one publisher, which it shares with whoever checks its proofs.
///
/// A proof is `<name>:<code>`, the code being HMAC-SHA-256 as base64url without padding, 43 characters. It covers the
/// bytes of `stampede-published-by/1`, the publisher's name, the record's headers `ce_type` and `ce_id`, its key and its value, each
/// preceded by its length: four bytes, high byte first, all ones where the record has none. So no record's proof fits another.
public final class PublisherKey: Sendable {
    /// The record's header.
    public static let header: StaticString = "stampede-published-by"
    public static let secretBytes = 32
    private static let subject = "stampede-published-by/1"
    fileprivate static let codeCharacters = 43

    public let name: PublisherName
    fileprivate let nameBytes: [UInt8]
    /// Has taken in the key, and what is the same for all records.
    private let start: MessageCode

    /// - Parameter secret: `secretBytes` of randomness.
    public init(_ name: PublisherName, secret: [UInt8]) {
        precondition(secret.count == Self.secretBytes, "a publisher's secret has \(Self.secretBytes) bytes")
        self.name = name
        nameBytes = Array(name.text.utf8)
        var start = MessageCode(key: secret)
        for part in [Self.subject.utf8, name.text.utf8] {
            let length = UInt32(part.count)
            start.add([24, 16, 8, 0].map { UInt8(truncatingIfNeeded: length >> $0) } + part)
        }
        self.start = start
    }

    /// - Parameter secret: 64 hexadecimal digits. Nil when it is something else.
    public convenience init?(_ name: PublisherName, hexadecimal secret: some StringProtocol) {
        let digits = secret.utf8.compactMap { Character(Unicode.Scalar($0)).hexDigitValue.map(UInt8.init) }
        guard digits.count == 2 * Self.secretBytes, secret.utf8.count == digits.count else { return nil }
        self.init(name, secret: (0..<Self.secretBytes).map { digits[2 * $0] << 4 | digits[2 * $0 + 1] })
    }

    /// The header's value for a record. What the record does not have is nil.
    public func proof<Type: Collection<UInt8>, ID: Collection<UInt8>, Key: Collection<UInt8>, Value: Collection<UInt8>>(
        type: Type?, id: ID?, key: Key?, value: Value?
    ) -> [UInt8] {
        var proof: [UInt8] = []
        proof.reserveCapacity(name.text.utf8.count + 1 + Self.codeCharacters)
        proof += name.text.utf8
        proof.append(UInt8(ascii: ":"))
        var code = code(type, id, key, value)
        code.characters { proof += $0 }
        return proof
    }

    /// Whether that is the code of a record of this publisher.
    fileprivate func made<Bytes: Collection<UInt8>>(
        _ code: UnsafeBufferPointer<UInt8>, type: Bytes?, id: Bytes?, key: Bytes?, value: Bytes?
    ) -> Bool {
        var own = self.code(type, id, key, value)
        return own.isSpelt(code)
    }

    private func code<
        Type: Collection<UInt8>, ID: Collection<UInt8>, Key: Collection<UInt8>, Value: Collection<UInt8>
    >(_ type: Type?, _ id: ID?, _ key: Key?, _ value: Value?) -> MessageCode {
        // All at once: taking in each part costs as much as what it adds.
        let bytes = 16 + (type?.count ?? 0) + (id?.count ?? 0) + (key?.count ?? 0) + (value?.count ?? 0)
        return withUnsafeTemporaryAllocation(byteCount: bytes, alignment: 4) { message in
            var end = 0
            Self.put(type, into: message, &end)
            Self.put(id, into: message, &end)
            Self.put(key, into: message, &end)
            Self.put(value, into: message, &end)
            var code = start
            code.add(UnsafeRawBufferPointer(message))
            return code
        }
    }

    /// A part, its length before it.
    private static func put(
        _ part: (some Collection<UInt8>)?, into message: UnsafeMutableRawBufferPointer, _ end: inout Int
    ) {
        let length = part.map { UInt32(truncatingIfNeeded: $0.count).bigEndian } ?? UInt32.max
        message.storeBytes(of: length, toByteOffset: end, as: UInt32.self)
        end += 4
        guard let part else { return }
        part.withContiguous {
            UnsafeMutableRawBufferPointer(rebasing: message[end..<end + $0.count])
                .copyMemory(from: UnsafeRawBufferPointer($0))
        }
        end += part.count
    }
}

/// The keys of all who publish.
public struct PublisherKeys: Sendable {
    private let keys: [PublisherKey]

    /// - Parameter keys: no name twice.
    public init(_ keys: [PublisherKey]) { self.keys = keys }

    /// Reads `NAME=SECRET`, one a line, or separated by spaces or commas; a secret is 64 hexadecimal digits.
    /// - Throws: what is wrong and where, without a word of a secret.
    public init(text: String) throws(PublisherKeysError) {
        var keys: [PublisherKey] = []
        let entries = text.split { $0.isWhitespace || $0 == "," }
        for (number, entry) in entries.enumerated() {
            let parts = entry.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
            guard parts.count == 2, let name = PublisherName(String(parts[0])) else {
                throw PublisherKeysError(
                    "entry \(number + 1): expected NAME=SECRET, the name \(PublisherName.expectation)")
            }
            guard let key = PublisherKey(name, hexadecimal: parts[1]) else {
                throw PublisherKeysError(
                    "the secret of \(name): expected \(2 * PublisherKey.secretBytes) hexadecimal digits")
            }
            guard !keys.contains(where: { $0.name == name }) else {
                throw PublisherKeysError("\(name) is there twice")
            }
            keys.append(key)
        }
        self.keys = keys
    }

    public func contains(_ name: PublisherName) -> Bool { keys.contains { $0.name == name } }

    /// Who made the proof for this record; nil when it is of nobody who is known, or of another record.
    public func publisher<Bytes: Collection<UInt8>>(
        proof: Bytes, type: Bytes?, id: Bytes?, key: Bytes?, value: Bytes?
    ) -> PublisherName? {
        proof.withContiguous { proof in
            guard let name = Self.name(in: proof),
                // They are few: cheaper than making a text of each record's.
                let own = keys.first(where: { $0.nameBytes.elementsEqual(name) })
            else { return nil }
            let code = UnsafeBufferPointer(rebasing: proof.suffix(PublisherKey.codeCharacters))
            return own.made(code, type: type, id: id, key: key, value: value) ? own.name : nil
        }
    }

    /// Whom a proof names, whether or not it holds.
    public static func claimed(_ proof: some Collection<UInt8>) -> PublisherName? {
        proof.withContiguous { name(in: $0).flatMap { PublisherName(utf8: $0) } }
    }

    /// What stands before the colon of `NAME:CODE`.
    private static func name(in proof: UnsafeBufferPointer<UInt8>) -> UnsafeBufferPointer<UInt8>? {
        let colon = proof.count - PublisherKey.codeCharacters - 1
        guard colon > 0, proof[colon] == UInt8(ascii: ":") else { return nil }
        return UnsafeBufferPointer(rebasing: proof[..<colon])
    }
}

/// The text names no publishers.
public struct PublisherKeysError: Error, Equatable, CustomStringConvertible {
    public let description: String

    init(_ description: String) { self.description = description }
}

/// HMAC-SHA-256 (RFC 2104) whose key is taken in once, in plain bytes that are copied for each message.
private struct MessageCode: Sendable {
    private var inner = SHA256_CTX()
    private var outer = SHA256_CTX()

    private static let blockBytes = 64
    private static let bytes = Int(SHA256_DIGEST_LENGTH)

    /// - Parameter key: at most a block.
    init(key: [UInt8]) {
        let block = key + [UInt8](repeating: 0, count: Self.blockBytes - key.count)
        SHA256_Init(&inner)
        SHA256_Update(&inner, block.map { $0 ^ 0x36 }, block.count)
        SHA256_Init(&outer)
        SHA256_Update(&outer, block.map { $0 ^ 0x5c }, block.count)
    }

    mutating func add(_ bytes: some Collection<UInt8>) {
        bytes.withContiguous { _ = SHA256_Update(&inner, $0.baseAddress, $0.count) }
    }

    /// Hands over the code's characters.
    mutating func characters<Result>(_ body: (UnsafeBufferPointer<UInt8>) -> Result) -> Result {
        let variant = Int32(sodium_base64_VARIANT_URLSAFE_NO_PADDING)
        // With the zero that ends it.
        let capacity = PublisherKey.codeCharacters + 1
        return finish { digest in
            withUnsafeTemporaryAllocation(of: CChar.self, capacity: capacity) { text in
                if let start = text.baseAddress {
                    sodium_bin2base64(start, capacity, digest.baseAddress, digest.count, variant)
                }
                return UnsafeRawBufferPointer(text).withMemoryRebound(to: UInt8.self) {
                    body(UnsafeBufferPointer(rebasing: $0.dropLast()))
                }
            }
        }
    }

    /// Whether these characters are the code's. How long that takes may depend on them, which are no secret, and not on the
    /// code.
    mutating func isSpelt(_ characters: UnsafeBufferPointer<UInt8>) -> Bool {
        withUnsafeTemporaryAllocation(of: UInt8.self, capacity: Self.bytes) { other in
            Self.read(characters, into: other)
                && finish { CRYPTO_memcmp($0.baseAddress, other.baseAddress, Self.bytes) == 0 }
        }
    }

    private mutating func finish<Result>(_ body: (UnsafeMutableBufferPointer<UInt8>) -> Result) -> Result {
        withUnsafeTemporaryAllocation(of: UInt8.self, capacity: Self.bytes) { digest in
            SHA256_Final(digest.baseAddress, &inner)
            SHA256_Update(&outer, digest.baseAddress, digest.count)
            SHA256_Final(digest.baseAddress, &outer)
            return body(digest)
        }
    }

    /// What each byte stands for in base64url; 64 and more: nothing.
    private static let values: [UInt8] = {
        var values = [UInt8](repeating: 255, count: 256)
        let alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
        for (value, character) in alphabet.utf8.enumerated() { values[Int(character)] = UInt8(value) }
        return values
    }()

    /// False where they are not the one spelling of as many bytes. libsodium would hide by its time what they are, for ten
    /// times the time.
    private static func read(
        _ characters: UnsafeBufferPointer<UInt8>, into bytes: UnsafeMutableBufferPointer<UInt8>
    ) -> Bool {
        guard characters.count == PublisherKey.codeCharacters else { return false }
        return values.withUnsafeBufferPointer { values in
            var seen: UInt8 = 0
            func bits(_ place: Int) -> UInt32 {
                let value = values[Int(characters[place])]
                seen |= value
                return UInt32(value & 63)
            }
            var place = 0
            for written in stride(from: 0, to: Self.bytes - 2, by: 3) {
                let three = bits(place) << 18 | bits(place + 1) << 12 | bits(place + 2) << 6 | bits(place + 3)
                bytes[written] = UInt8(truncatingIfNeeded: three >> 16)
                bytes[written + 1] = UInt8(truncatingIfNeeded: three >> 8)
                bytes[written + 2] = UInt8(truncatingIfNeeded: three)
                place += 4
            }
            let two = bits(place) << 12 | bits(place + 1) << 6 | bits(place + 2)
            bytes[Self.bytes - 2] = UInt8(truncatingIfNeeded: two >> 10)
            bytes[Self.bytes - 1] = UInt8(truncatingIfNeeded: two >> 2)
            // The bits that are left over say nothing: they are zero.
            return seen < 64 && two & 3 == 0
        }
    }
}
