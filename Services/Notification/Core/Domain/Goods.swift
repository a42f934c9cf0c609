// What a sale sells, by its names.
import Models

/// The names that a notification needs of one sale.
struct Goods: Sendable, Equatable, Codable {
    let saleId: SaleID
    let product: LocalizedText
    /// By the variant's code.
    let variants: [String: LocalizedText]

    init(saleId: SaleID, product: Product) {
        self.saleId = saleId
        self.product = product.name
        variants = Dictionary(product.variants.map { ($0.code, $0.title) }, uniquingKeysWith: { first, _ in first })
    }

    /// `Mi 3 (silver, 16 GB)`.
    func name(variant: String?, in language: Language) -> String {
        let product = self.product.text(for: language.tag)
        guard let title = variant.flatMap({ variants[$0] })?.text(for: language.tag) else { return product }
        switch language {
        case .english: return "\(product) (\(title))"
        case .chinese: return "\(product)（\(title)）"
        }
    }
}
