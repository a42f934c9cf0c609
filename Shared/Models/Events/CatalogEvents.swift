// Topics `products` and `sales`, keyed by their IDs: both compacted.
import JSON

/// A catalogue entry as it is now.
public struct Product: EventPayload {
    public static let type = "stampede.product.changed.v1"

    public let productId: ProductID
    public let brandId: BrandID
    public let name: LocalizedText
    public let variants: [Variant]

    public struct Variant: JSONObject, Hashable {
        /// What stock is counted by: `mi3-silver-16`.
        public let code: String
        public let title: LocalizedText

        public init(code: String, title: LocalizedText) {
            self.code = code
            self.title = title
        }

        public static let schema = Schema(
            Self.init, Field("code", \.code, .variantCode), Field("title", \.title, .localized()))
    }

    public static let variantsMax = 100
    public static let variantCodeBytesMax = 64

    public init(productId: ProductID, brandId: BrandID, name: LocalizedText, variants: [Variant]) {
        self.productId = productId
        self.brandId = brandId
        self.name = name
        self.variants = variants
    }

    public static let schema = Schema(
        Self.init, Field("productId", \.productId), Field("brandId", \.brandId), Field("name", \.name, .localized()),
        Field("variants", \.variants, .list(of: Variant.codec, countMax: variantsMax)))
}

/// A published sale as it is now. A tombstone on the topic withdraws it.
public struct Sale: EventPayload {
    public static let type = "stampede.sale.changed.v1"

    public let saleId: SaleID
    public let brandId: BrandID
    public let productId: ProductID
    public let title: LocalizedText
    /// Rises with every change; an older record never replaces a newer one.
    public let revision: Int64
    /// How long a reserved unit waits for its payment.
    public let holdSeconds: Int64
    /// How many orders of each variant of a batch may wait for what others let go.
    public let waitlistMax: Int64
    public let batches: [Batch]

    /// Units offered from one opening time on.
    public struct Batch: JSONObject, Hashable {
        /// From 1, rising.
        public let number: Int
        public let opensAt: Timestamp
        /// Orders that arrive from here on are refused. None: open until withdrawn.
        public let closesAt: Timestamp?
        public let lines: [Line]

        public init(number: Int, opensAt: Timestamp, closesAt: Timestamp?, lines: [Line]) {
            self.number = number
            self.opensAt = opensAt
            self.closesAt = closesAt
            self.lines = lines
        }

        public static let schema = Schema(
            Self.init, Field("number", \.number, .batchNumber), Field("opensAt", \.opensAt),
            Field("closesAt", \.closesAt),
            Field("lines", \.lines, .list(of: Line.codec, countMax: Product.variantsMax)))
    }

    /// One variant's supply in a batch, and its price.
    public struct Line: JSONObject, Hashable {
        public let variant: String
        public let units: Int64
        public let price: Money

        public init(variant: String, units: Int64, price: Money) {
            self.variant = variant
            self.units = units
            self.price = price
        }

        public static let schema = Schema(
            Self.init, Field("variant", \.variant, .variantCode), Field("units", \.units, .integer(0...Sale.unitsMax)),
            Field("price", \.price))
    }

    public static let batchesMax = 100
    public static let unitsMax: Int64 = 100_000_000
    public static let holdSecondsMax: Int64 = 7 * 86_400
    public static let waitlistLimit: Int64 = 1_000_000

    public init(
        saleId: SaleID, brandId: BrandID, productId: ProductID, title: LocalizedText, revision: Int64,
        holdSeconds: Int64, waitlistMax: Int64, batches: [Batch]
    ) {
        self.saleId = saleId
        self.brandId = brandId
        self.productId = productId
        self.title = title
        self.revision = revision
        self.holdSeconds = holdSeconds
        self.waitlistMax = waitlistMax
        self.batches = batches
    }

    public static let schema = Schema(
        Self.init, Field("saleId", \.saleId), Field("brandId", \.brandId), Field("productId", \.productId),
        Field("title", \.title, .localized()), Field("revision", \.revision, .integer(1...Int64.max)),
        Field("holdSeconds", \.holdSeconds, .integer(1...holdSecondsMax)),
        Field("waitlistMax", \.waitlistMax, .integer(0...waitlistLimit)),
        Field("batches", \.batches, .list(of: Batch.codec, countMax: batchesMax)))

    public func batch(_ number: Int) -> Batch? { batches.first { $0.number == number } }
}

extension Sale.Batch {
    public func line(_ variant: String) -> Sale.Line? { lines.first { $0.variant == variant } }
}

extension Codec<Int> {
    /// A batch's number within its sale.
    static var batchNumber: Codec { integer(1...Sale.batchesMax) }
}

extension Codec<String> {
    /// See `JSONValue.variantCode`.
    static var variantCode: Codec {
        Codec(
            .code(JSONValue.variantCodeAlphabet, count: 1...Product.variantCodeBytesMax),
            expected: JSONValue.variantCodeExpectation,
            read: { (value) throws(JSONError) in try value.variantCode() }, write: { $1.value($0) })
    }
}

extension JSONValue {
    /// A variant's code: 1 to 64 letters, digits, dots, dashes and underscores of ASCII. It goes into commands, file names and
    /// addresses, and nothing in it needs quoting anywhere. It is a key in the memory of one service and in the tables of
    /// another: two codes are equal in both where their bytes are.
    public func variantCode(_ name: StaticString) throws(JSONError) -> String {
        try read(name, expected: Self.variantCodeExpectation) { (value) throws(JSONError) in try value.variantCode() }
    }

    func variantCode() throws(JSONError) -> String {
        guard let code = stringValue, (1...Product.variantCodeBytesMax).contains(code.utf8.count),
            Self.variantCodeAlphabet.spells(code.utf8)
        else { throw JSONError(path: "", expected: Self.variantCodeExpectation) }
        return code
    }

    fileprivate static let variantCodeAlphabet = Alphabet("A-Za-z0-9._-")
    fileprivate static let variantCodeExpectation =
        "1 to \(Product.variantCodeBytesMax) letters, digits, dots, dashes and underscores"
}
