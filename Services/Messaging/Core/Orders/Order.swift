// An order before and after it is taken in.
import Models

/// An order that is to be taken in.
struct NewOrder: Sendable, Equatable {
    let orderId: OrderID
    let buyerId: AccountID
    let clientOrderId: String
    let saleId: SaleID
    let brandId: BrandID
    let batch: Int
    let variant: String

    func accepted(at time: Timestamp) -> StoredOrder {
        StoredOrder(
            orderId: orderId, buyerId: buyerId, clientOrderId: clientOrderId, saleId: saleId, brandId: brandId,
            batch: batch, variant: variant, status: .accepted, reason: nil, acceptedAt: time, decidedAt: nil,
            holdUntil: nil, cancelledAt: nil)
    }
}

/// An order as it is now.
struct StoredOrder: Sendable, Equatable {
    let orderId: OrderID
    let buyerId: AccountID
    let clientOrderId: String?
    let saleId: SaleID
    let brandId: BrandID
    let batch: Int?
    let variant: String?
    let status: OrderStatus
    let reason: String?
    let acceptedAt: Timestamp
    let decidedAt: Timestamp?
    let holdUntil: Timestamp?
    var cancelledAt: Timestamp?
}
