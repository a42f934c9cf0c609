// An order as it is shown, in answers and in event streams.
import JSON
import Models

extension StoredOrder: JSONWritable {
    func write(to writer: inout JSONWriter) {
        writer.object {
            $0.field("orderId", orderId)
            $0.field("clientOrderId", optional: clientOrderId)
            $0.field("saleId", saleId)
            $0.field("brandId", brandId)
            $0.field("buyerId", buyerId)
            $0.field("batch", optional: batch)
            $0.field("variant", optional: variant)
            $0.field("status", status.rawValue)
            $0.field("reason", optional: reason)
            $0.field("acceptedAt", acceptedAt)
            $0.field("decidedAt", optional: decidedAt)
            $0.field("holdUntil", optional: holdUntil)
            $0.field("cancellationRequestedAt", optional: cancelledAt)
        }
    }
}
