// Who publishes orders.
import JSON

/// What a publisher of orders is called: 1 to 32 of the characters a to z, 0 to 9 and `-`.
public struct PublisherName: Hashable, Sendable, LosslessStringConvertible {
    public let text: String

    public static let bytesMax = 32
    private static let alphabet = Alphabet("a-z0-9-")
    public static let expectation = "1 to \(bytesMax) of the characters a to z, 0 to 9 and -"

    /// The app's own: messaging knows who signed in, so its orders are those that their buyers placed. Nobody else has it.
    public static let messaging = PublisherName(known: "messaging")

    public init?(_ text: String) { self.init(utf8: text.utf8) }

    /// From the text's bytes, nil when they are no name.
    public init?(utf8 bytes: some Collection<UInt8>) {
        guard !bytes.isEmpty, bytes.count <= Self.bytesMax, Self.alphabet.spells(bytes) else { return nil }
        text = String(decoding: bytes, as: UTF8.self)
    }

    private init(known text: String) { self.text = text }

    public var description: String { text }
}

extension PublisherName: JSONCodable {
    public static let codec = Codec<PublisherName>(
        .code(alphabet, count: 1...bytesMax), expected: expectation,
        read: { (value) throws(JSONError) in
            guard let name = value.stringValue.flatMap(PublisherName.init) else {
                throw JSONError(path: "", expected: expectation)
            }
            return name
        }, write: { $1.value($0.text) })
}

extension PublisherName: JSONWritable {
    public func write(to writer: inout JSONWriter) { writer.value(text) }
}

extension JSONValue {
    /// Nil where the member is missing or null.
    public func optionalPublisher(_ name: StaticString) throws(JSONError) -> PublisherName? {
        try readOptional(name, as: PublisherName.codec)
    }
}
