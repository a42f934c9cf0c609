import JSON

/// An amount in minor units (`199900` is 1,999.00 yuan) of one currency.
public struct Money: Hashable, Sendable, Codable {
    public let amount: Int64
    public let currency: Currency

    /// No single amount is larger: sums of a hundred thousand of them still fit 64 bits.
    public static let amountMax: Int64 = 10_000_000_000_000
    /// No sum that is told is larger, nor its negative smaller: JSON's numbers are those of IEEE 754 in browsers, which tell
    /// integers apart up to here.
    public static let sumMax: Int64 = 1 << 53 - 1

    public init(_ amount: Int64, _ currency: Currency) {
        self.amount = amount
        self.currency = currency
    }
}

extension Money: JSONObject {
    public static let schema = Schema(
        Self.init, Field("amount", \.amount, .integer(0...amountMax)), Field("currency", \.currency, .inUse))
}

extension JSONValue {
    /// Money of 0 to `Money.amountMax` minor units.
    public func money(_ name: StaticString) throws(JSONError) -> Money {
        try read(name) { (value) throws(JSONError) in try Money(json: value) }
    }
}
