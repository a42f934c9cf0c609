// The answers to a decided batch: rendered after its commit, from its records and the recipe that was kept.
import EventPipeline
import Models

enum DecisionAnswers {
    static func render(_ batch: EventBatch, recipe bytes: [UInt8], into outgoing: inout Outgoing) throws {
        let recipe = try Recipe<Decided>(encoded: bytes)
        let lines = Dictionary(
            recipe.head.lines.map { (StockKey(saleId: $0.saleId, batch: $0.batch, variant: $0.variant), $0) },
            uniquingKeysWith: { first, _ in first })
        var last: (key: StockKey, line: Decided.Line)?
        let inputs = batch.kept(OrderInput.self) ?? batch.events(of: OrderPlaced.self).map { $0.map(OrderInput.placed) }
        for event in inputs {
            guard case .placed(let order) = event.value else { continue }
            guard let outcome = recipe.code(at: event.offset).flatMap(Outcome.init), outcome != .none else { continue }
            let key = StockKey(saleId: order.saleId, batch: order.batch, variant: order.variant)
            if last?.key != key { last = lines[key].map { (key, $0) } }
            guard let terms = last?.line else { continue }
            let line = OrderLine(
                orderId: order.orderId, saleId: order.saleId, batch: order.batch, variant: order.variant,
                buyerId: order.buyerId, brandId: terms.brandId,
                // What was decided had its proof checked.
                publisher: event.claimedPublisher)
            let time = recipe.head.decidedAt
            switch outcome {
            case .none: continue
            case .reserved:
                outgoing.publish(
                    .reservations, key: order.buyerId, subject: order.orderId, "reserved", time: time,
                    OrderReserved(
                        line: line, price: terms.price, holdUntil: time.adding(seconds: terms.holdSeconds),
                        promoted: false),
                    cause: event.trace)
            case .waitlisted:
                outgoing.publish(
                    .reservations, key: order.buyerId, subject: order.orderId, "waitlisted", time: time,
                    OrderWaitlisted(line: line), cause: event.trace)
            case .cancelled:
                outgoing.publish(
                    .reservations, key: order.buyerId, subject: order.orderId, "released", time: time,
                    OrderReleased(line: line, reason: .cancelled), cause: event.trace)
            case .soldOut, .limitReached, .notOpen, .closed:
                guard let reason = outcome.refusal else { continue }
                outgoing.publish(
                    .reservations, key: order.buyerId, subject: order.orderId, "rejected", time: time,
                    OrderRejected(line: line, reason: reason), cause: event.trace)
            }
        }
    }
}
