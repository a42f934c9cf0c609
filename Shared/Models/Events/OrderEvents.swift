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

    public init(json: JSONValue) throws(JSONError) {
        orderId = try json.orderID()
        saleId = try json.identifier("saleId")
        batch = try json.batch()
        variant = try json.variant()
        buyerId = try json.identifier("buyerId")
    }

    public func write(to writer: inout JSONWriter) {
        writer.object {
            $0.field("orderId", orderId)
            $0.field("saleId", saleId)
            $0.field("batch", batch)
            $0.field("variant", variant)
            $0.field("buyerId", buyerId)
        }
    }
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

    public init(json: JSONValue) throws(JSONError) {
        orderId = try json.orderID()
        saleId = try json.identifier("saleId")
        buyerId = try json.identifier("buyerId")
    }

    public func write(to writer: inout JSONWriter) {
        writer.object {
            $0.field("orderId", orderId)
            $0.field("saleId", saleId)
            $0.field("buyerId", buyerId)
        }
    }
}

extension JSONValue {
    /// What a publisher names an order. All zeros is what a program sends that forgot to make one.
    func orderID() throws(JSONError) -> OrderID {
        let id: OrderID = try identifier("orderId")
        guard id.high | id.low != 0 else { throw JSONError(path: "orderId", expected: "a UUID that is not nil") }
        return id
    }

    func batch() throws(JSONError) -> Int { Int(try integer("batch", in: 1...Int64(Sale.batchesMax))) }
    func variant() throws(JSONError) -> String { try variantCode("variant") }
}
