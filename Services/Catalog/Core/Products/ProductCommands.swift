// Makes products.
import EventPipeline
import JSON
import Models
import ServiceKit

struct ProductCommands: Sendable {
    enum Refusal: Error, Equatable, Sendable {
        /// The request says what cannot be.
        case faults([Fault])
    }

    let relay: Relay
    let newID: @Sendable () -> ProductID

    /// - Parameter command: its key; nil where the same plan sent again is another product.
    func create(
        _ plan: ProductPlan, by brand: BrandID, once command: IdempotentCommand?
    ) async throws -> KeptAnswer {
        let faults = plan.faults()
        guard faults.isEmpty else { throw Refusal.faults(faults) }
        let product = plan.product(newID(), of: brand)
        return try await relay.commit { unit in
            try await unit.transaction.once(command) {
                _ = try await unit.transaction.execute(ProductStatements.insert(product, at: unit.now))
                unit.publish(.products, key: product.productId, id: "\(product.productId)", product)
                return product.created
            }.answer
        }
    }
}

extension Product {
    fileprivate var created: KeptAnswer {
        KeptAnswer(status: 201, location: "/v1/products/\(productId)", body: JSONWriter.document(self))
    }
}
