// What a sale sells, by its names.
import Models

/// The names that a notification needs of one sale. As JSON it stands in the outbox: its members keep their names.
struct ProductNames: Sendable, Equatable, Codable {
    let saleId: SaleID
    let product: LocalizedText
    /// By the variant's code.
    let variants: [String: LocalizedText]

    init(saleId: SaleID, product: Product) {
        self.saleId = saleId
        self.product = product.name
        variants = Dictionary(product.variants.map { ($0.code, $0.title) }, uniquingKeysWith: { first, _ in first })
    }
}
