// Topics `products` and `sales`, keyed by their IDs: both compacted.
import JSON

/// A catalogue entry as it is now.
public struct Product: EventPayload {
    public static let type = "stampede.product.changed.v1"

    public let productId: ProductID
    public let brandId: BrandID
    public let name: LocalizedText
    public let variants: [Variant]

    public struct Variant: Hashable, Sendable, Codable, JSONWritable {
        /// What stock is counted by: `mi3-silver-16`.
        public let code: String
        public let title: LocalizedText

        public init(code: String, title: LocalizedText) {
            self.code = code
            self.title = title
        }

        public init(json: JSONValue) throws(JSONError) {
            code = try json.variantCode("code")
            title = try json.storedLocalizedText("title")
        }

        public func write(to writer: inout JSONWriter) {
            writer.object {
                $0.field("code", code)
                $0.field("title", title)
            }
        }
    }

    public static let variantsMax = 100
    public static let variantCodeBytesMax = 64

    public init(productId: ProductID, brandId: BrandID, name: LocalizedText, variants: [Variant]) {
        self.productId = productId
        self.brandId = brandId
        self.name = name
        self.variants = variants
    }

    public init(json: JSONValue) throws(JSONError) {
        productId = try json.identifier("productId")
        brandId = try json.identifier("brandId")
        name = try json.storedLocalizedText("name")
        variants = try json.list("variants", countMax: Self.variantsMax, Variant.init(json:))
    }

    public func write(to writer: inout JSONWriter) {
        writer.object {
            $0.field("productId", productId)
            $0.field("brandId", brandId)
            $0.field("name", name)
            $0.field("variants", variants)
        }
    }
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
    public struct Batch: Hashable, Sendable, Codable, JSONWritable {
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

        public init(json: JSONValue) throws(JSONError) {
            number = Int(try json.integer("number", in: 1...Int64(Sale.batchesMax)))
            opensAt = try json.timestamp("opensAt")
            closesAt = try json.optionalTimestamp("closesAt")
            lines = try json.list("lines", countMax: Product.variantsMax, Line.init(json:))
        }

        public func write(to writer: inout JSONWriter) {
            writer.object {
                $0.field("number", number)
                $0.field("opensAt", opensAt)
                $0.field("closesAt", optional: closesAt)
                $0.field("lines", lines)
            }
        }
    }

    /// One variant's supply in a batch, and its price.
    public struct Line: Hashable, Sendable, Codable, JSONWritable {
        public let variant: String
        public let units: Int64
        public let price: Money

        public init(variant: String, units: Int64, price: Money) {
            self.variant = variant
            self.units = units
            self.price = price
        }

        public init(json: JSONValue) throws(JSONError) {
            variant = try json.variant()
            units = try json.integer("units", in: 0...Sale.unitsMax)
            price = try json.money("price")
        }

        public func write(to writer: inout JSONWriter) {
            writer.object {
                $0.field("variant", variant)
                $0.field("units", units)
                $0.field("price", price)
            }
        }
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

    public init(json: JSONValue) throws(JSONError) {
        saleId = try json.identifier("saleId")
        brandId = try json.identifier("brandId")
        productId = try json.identifier("productId")
        title = try json.storedLocalizedText("title")
        revision = try json.integer("revision", in: 1...Int64.max)
        holdSeconds = try json.integer("holdSeconds", in: 1...Self.holdSecondsMax)
        waitlistMax = try json.integer("waitlistMax", in: 0...Self.waitlistLimit)
        batches = try json.list("batches", countMax: Self.batchesMax, Batch.init(json:))
    }

    public func write(to writer: inout JSONWriter) {
        writer.object {
            $0.field("saleId", saleId)
            $0.field("brandId", brandId)
            $0.field("productId", productId)
            $0.field("title", title)
            $0.field("revision", revision)
            $0.field("holdSeconds", holdSeconds)
            $0.field("waitlistMax", waitlistMax)
            $0.field("batches", batches)
        }
    }

    public func batch(_ number: Int) -> Batch? { batches.first { $0.number == number } }
}

extension Sale.Batch {
    public func line(_ variant: String) -> Sale.Line? { lines.first { $0.variant == variant } }
}

extension JSONValue {
    /// A variant's code: 1 to 64 letters, digits, dots, dashes and underscores of ASCII. It goes into commands, file names and
    /// addresses, and nothing in it needs quoting anywhere. It is a key in the memory of one service and in the tables of
    /// another: two codes are equal in both where their bytes are.
    public func variantCode(_ name: StaticString) throws(JSONError) -> String {
        guard let code = self[name]?.stringValue, (1...Product.variantCodeBytesMax).contains(code.utf8.count),
            code.utf8.allSatisfy(Self.isOfCode)
        else {
            throw JSONError(
                path: "\(name)",
                expected: "1 to \(Product.variantCodeBytesMax) letters, digits, dots, dashes and underscores")
        }
        return code
    }

    private static func isOfCode(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
            UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "."), UInt8(ascii: "-"), UInt8(ascii: "_"):
            true
        default: false
        }
    }
}
