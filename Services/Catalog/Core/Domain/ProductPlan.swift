// What a brand says about a product, and the rules for it.
import Models

/// A product as its brand describes it.
public struct ProductPlan: Hashable, Sendable {
    public let name: LocalizedText
    public let variants: [Product.Variant]

    public init(name: LocalizedText, variants: [Product.Variant]) {
        self.name = name
        self.variants = variants
    }

    /// Everything that cannot be about it; nothing when it may be stored.
    public func faults() -> [Fault] {
        var found = name.faults("name")
        if variants.isEmpty { found.append(Fault("variants", "at least one variant, which stock is counted by")) }
        var codes: Set<String> = []
        for (index, variant) in variants.enumerated() {
            let place = "variants[\(index)]"
            if !Self.isCode(variant.code) {
                found.append(Fault("\(place).code", "letters, digits, dots, dashes and underscores"))
            } else if !codes.insert(variant.code).inserted {
                found.append(Fault("\(place).code", "a code that no other variant has"))
            }
            found += variant.title.faults("\(place).title")
        }
        return found
    }

    public func product(_ id: ProductID, of brand: BrandID) -> Product {
        Product(productId: id, brandId: brand, name: name, variants: variants)
    }

    /// A code goes into commands, file names and addresses: nothing in it needs quoting anywhere.
    static func isCode(_ code: String) -> Bool {
        !code.isEmpty && code.utf8.count <= Product.variantCodeBytesMax
            && code.utf8.allSatisfy {
                switch $0 {
                case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
                    UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "."), UInt8(ascii: "-"), UInt8(ascii: "_"):
                    true
                default: false
                }
            }
    }
}
