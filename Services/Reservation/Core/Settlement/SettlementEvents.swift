// What payments mean for the units that are held: paid is confirmed, failed is released, too late goes back.
import EventPipeline
import JSON
import Models
import Observability

struct PaymentSettlement: EventHandler {
    let keeper: StockKeeper
    let settlement = SettlementStorage()

    private enum Input: Sendable {
        case captured(PaymentCaptured)
        case failed(PaymentFailed)
    }

    func apply(_ batch: EventBatch, _ step: Step) async throws {
        let inputs = batch.read(step, only: [PaymentCaptured.type, PaymentFailed.type]) {
            (type, json) throws(JSONError) -> Input? in
            type == PaymentCaptured.type
                ? .captured(try PaymentCaptured(json: json)) : .failed(try PaymentFailed(json: json))
        }
        var paid: [OrderID] = []
        var failed: [OrderID] = []
        var traces: [OrderID: TraceContext] = [:]
        for input in inputs {
            switch input.value {
            case .captured(let payment):
                paid.append(payment.orderId)
                traces[payment.orderId] = input.trace
            case .failed(let payment):
                failed.append(payment.orderId)
                traces[payment.orderId] = input.trace
            }
        }
        if inputs.isEmpty { return }
        let found = try await settlement.lock(paid + failed, step.transaction)
        let held = paid.filter { found[$0]?.state == OrderState.reserved }
        if !held.isEmpty {
            for order in try await settlement.confirm(held, step.transaction) {
                step.publish(
                    .reservations, key: order.line.buyerId, id: "\(order.line.orderId)/confirmed",
                    OrderConfirmed(line: order.line), cause: traces[order.line.orderId])
            }
        }
        // Held no more: the money has to go back. Confirmed or told before: the event came twice.
        let ended = paid.filter { found[$0]?.state == OrderState.released && found[$0]?.isRefunded == false }
        if !ended.isEmpty {
            for order in try await settlement.refund(ended, step.transaction) {
                step.publish(
                    .reservations, key: order.line.buyerId, id: "\(order.line.orderId)/paid-too-late",
                    OrderReleased(line: order.line, reason: .paidTooLate), cause: traces[order.line.orderId])
            }
        }
        buryUnknown(inputs, found, step)
        let isPaid = Set(held)
        let unpaid = failed.filter { found[$0]?.state == OrderState.reserved && !isPaid.contains($0) }
        let released = try await settlement.end(unpaid, step.transaction)
        keeper.publishReleased(released, reason: .paymentFailed, causes: traces, step)
        keeper.giveBack(released, step)
    }

    /// Money that was taken for an order that nobody here knows: no later record can make sense of it, somebody has to look.
    private func buryUnknown(
        _ inputs: [Incoming<Input>], _ found: [OrderID: SettlementStorage.Standing], _ step: Step
    ) {
        for input in inputs {
            if case .captured(let payment) = input.value, found[payment.orderId] == nil {
                step.dead(input, reason: "orderId: expected an order that got a unit")
            }
        }
    }
}
