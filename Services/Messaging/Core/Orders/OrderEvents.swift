// What the reservation and the payment service decide becomes the order's status.
import EventPipeline
import JSON
import Models

/// `reservations`: keeps a row for every order that holds or held something, and for those that were placed here.
struct DecisionHandler: EventHandler {
    private struct Decision: Sendable {
        let line: OrderLine
        let status: OrderStatus
        var reason: String?
        var holdUntil: Timestamp?
    }

    func apply(_ batch: EventBatch, _ step: Step) async throws {
        let types = [
            OrderReserved.type, OrderWaitlisted.type, OrderConfirmed.type, OrderReleased.type, OrderRejected.type,
        ]
        let events = batch.read(step, only: types) { (type, json) throws(JSONError) -> Decision? in
            switch type {
            case OrderReserved.type:
                let event = try OrderReserved(json: json)
                return Decision(line: event.line, status: .reserved, holdUntil: event.holdUntil)
            case OrderWaitlisted.type:
                return Decision(line: try OrderWaitlisted(json: json).line, status: .waitlisted)
            case OrderConfirmed.type:
                return Decision(line: try OrderConfirmed(json: json).line, status: .confirmed)
            case OrderReleased.type:
                let event = try OrderReleased(json: json)
                return Decision(line: event.line, status: .released, reason: event.reason.rawValue)
            default:
                return try rejection(json)
            }
        }
        let changes = OrderChange.folded(
            events.map { event in
                let decision = event.value
                return OrderChange(
                    decision.line, decision.status, reason: decision.reason, holdUntil: decision.holdUntil,
                    at: event.time)
            })
        for set in OrderChange.sets(changes.filter { $0.status != .rejected }) {
            try await OrderStorage.apply(set, in: step.transaction)
        }
        try await OrderStorage.reject(changes.filter { $0.status == .rejected }, in: step.transaction)
    }

    /// A million orders may be rejected for a hundred thousand that are not, most of them published by others: only
    /// those that can have a row are looked at any further.
    private func rejection(_ json: JSONValue) throws(JSONError) -> Decision? {
        let order: OrderID = try json.identifier("orderId")
        let reason: OrderRejected.Reason = try json.choice("reason")
        guard DerivedIdentifiers.mayBePlacedHere(order) || reason == .waitlistEnded else { return nil }
        return Decision(line: try OrderRejected(json: json).line, status: .rejected, reason: reason.rawValue)
    }
}

/// `payments`: a refund is the last thing that happens to an order. That it was paid says `OrderConfirmed`.
struct RefundHandler: EventHandler {
    func apply(_ batch: EventBatch, _ step: Step) async throws {
        let events = batch.read(step, only: [PaymentRefunded.type]) { (_, json) throws(JSONError) in
            try PaymentRefunded(json: json)
        }
        let changes = OrderChange.folded(events.map { OrderChange($0.value, at: $0.time) })
        for set in OrderChange.sets(changes) { try await OrderStorage.apply(set, in: step.transaction) }
    }
}
