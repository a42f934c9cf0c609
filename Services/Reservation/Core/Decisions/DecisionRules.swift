// The decision on a run of orders: pure, in the order of the log. The same input always gives the same answers.
import Models

/// What was decided before and bears on a batch.
struct History: Sendable {
    /// Orders that the batch names, by themselves or in cancellations, and that have been decided.
    var decided: Set<OrderID> = []
    /// Buyers of the batch who hold, wait for or have bought a unit in a sale.
    var served: Set<SaleBuyer> = []
    /// Orders that are not over yet and that the batch's cancellations name.
    var live: [OrderID: LiveOrder] = [:]
    /// Those that were over when `live` was looked for. Of an order that was decided since then the cancellation is early.
    var over: Set<OrderID> = []
    /// Orders of the batch whose cancellations came in earlier batches.
    var cancelled: Set<OrderOfBuyer> = []
}

/// A stock of which less is here than the undecided orders of a run may want, but not elsewhere.
struct Shortage: Sendable, Equatable {
    let key: StockKey
    /// Orders of the run, from the first undecided one on, that want it.
    let wanted: Int64
}

struct DecisionResult: Sendable {
    /// One for each order that was decided: all, or from the first up to the one whose stock is used up here.
    var outcomes: [Outcome] = []
    /// What the undecided orders lack, empty where all are decided.
    var shortages: [Shortage] = []
    /// Orders of earlier batches that the batch's cancellations end.
    var ended: [OrderID] = []
    /// Cancellations that came before their orders: to be remembered.
    var early: [CancellationInLog] = []
}

/// Answers orders and their cancellations in the order of the log.
///
/// An order whose cancellation is in the batch as well, before it or behind it, never holds anything. What a cancellation
/// gives back goes to the pool, and so to whoever waits first: for the orders behind it, it is free elsewhere.
///
/// - Parameters:
///   - stocks: what each order's stock has; used up as the orders take it. Indexed by `line`.
///   - lines: for each order the index of its stock and terms.
///   - cancellations: those that lie among the orders, in the order of the log.
/// - Returns: one outcome an order, `none` for one that has been decided, cut where a stock has run out here but not
///   elsewhere: nobody is refused, and nobody is put on the waitlist, while a unit is free anywhere.
func decide(
    _ orders: [OrderInLog], lines: [Int], keys: [StockKey], terms: [Terms], stocks: inout [StockView],
    cancellations: [CancellationInLog] = [], history: History
) -> DecisionResult {
    var decisions = DecisionResult()
    decisions.outcomes.reserveCapacity(orders.count)
    var given: Set<OrderID> = []
    given.reserveCapacity(orders.count)
    var served = history.served
    let takenBack = history.cancelled.union(cancellations.map(\.order))
    var live = history.live
    var rest = cancellations[...]
    var indexes: [StockKey: Int] = [:]
    if !cancellations.isEmpty { for (index, key) in keys.enumerated() { indexes[key] = index } }
    func cancel(before offset: Int64) {
        while let next = rest.first, next.offset < offset {
            rest.removeFirst()
            let id = next.order.orderId
            if let order = live[id] {
                guard order.buyer.buyerId == next.order.buyerId,
                    next.order.publisher.mayCancel(orderOf: order.publisher)
                else { continue }
                live[id] = nil
                served.remove(order.buyer)
                decisions.ended.append(id)
                guard let line = indexes[order.key] else { continue }
                if order.hasUnit { stocks[line].unitsElsewhere += 1 } else { stocks[line].placesElsewhere += 1 }
            } else if history.live[id] == nil, !history.over.contains(id) {
                decisions.early.append(next)
            }
        }
    }
    func isTakenBack(_ placed: OrderInLog) -> Bool {
        [placed.publisher, .messaging].contains {
            takenBack.contains(
                OrderOfBuyer(orderId: placed.order.orderId, buyerId: placed.order.buyerId, publisher: $0))
        }
    }
    for (index, placed) in orders.enumerated() {
        let line = lines[index]
        let terms = terms[line]
        let order = placed.order
        cancel(before: placed.offset)
        guard !history.decided.contains(order.orderId), given.insert(order.orderId).inserted else {
            decisions.outcomes.append(.none)
            continue
        }
        if !takenBack.isEmpty, isTakenBack(placed) {
            decisions.outcomes.append(.cancelled)
            continue
        }
        if placed.time < terms.opensAt {
            decisions.outcomes.append(.notOpen)
            continue
        }
        if let closesAt = terms.closesAt, placed.time >= closesAt {
            decisions.outcomes.append(.closed)
            continue
        }
        if stocks[line].isExhausted {
            decisions.outcomes.append(.soldOut)
            continue
        }
        let buyer = SaleBuyer(saleId: order.saleId, buyerId: order.buyerId)
        if served.contains(buyer) {
            decisions.outcomes.append(.limitReached)
            continue
        }
        let outcome: Outcome
        if stocks[line].units > 0 {
            stocks[line].units -= 1
            outcome = .reserved
        } else if stocks[line].unitsElsewhere == 0 && stocks[line].places > 0 {
            stocks[line].places -= 1
            outcome = .waitlisted
        } else {
            decisions.shortages = shortages(of: lines[index...], keys: keys, stocks: stocks)
            break
        }
        decisions.outcomes.append(outcome)
        served.insert(buyer)
    }
    if decisions.shortages.isEmpty { cancel(before: .max) }
    decisions.early.removeAll { given.contains($0.order.orderId) }
    return decisions
}

/// What orders for these lines may lack: all of it at once, so that a run for many stocks is not cut at each of them.
private func shortages(of lines: ArraySlice<Int>, keys: [StockKey], stocks: [StockView]) -> [Shortage] {
    var wanted = [Int64](repeating: 0, count: keys.count)
    for line in lines { wanted[line] += 1 }
    return keys.indices.compactMap { line in
        guard wanted[line] > 0, stocks[line].isShort(of: wanted[line]) else { return nil }
        return Shortage(key: keys[line], wanted: wanted[line])
    }
}

/// What the answers to one batch have in common: the head of the deferred records from which they are rendered. A code is
/// the order's outcome, 0 where there is none.
struct Decided: Sendable, Equatable, Codable {
    struct Line: Sendable, Equatable, Codable {
        let saleId: SaleID
        let batch: Int
        let variant: String
        let brandId: BrandID
        let price: Money
        let holdSeconds: Int64
    }

    /// The stocks that the batch's orders were for.
    var lines: [Line]
    var decidedAt: Timestamp
}
