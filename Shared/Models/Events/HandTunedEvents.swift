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
