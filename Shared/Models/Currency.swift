import JSON

/// A currency of ISO 4217 that money moves in, by its three capital letters. Neither precious metals, funds and units of
/// account nor the codes for tests and for no currency are any.
public struct Currency: Hashable, Sendable, LosslessStringConvertible {
    public let code: String

    public init?(_ code: String) {
        self.init(stored: code)
        guard Self.codes.contains(code) else { return nil }
    }

    /// A code that was taken once, and may have left ISO 4217 since: three capital letters.
    public init?(stored code: String) {
        guard code.utf8.count == 3, code.utf8.allSatisfy({ (65...90).contains($0) }) else { return nil }
        self.code = code
    }

    public static let cny = Currency(known: "CNY")

    private init(known code: String) { self.code = code }

    public var description: String { code }

    /// How many digits of an amount in minor units stand behind the point.
    public var minorDigits: Int { Self.otherMinorDigits[code] ?? 2 }

    static let codes = Set(
        """
        AED AFN ALL AMD AOA ARS AUD AWG AZN BAM BBD BDT BHD BIF BMD BND BOB BRL BSD BTN BWP BYN BZD CAD CDF CHF CLP CNY COP
        CRC CUP CVE CZK DJF DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD GNF GTQ GYD HKD HNL HTG HUF IDR ILS INR
        IQD IRR ISK JMD JOD JPY KES KGS KHR KMF KPW KRW KWD KYD KZT LAK LBP LKR LRD LSL LYD MAD MDL MGA MKD MMK MNT MOP MRU
        MUR MVR MWK MXN MYR MZN NAD NGN NIO NOK NPR NZD OMR PAB PEN PGK PHP PKR PLN PYG QAR RON RSD RUB RWF SAR SBD SCR SDG
        SEK SGD SHP SLE SOS SRD SSP STN SVC SYP SZL THB TJS TMT TND TOP TRY TTD TWD TZS UAH UGX USD UYU UZS VED VES VND VUV
        WST XAF XCD XCG XOF XPF YER ZAR ZMW ZWG
        """.split { $0.isWhitespace }.map(String.init))

    private static let otherMinorDigits = [
        "BHD": 3, "BIF": 0, "CLP": 0, "DJF": 0, "GNF": 0, "IQD": 3, "ISK": 0, "JOD": 3, "JPY": 0, "KMF": 0, "KRW": 0,
        "KWD": 3, "LYD": 3, "OMR": 3, "PYG": 0, "RWF": 0, "TND": 3, "UGX": 0, "VND": 0, "VUV": 0, "XAF": 0, "XOF": 0,
        "XPF": 0,
    ]
}

extension Currency: Codable {
    public init(from decoder: any Decoder) throws {
        let container = try decoder.singleValueContainer()
        guard let value = Currency(stored: try container.decode(String.self)) else {
            throw DecodingError.dataCorruptedError(in: container, debugDescription: "expected an ISO 4217 code")
        }
        self = value
    }

    public func encode(to encoder: any Encoder) throws {
        var container = encoder.singleValueContainer()
        try container.encode(code)
    }
}

extension Codec<Currency> {
    /// A currency of ISO 4217 that is in use.
    static var inUse: Codec {
        let expected = "the ISO 4217 code of a currency in use, such as CNY"
        return Codec(
            .choice(Currency.codes.sorted()), expected: expected,
            read: { (value) throws(JSONError) in
                guard let currency = value.stringValue.flatMap({ Currency($0) }) else {
                    throw JSONError(path: "", expected: expected)
                }
                return currency
            }, write: { $1.value($0.code) })
    }
}
