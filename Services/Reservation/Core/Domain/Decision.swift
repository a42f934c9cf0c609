// The decision on a run of orders: pure, in the order of the log. The same input always gives the same answers.
import Models

/// An order at its place in the log.
struct OrderInLog: Sendable {
    let order: OrderPlaced
    let time: Timestamp
    let offset: Int64
    /// Who proved to have placed it.
    var publisher: PublisherName?
}

/// An order by the name that its buyer gives it, in the word of one publisher: nobody else can take it back.
struct OrderOfBuyer: Hashable, Sendable {
    let orderId: OrderID
    let buyerId: AccountID
    /// Nil: of nobody who proved it.
    var publisher: PublisherName?
}

extension Optional<PublisherName> {
    /// Whether a cancellation of this publisher ends an order of that one: its own, and the app's any order of the buyer,
    /// who signed in there.
    func mayCancel(orderOf publisher: PublisherName?) -> Bool { self == publisher || self == .messaging }
}

/// A buyer's cancellation at its place in the log.
struct CancellationInLog: Sendable, Equatable {
    let order: OrderOfBuyer
    let time: Timestamp
    let offset: Int64
}

/// What became of one record.
enum Outcome: UInt8, CaseIterable, Sendable {
    /// Not an order, or one that was decided before: nothing is said about it.
    case none = 0
    case reserved = 1
    case waitlisted = 2
    case soldOut = 3
    case limitReached = 4
    case notOpen = 5
    case closed = 6
    /// Ended before it began: its cancellation was there first, or came with it. It never held anything.
    case cancelled = 7

    /// The reason of a refusal, nil for what is none.
    var refusal: OrderRejected.Reason? {
        switch self {
        case .none, .reserved, .waitlisted, .cancelled: nil
        case .soldOut: .soldOut
        case .limitReached: .limitReached
        case .notOpen: .notOpen
        case .closed: .closed
        }
    }
}

struct SaleBuyer: Hashable, Sendable {
    let saleId: SaleID
    let buyerId: AccountID
}

/// An order that holds a unit, or has bought it, or waits for one.
struct LiveOrder: Sendable, Equatable {
    let buyer: SaleBuyer
    let key: StockKey
    /// It waits otherwise.
    let hasUnit: Bool
    /// Who proved to have placed it.
    var publisher: PublisherName?
}

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

/// Why a run ended before its last order: this stock is used up here, but not elsewhere.
struct Shortage: Sendable, Equatable {
    let key: StockKey
    /// Orders of the run, from the first undecided one on, that want it.
    let wanted: Int64
}

struct Decisions: Sendable {
    /// One for each order that was decided: from the first up to the shortage, if there is one.
    var outcomes: [Outcome] = []
    var shortage: Shortage?
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
) -> Decisions {
    var decisions = Decisions()
    decisions.outcomes.reserveCapacity(orders.count)
    var given: Set<OrderID> = []
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
            let wanted = Int64(lines[index...].count { $0 == line })
            decisions.shortage = Shortage(key: keys[line], wanted: wanted)
            break
        }
        decisions.outcomes.append(outcome)
        served.insert(buyer)
    }
    if decisions.shortage == nil { cancel(before: .max) }
    decisions.early.removeAll { given.contains($0.order.orderId) }
    return decisions
}
