import JSON

/// An ISO 4217 currency: three capital letters.
public struct Currency: Hashable, Sendable, LosslessStringConvertible {
    public let code: String

    public init?(_ code: String) {
        guard code.utf8.count == 3, code.utf8.allSatisfy({ (65...90).contains($0) }) else { return nil }
        self.code = code
    }

    public static let cny = Currency(known: "CNY")

    private init(known code: String) { self.code = code }

    public var description: String { code }
}

extension Currency: Codable {
    public init(from decoder: any Decoder) throws {
        let container = try decoder.singleValueContainer()
        guard let value = Currency(try container.decode(String.self)) else {
            throw DecodingError.dataCorruptedError(in: container, debugDescription: "expected an ISO 4217 code")
        }
        self = value
    }

    public func encode(to encoder: any Encoder) throws {
        var container = encoder.singleValueContainer()
        try container.encode(code)
    }
}

/// An amount in minor units (`199900` is 1,999.00 yuan) of one currency.
public struct Money: Hashable, Sendable, Codable {
    public let amount: Int64
    public let currency: Currency

    /// No single amount is larger: sums of a hundred thousand of them still fit 64 bits.
    public static let amountMax: Int64 = 10_000_000_000_000

    public init(_ amount: Int64, _ currency: Currency) {
        self.amount = amount
        self.currency = currency
    }
}

extension Money: JSONWritable {
    public func write(to writer: inout JSONWriter) {
        writer.object {
            $0.field("amount", amount)
            $0.field("currency", currency.code)
        }
    }
}

extension JSONValue {
    /// Money of 0 to `Money.amountMax` minor units.
    public func money(_ name: StaticString) throws(JSONError) -> Money {
        try read(name) { (value) throws(JSONError) in
            let amount = try value.integer("amount", in: 0...Money.amountMax)
            guard let currency = Currency(try value.string("currency", bytesMax: 3)) else {
                throw JSONError(path: "currency", expected: "an ISO 4217 code such as CNY")
            }
            return Money(amount, currency)
        }
    }
}
