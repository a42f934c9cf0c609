// The answers to a decided batch: rendered after its commit, from its records and the deferred records that were kept.
import EventPipeline
import Models
import Observability

/// A batch's orders, as its answers need them.
struct AnsweredOrders: Sendable {
    var orders: [OrderInLog]
    /// What each one's answer follows from.
    var traces: [TraceContext?]
}

extension AnsweredOrders {
    /// Those of a batch that comes from the log again. What was decided of them had its proof checked.
    init(in batch: EventBatch) {
        let events = batch.events(of: OrderPlaced.self)
        orders = events.map {
            OrderInLog(order: $0.value, time: $0.time, offset: $0.offset, publisher: $0.claimedPublisher)
        }
        traces = events.map { $0.trace }
    }
}

enum DecisionAnswers {
    static func render(_ batch: EventBatch, deferred bytes: [UInt8], into outgoing: inout Outgoing) throws {
        let deferred = try DeferredRecords<Decided>(encoded: bytes)
        render(batch.kept() ?? AnsweredOrders(in: batch), deferred, into: &outgoing)
    }

    /// Answers that differ in the order and its buyer alone.
    private struct Form: Hashable {
        let key: StockKey
        let outcome: Outcome
        let publisher: PublisherName?

        init(_ placed: OrderInLog, _ outcome: Outcome) {
            key = StockKey(
                saleId: placed.order.saleId, batch: placed.order.batch, variant: placed.order.variant)
            self.outcome = outcome
            publisher = placed.publisher
        }

        func isOf(_ placed: OrderInLog, _ outcome: Outcome) -> Bool {
            self.outcome == outcome && key.saleId == placed.order.saleId && key.batch == placed.order.batch
                && key.variant == placed.order.variant && publisher == placed.publisher
        }
    }

    private typealias Mould = EventMould<Account, OrderPlaced>

    private static func render(
        _ answered: AnsweredOrders, _ deferred: DeferredRecords<Decided>, into outgoing: inout Outgoing
    ) {
        let lines = Dictionary(
            deferred.head.lines.map { (StockKey(saleId: $0.saleId, batch: $0.batch, variant: $0.variant), $0) },
            uniquingKeysWith: { first, _ in first })
        var moulds: [Form: Mould] = [:]
        var last: (form: Form, mould: Mould)?
        for (index, placed) in answered.orders.enumerated() {
            guard let outcome = deferred.code(at: placed.offset).flatMap(Outcome.init), outcome != .none else {
                continue
            }
            if last?.form.isOf(placed, outcome) != true {
                let form = Form(placed, outcome)
                guard let terms = lines[form.key] else { continue }
                let mould = moulds[form] ?? mould(form, terms, at: deferred.head.decidedAt, outgoing)
                // Most are as long as the first.
                if moulds.isEmpty { outgoing.reserve(answered.orders.count - index, of: mould) }
                moulds[form] = mould
                last = (form, mould)
            }
            if let last {
                outgoing.publish(
                    last.mould, key: placed.order.buyerId, subject: placed.order.orderId, cause: answered.traces[index])
            }
        }
    }

    private static func mould(_ form: Form, _ terms: Decided.Line, at time: Timestamp, _ outgoing: Outgoing) -> Mould {
        func mould<Payload: EventPayload>(_ what: StaticString, _ payload: (OrderLine) -> Payload) -> Mould {
            outgoing.mould(.reservations, what, time: time) { (buyer, order) in
                payload(
                    OrderLine(
                        orderId: order, saleId: form.key.saleId, batch: form.key.batch, variant: form.key.variant,
                        buyerId: buyer, brandId: terms.brandId, publisher: form.publisher))
            }
        }
        func rejected(_ reason: OrderRejected.Reason) -> Mould {
            mould("rejected") { OrderRejected(line: $0, reason: reason) }
        }
        switch form.outcome {
        case .none: preconditionFailure("nothing is said of an order that was decided before")
        case .reserved:
            return mould("reserved") {
                OrderReserved(
                    line: $0, price: terms.price, holdUntil: time.adding(seconds: terms.holdSeconds), promoted: false)
            }
        case .waitlisted: return mould("waitlisted") { OrderWaitlisted(line: $0) }
        case .cancelled: return mould("released") { OrderReleased(line: $0, reason: .cancelled) }
        case .soldOut: return rejected(.soldOut)
        case .limitReached: return rejected(.limitReached)
        case .notOpen: return rejected(.notOpen)
        case .closed: return rejected(.closed)
        }
    }
}
