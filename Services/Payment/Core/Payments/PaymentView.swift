// A payment as it is shown.
import JSON
import Models
import ServiceKit

/// A payment as its buyer and its brand see it.
struct PaymentView: JSONWritable {
    let payment: PaymentID
    let order: PaymentOrder
    let amount: Money
    let createdAt: Timestamp

    /// - Throws: when the order was never paid.
    init(_ order: PaymentOrder, createdAt: Timestamp) throws(LedgerError) {
        guard let payment = order.payment, let due = order.due else { throw .impossible }
        self.payment = payment
        self.order = order
        amount = due.price
        self.createdAt = createdAt
    }

    func write(to writer: inout JSONWriter) {
        writer.object {
            $0.field("paymentId", payment)
            $0.field("orderId", order.id)
            $0.field("saleId", order.sale)
            $0.field("buyerId", order.buyer)
            $0.field("brandId", order.brand)
            $0.field("amount", amount)
            $0.field("state", order.state.rawValue)
            $0.field("createdAt", createdAt)
        }
    }

    var created: KeptAnswer {
        KeptAnswer(status: 201, location: "/v1/payments/\(payment)", body: JSONWriter.document(self))
    }
}
