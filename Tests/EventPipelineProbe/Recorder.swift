// What a tiny service does with orders: a row and an answer for each.
import EventPipeline
import JSON
import Models

/// Keeps each order as a row and answers it; a second application of the same order would violate the primary key.
struct Recorder: EventHandler {
    /// Answers are rendered from deferred records after the commit, or published through the unit of work.
    var rendersAnswers = false
    var beforeCommit: @Sendable (EventBatch) async throws -> Void = { _ in }

    func apply(_ batch: EventBatch, _ unit: UnitOfWork) async throws {
        let orders = batch.read(unit, only: [OrderPlaced.type]) { (_, json) throws(JSONError) in
            try OrderPlaced(json: json)
        }
        if orders.isEmpty { return }
        unit.transaction.finish(
            """
            INSERT INTO effects (order_id, variant)
            SELECT * FROM unnest(\(orders.map(\.value.orderId)), \(orders.map(\.value.variant)))
            """)
        try await beforeCommit(batch)
        if rendersAnswers { return unit.publish(rendering: [1]) }
        for order in orders {
            unit.publish(
                .reservations, key: order.value.buyerId, id: "\(order.value.orderId)/waitlisted", answer(order.value))
        }
    }

    func render(_ batch: EventBatch, deferred: [UInt8], into outgoing: inout Outgoing) throws {
        for order in batch.events(of: OrderPlaced.self) {
            outgoing.publish(
                .reservations, key: order.value.buyerId, id: "\(order.value.orderId)/waitlisted", time: order.time,
                answer(order.value), cause: order.trace)
        }
    }

    private func answer(_ order: OrderPlaced) -> OrderWaitlisted {
        OrderWaitlisted(
            line: OrderLine(
                orderId: order.orderId, saleId: order.saleId, batch: 1, variant: order.variant, buyerId: order.buyerId,
                brandId: AccountID(high: 9, low: 9)))
    }
}
