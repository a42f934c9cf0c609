// Topics `reservations` and `payments`: what the two services decide becomes the order's status.
import EventPipeline
import JSON
import Models

/// `reservations`: keeps a row for every order that holds or held something, and for those that were placed here.
struct DecisionEvents: EventHandler {
    private struct Decision: Sendable {
        let line: OrderLine
        let status: OrderStatus
        var reason: String?
        var holdUntil: Timestamp?
    }

    func apply(_ batch: EventBatch, _ unit: UnitOfWork) async throws {
        let types = [
            OrderReserved.type, OrderWaitlisted.type, OrderConfirmed.type, OrderReleased.type, OrderRejected.type,
        ]
        let events = batch.read(unit, only: types) { (type, json) throws(JSONError) -> Decision? in
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
        let rejections = changes.filter { $0.status == .rejected }
        unit.transaction.finish(
            OrderChange.sets(changes.filter { $0.status != .rejected }).map(OrderStatements.apply))
        if !rejections.isEmpty { unit.transaction.finish(OrderStatements.reject(rejections)) }
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
struct RefundEvents: EventHandler {
    func apply(_ batch: EventBatch, _ unit: UnitOfWork) async throws {
        let events = batch.read(unit, only: [PaymentRefunded.type]) { (_, json) throws(JSONError) in
            try PaymentRefunded(json: json)
        }
        let changes = OrderChange.folded(events.map { OrderChange($0.value, at: $0.time) })
        unit.transaction.finish(OrderChange.sets(changes).map(OrderStatements.apply))
    }
}
