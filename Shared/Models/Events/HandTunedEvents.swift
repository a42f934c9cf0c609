// The events that come and go by the hundred thousand in a second, read and written without going through their schemas. A
// test holds both against each other.
import JSON

extension OrderPlaced {
    public init(json: JSONValue) throws(JSONError) {
        orderId = try json.read("orderId", expected: "a UUID") { (value) throws(JSONError) in try value.newOrderID() }
        saleId = try json.identifier("saleId")
        batch = Int(try json.integer("batch", in: 1...Int64(Sale.batchesMax)))
        variant = try json.variantCode("variant")
        buyerId = try json.identifier("buyerId")
    }
}

/// Orders that differ from another in their own and their buyer's identifiers alone: those of a rush, mostly.
public final class AlikeOrders {
    private var mould: DocumentMould?
    private var last: OrderPlaced?

    public init() {}

    /// The order that a body says, nil where it has to be parsed.
    public func order(_ body: some Collection<UInt8>) -> OrderPlaced? {
        guard let mould, let last else { return nil }
        return mould.read(body) { uuids in
            let order = OrderID(high: uuids[0].high, low: uuids[0].low)
            guard order.isOfOrder else { return nil }
            return OrderPlaced(
                orderId: order, saleId: last.saleId, batch: last.batch, variant: last.variant,
                buyerId: AccountID(high: uuids[1].high, low: uuids[1].low))
        }
    }

    /// Takes the next orders for such as this one, which was parsed.
    public func learn(_ order: OrderPlaced, _ json: JSONValue, of body: some Collection<UInt8>) {
        guard !body.isEmpty else { return }
        mould = DocumentMould(body, json, uuids: ["orderId", "buyerId"])
        last = order
    }
}

extension OrderReserved {
    public func write(to writer: inout JSONWriter) {
        writer.object {
            line.writeMembers(to: &$0)
            $0.field("price", price)
            $0.field("holdUntil", holdUntil)
            $0.field("promoted", promoted)
        }
    }
}

extension OrderRejected {
    public func write(to writer: inout JSONWriter) {
        writer.object {
            line.writeMembers(to: &$0)
            $0.field("reason", reason.rawValue)
        }
    }
}

extension OrderLine {
    fileprivate func writeMembers(to writer: inout JSONWriter) {
        writer.field("orderId", orderId)
        writer.field("saleId", saleId)
        writer.field("batch", batch)
        writer.field("variant", variant)
        writer.field("buyerId", buyerId)
        writer.field("brandId", brandId)
        writer.field("orderRevision", optional: orderRevision)
        writer.field("publisher", optional: publisher)
    }
}
