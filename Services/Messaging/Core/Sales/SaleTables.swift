// The published sales and products.
import JSON
import Kafka
import Models
import Synchronization

/// Kept current from their compacted topics.
final class SaleTables: Sendable {
    private let sales = Mutex<[SaleID: Sale]>([:])
    private let products = Mutex<[ProductID: Product]>([:])

    func sale(_ id: SaleID) -> Sale? { sales.withLock { $0[id] } }
    func product(_ id: ProductID) -> Product? { products.withLock { $0[id] } }

    /// One record of `sales`.
    func applySale(_ key: ByteView, _ type: String, _ body: JSONValue?) throws(JSONError) {
        guard let id = SaleID(text: key) else { return }
        guard let body else {
            sales.withLock { $0[id] = nil }
            return
        }
        guard type == Sale.type else { return }
        let sale = try Sale(json: body)
        sales.withLock { if sale.revision >= $0[id]?.revision ?? 0 { $0[id] = sale } }
    }

    /// One record of `products`.
    func applyProduct(_ key: ByteView, _ type: String, _ body: JSONValue?) throws(JSONError) {
        guard let id = ProductID(text: key) else { return }
        guard let body else {
            products.withLock { $0[id] = nil }
            return
        }
        guard type == Product.type else { return }
        let product = try Product(json: body)
        products.withLock { $0[id] = product }
    }
}
