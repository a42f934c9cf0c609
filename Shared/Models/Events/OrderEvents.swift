// Topic `orders`, keyed by the buyer's ID.
import JSON

/// One buyer's wish for one unit of one variant of one batch.
public struct OrderPlaced: EventPayload {
    public static let type = "stampede.order.placed.v1"

    public let orderId: OrderID
    public let saleId: SaleID
    /// The batch's number within the sale, from 1.
    public let batch: Int
    /// The variant's code, `mi3-silver-16`.
    public let variant: String
    public let buyerId: AccountID

    public init(orderId: OrderID, saleId: SaleID, batch: Int, variant: String, buyerId: AccountID) {
        self.orderId = orderId
        self.saleId = saleId
        self.batch = batch
        self.variant = variant
        self.buyerId = buyerId
    }

    public static let schema = Schema(
        Self.init, Field("orderId", \.orderId, .newOrderID), Field("saleId", \.saleId),
        Field("batch", \.batch, .batchNumber), Field("variant", \.variant, .variantCode), Field("buyerId", \.buyerId))
}

/// The buyer takes the order back. What was reserved is released; what was paid is refunded.
public struct OrderCancelled: EventPayload {
    public static let type = "stampede.order.cancelled.v1"

    public let orderId: OrderID
    public let saleId: SaleID
    public let buyerId: AccountID

    public init(orderId: OrderID, saleId: SaleID, buyerId: AccountID) {
        self.orderId = orderId
        self.saleId = saleId
        self.buyerId = buyerId
    }

    public static let schema = Schema(
        Self.init, Field("orderId", \.orderId, .newOrderID), Field("saleId", \.saleId), Field("buyerId", \.buyerId))
}

extension OrderID {
    /// All zeros is what a program sends that forgot to make one.
    var isOfOrder: Bool { high | low != 0 }
}

extension Codec<OrderID> {
    /// What a publisher names an order.
    static var newOrderID: Codec {
        Codec(
            .uuid(isNilTaken: false), expected: "a UUID",
            read: { (value) throws(JSONError) in try value.newOrderID() }, write: { $0.write(to: &$1) })
    }
}

extension JSONValue {
    func newOrderID() throws(JSONError) -> OrderID {
        let (high, low) = try uuid()
        let id = OrderID(high: high, low: low)
        guard id.isOfOrder else { throw JSONError(path: "", expected: "a UUID that is not nil") }
        return id
    }
}
