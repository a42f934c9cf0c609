import JSON

/// 128 bits that name one thing of a kind: a UUID (RFC 9562), version 7 where Stampede makes it.
/// Identifiers of different kinds are different types. Ordered by their bytes, so version 7 sorts by time.
public struct Identifier<Kind>: Hashable, Comparable, Sendable {
    public let high: UInt64
    public let low: UInt64

    public init(high: UInt64, low: UInt64) {
        self.high = high
        self.low = low
    }

    /// From the UUID's text, nil when it is none. A sentinel of all zeros is a UUID as well.
    public init?(text: some Collection<UInt8>) {
        guard let halves = UUIDText.parse(text) else { return nil }
        (high, low) = halves
    }

    /// A version 7 UUID: 48 bits of milliseconds since 1970, 74 bits of the given randomness.
    public static func v7(at time: Timestamp, random: (UInt64, UInt64)) -> Identifier {
        let milliseconds = UInt64(max(0, time.microseconds / 1000))
        return Identifier(
            high: milliseconds << 16 | 0x7000 | random.0 & 0x0fff,
            low: 0x8000_0000_0000_0000 | random.1 & 0x3fff_ffff_ffff_ffff)
    }

    /// The 36 characters as bytes: the key of a record.
    public var textBytes: [UInt8] {
        var bytes: [UInt8] = []
        bytes.reserveCapacity(UUIDText.count)
        UUIDText.append(high, low, to: &bytes)
        return bytes
    }

    /// Appends the 36 characters.
    public func appendText(to bytes: inout [UInt8]) { UUIDText.append(high, low, to: &bytes) }

    public static func < (left: Identifier, right: Identifier) -> Bool {
        (left.high, left.low) < (right.high, right.low)
    }
}

extension Identifier: LosslessStringConvertible {
    public init?(_ description: String) { self.init(text: description.utf8) }
    public var description: String { String(decoding: textBytes, as: UTF8.self) }
}

extension Identifier: Codable {
    public init(from decoder: any Decoder) throws {
        let container = try decoder.singleValueContainer()
        guard let value = Identifier(try container.decode(String.self)) else {
            throw DecodingError.dataCorruptedError(in: container, debugDescription: "expected a UUID")
        }
        self = value
    }

    public func encode(to encoder: any Encoder) throws {
        var container = encoder.singleValueContainer()
        try container.encode(description)
    }
}

extension Identifier: JSONWritable {
    public func write(to writer: inout JSONWriter) { writer.value(uuid: high, low) }
}

extension Identifier: JSONCodable {
    public static var codec: Codec<Identifier> {
        Codec(
            .uuid(isNilTaken: true), expected: "a UUID",
            read: { (value) throws(JSONError) in
                let halves = try value.uuid()
                return Identifier(high: halves.0, low: halves.1)
            }, write: { $1.value(uuid: $0.high, $0.low) })
    }
}

extension JSONValue {
    public func identifier<Kind>(
        _ name: StaticString, of kind: Identifier<Kind>.Type = Identifier<Kind>.self
    ) throws(JSONError) -> Identifier<Kind> {
        let halves = try uuid(name)
        return Identifier(high: halves.0, low: halves.1)
    }

    public func optionalIdentifier<Kind>(
        _ name: StaticString, of kind: Identifier<Kind>.Type = Identifier<Kind>.self
    ) throws(JSONError) -> Identifier<Kind>? {
        try optionalUUID(name).map { Identifier(high: $0.0, low: $0.1) }
    }
}

public typealias AccountID = Identifier<Account>
/// A brand is an account that sells.
public typealias BrandID = AccountID
public typealias ProductID = Identifier<Product>
public typealias SaleID = Identifier<Sale>
public typealias OrderID = Identifier<OrderPlaced>
public typealias PaymentID = Identifier<PaymentCaptured>
public typealias ConversationID = Identifier<MessageSent>
public typealias NotificationID = Identifier<Notification>

/// Tags for things whose identifiers would otherwise share another's kind.
public enum MessageKind {}
public enum SessionKind {}
public enum TransferKind {}
public typealias MessageID = Identifier<MessageKind>
public typealias SessionID = Identifier<SessionKind>
public typealias TransferID = Identifier<TransferKind>
