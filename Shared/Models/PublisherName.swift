// Who publishes orders.
import JSON

/// What a publisher of orders is called: 1 to 32 of the characters a to z, 0 to 9 and `-`.
public struct PublisherName: Hashable, Sendable, LosslessStringConvertible {
    public let text: String

    public static let bytesMax = 32
    public static let expectation = "1 to \(bytesMax) of the characters a to z, 0 to 9 and -"

    /// The app's own: messaging knows who signed in, so its orders are those that their buyers placed. Nobody else has it.
    public static let messaging = PublisherName(known: "messaging")

    public init?(_ text: String) { self.init(utf8: text.utf8) }

    /// From the text's bytes, nil when they are no name.
    public init?(utf8 bytes: some Collection<UInt8>) {
        let (a, z, zero, nine, dash) = (
            UInt8(ascii: "a"), UInt8(ascii: "z"), UInt8(ascii: "0"), UInt8(ascii: "9"), UInt8(ascii: "-")
        )
        guard !bytes.isEmpty, bytes.count <= Self.bytesMax,
            bytes.allSatisfy({ (a...z).contains($0) || (zero...nine).contains($0) || $0 == dash })
        else { return nil }
        text = String(decoding: bytes, as: UTF8.self)
    }

    private init(known text: String) { self.text = text }

    public var description: String { text }
}

extension PublisherName: Codable {
    public init(from decoder: any Decoder) throws {
        let container = try decoder.singleValueContainer()
        guard let value = PublisherName(try container.decode(String.self)) else {
            throw DecodingError.dataCorruptedError(in: container, debugDescription: "expected \(Self.expectation)")
        }
        self = value
    }

    public func encode(to encoder: any Encoder) throws {
        var container = encoder.singleValueContainer()
        try container.encode(text)
    }
}

extension PublisherName: JSONWritable {
    public func write(to writer: inout JSONWriter) { writer.value(text) }
}

extension JSONValue {
    /// Nil where the member is missing or null.
    public func optionalPublisher(_ name: StaticString) throws(JSONError) -> PublisherName? {
        guard let member = self[name] else { return nil }
        guard let publisher = member.stringValue.flatMap(PublisherName.init) else {
            throw JSONError(path: "\(name)", expected: PublisherName.expectation)
        }
        return publisher
    }
}
