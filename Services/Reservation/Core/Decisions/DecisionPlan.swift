// What of a batch can be decided, and by which terms.
import EventPipeline
import Models
import Observability
import Security

/// A record of the topic `orders`.
enum OrderInput: Sendable {
    case placed(OrderPlaced)
    case cancelled(OrderCancelled)

    var buyerId: AccountID {
        switch self {
        case .placed(let order): order.buyerId
        case .cancelled(let order): order.buyerId
        }
    }
}

/// What can be decided of a batch, in the order of the log, with the stocks that the orders are for.
struct DecisionPlan {
    var orders: [OrderInLog] = []
    /// For each order, what its answer follows from.
    var traces: [TraceContext?] = []
    var cancellations: [CancellationInLog] = []
    var lines: [Int] = []
    var keys: [StockKey] = []
    var terms: [Terms] = []
    /// Of the sale that the terms are from; nil where it was withdrawn: then its stocks need not be there.
    var revisions: [Int64?] = []
    var stocks: [StockView] = []
    /// Stocks of sales that are not published, and were not withdrawn since the program began.
    var unknown: Set<StockKey> = []
    var dead: [(Incoming<OrderInput>, reason: String)] = []
}

/// Finds out what can be decided: who published it, whether the sale is known, and what it says.
struct DecisionPlanner: Sendable {
    let sales: SaleTable
    let search: SaleSearch
    let publishers: PublisherKeys

    /// - Parameter former: the terms of what was unknown, where it was for sale once; nil before that was asked for.
    func plan(
        _ inputs: [Incoming<OrderInput>], _ batch: EventBatch, former: [StockKey: Terms]? = nil
    ) throws -> DecisionPlan {
        var plan = DecisionPlan()
        plan.orders.reserveCapacity(inputs.count)
        plan.traces.reserveCapacity(inputs.count)
        plan.lines.reserveCapacity(inputs.count)
        var indexes: [StockKey: Int] = [:]
        for input in inputs {
            guard input.key(as: AccountID.self) == input.value.buyerId else {
                plan.dead.append((input, "expected the buyer's ID as the key"))
                continue
            }
            let publisher: PublisherName?
            let (provenance, trace) = input.origin(publishers)
            switch provenance {
            case .unsigned: publisher = nil
            case .proven(let name): publisher = name
            case .forged:
                plan.dead.append(
                    (input, "\(PublisherKey.header): expected a publisher's proof for this record, or no such header"))
                continue
            }
            let order: OrderPlaced
            switch input.value {
            case .placed(let placed): order = placed
            case .cancelled(let cancelled):
                plan.cancellations.append(
                    CancellationInLog(
                        order: OrderOfBuyer(
                            orderId: cancelled.orderId, buyerId: cancelled.buyerId, publisher: publisher),
                        time: input.time, offset: input.offset))
                continue
            }
            let key = StockKey(saleId: order.saleId, batch: order.batch, variant: order.variant)
            if let last = plan.lines.last, plan.keys[last] == key {
                plan.lines.append(last)
            } else if let index = indexes[key] {
                plan.lines.append(index)
            } else {
                let published = sales[key.saleId]
                if let sale = published ?? sales.withdrawn(key.saleId) {
                    guard let terms = sale.terms(batch: key.batch, variant: key.variant) else {
                        plan.dead.append((input, "expected a batch and a variant that the sale offers"))
                        continue
                    }
                    plan.terms.append(published == nil ? terms.ended : terms)
                } else {
                    // It may have been published just now: its record is older than this order.
                    guard search.isComplete(for: input.offset, of: batch.partition, at: input.time) else {
                        let (partition, next) = (batch.partition, batch.nextOffset)
                        throw TryAgain { try await search.complete(before: next, of: partition) }
                    }
                    guard let former else {
                        plan.unknown.insert(key)
                        continue
                    }
                    guard let terms = former[key] else {
                        plan.dead.append((input, "saleId: expected a published sale"))
                        continue
                    }
                    plan.terms.append(terms.ended)
                }
                indexes[key] = plan.keys.count
                plan.lines.append(plan.keys.count)
                plan.keys.append(key)
                plan.revisions.append(published?.revision)
                plan.stocks.append(StockView(units: 0, places: 0, unitsElsewhere: 0, placesElsewhere: 0))
            }
            plan.orders.append(
                OrderInLog(order: order, time: input.time, offset: input.offset, publisher: publisher))
            plan.traces.append(trace)
        }
        return plan
    }
}
