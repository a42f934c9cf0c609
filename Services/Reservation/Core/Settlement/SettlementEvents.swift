// Topic `payments`: what is paid is confirmed, what failed is released, what came too late goes back.
import EventPipeline
import JSON
import Models
import Observability

struct SettlementEvents: EventHandler {
    let commands: SettlementCommands

    private enum Input: Sendable {
        case captured(PaymentCaptured)
        case failed(PaymentFailed)
    }

    func apply(_ batch: EventBatch, _ unit: UnitOfWork) async throws {
        let inputs = batch.read(unit, only: [PaymentCaptured.type, PaymentFailed.type]) {
            (type, json) throws(JSONError) -> Input? in
            type == PaymentCaptured.type
                ? .captured(try PaymentCaptured(json: json)) : .failed(try PaymentFailed(json: json))
        }
        if inputs.isEmpty { return }
        var paid: [OrderID] = []
        var failed: [OrderID] = []
        var causes: [OrderID: TraceContext] = [:]
        for input in inputs {
            switch input.value {
            case .captured(let payment):
                paid.append(payment.orderId)
                causes[payment.orderId] = input.trace
            case .failed(let payment):
                failed.append(payment.orderId)
                causes[payment.orderId] = input.trace
            }
        }
        let known = try await commands.settle(paid: paid, failed: failed, causes: causes, unit)
        for input in inputs {
            // Money that was taken for an order that nobody here knows: no later record can make sense of it, somebody
            // has to look.
            if case .captured(let payment) = input.value, !known.contains(payment.orderId) {
                unit.dead(input, reason: "orderId: expected an order that got a unit")
            }
        }
    }
}
