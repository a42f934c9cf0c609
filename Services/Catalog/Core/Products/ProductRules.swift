// What a brand says about a product, and the rules for it.
import Models

/// A product as its brand describes it.
package struct ProductPlan: Hashable, Sendable {
    package let name: LocalizedText
    package let variants: [Product.Variant]

    package init(name: LocalizedText, variants: [Product.Variant]) {
        self.name = name
        self.variants = variants
    }

    /// Everything that cannot be about it; nothing when it may be stored.
    package func faults() -> [Fault] {
        var found = name.faults("name")
        if variants.isEmpty { found.append(Fault("variants", "at least one variant, which stock is counted by")) }
        var codes: Set<String> = []
        for (index, variant) in variants.enumerated() {
            let place = "variants[\(index)]"
            if !codes.insert(variant.code).inserted {
                found.append(Fault("\(place).code", "a code that no other variant has"))
            }
            found += variant.title.faults("\(place).title")
        }
        return found
    }

    package func product(_ id: ProductID, of brand: BrandID) -> Product {
        Product(productId: id, brandId: brand, name: name, variants: variants)
    }
}
