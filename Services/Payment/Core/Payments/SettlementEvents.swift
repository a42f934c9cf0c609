// Topic `reservations`: a held unit is paid at once where that is authorised; what is released is paid back.
import EventPipeline
import JSON
import Models
import Observability

struct SettlementEvents: EventHandler {
    let commands: SettlementCommands
    let counters: LedgerCounters

    func apply(_ batch: EventBatch, _ unit: UnitOfWork) async throws {
        let events = batch.read(unit, only: [OrderReserved.type, OrderReleased.type]) {
            (type, json) throws(JSONError) -> ReservationNews? in
            switch type {
            case OrderReserved.type: .reserved(try OrderReserved(json: json))
            case OrderReleased.type: .released(try OrderReleased(json: json))
            default: nil
            }
        }
        guard !events.isEmpty else { return }
        let (settlement, impossible) = try await commands.settle(
            events.map(\.value), slot: batch.partition, unit.transaction)
        for (input, error) in impossible { unit.dead(events[input], reason: "\(error)") }
        counters.count(settlement.ledger.transfers, unit)
        for answer in settlement.answers { unit.publish(answer.event, cause: events[answer.input].trace) }
    }
}

extension UnitOfWork {
    /// Publishes a settlement's answer. Its ID follows from the order, so that a repeat is recognised.
    func publish(_ event: Settlement.Answer.Event, cause: TraceContext?) {
        switch event {
        case .captured(let captured):
            publish(.payments, key: captured.buyerId, id: "\(captured.orderId)/captured", captured, cause: cause)
        case .failed(let failed):
            publish(.payments, key: failed.buyerId, id: "\(failed.orderId)/failed", failed, cause: cause)
        case .refunded(let refunded):
            publish(.payments, key: refunded.buyerId, id: "\(refunded.orderId)/refunded", refunded, cause: cause)
        }
    }
}
