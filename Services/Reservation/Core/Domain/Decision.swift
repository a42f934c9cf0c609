// The decision on a run of orders: pure, in the order of the log. The same input always gives the same answers.
import Models

/// An order at its place in the log.
struct OrderInLog: Sendable {
    let order: OrderPlaced
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

    /// The reason of a refusal, nil for what is none.
    var refusal: OrderRejected.Reason? {
        switch self {
        case .none, .reserved, .waitlisted: nil
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

/// What was decided before and bears on a batch.
struct History: Sendable {
    /// Orders of the batch that have been decided.
    var decided: Set<OrderID> = []
    /// Buyers of the batch who hold, wait for or have bought a unit in a sale.
    var served: Set<SaleBuyer> = []
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
}

/// Answers orders in the order of the log.
///
/// - Parameters:
///   - stocks: what each order's stock has; used up as the orders take it. Indexed by `line`.
///   - lines: for each order the index of its stock and terms.
/// - Returns: one outcome an order, `none` for one that has been decided, cut where a stock has run out here but not elsewhere: nobody is refused, and nobody
///   is put on the waitlist, while a unit is free anywhere.
func decide(
    _ orders: [OrderInLog], lines: [Int], keys: [StockKey], terms: [Terms], stocks: inout [StockView],
    history: History
) -> Decisions {
    var decisions = Decisions()
    decisions.outcomes.reserveCapacity(orders.count)
    var given: Set<OrderID> = []
    var served: Set<SaleBuyer> = []
    for (index, placed) in orders.enumerated() {
        let line = lines[index]
        let terms = terms[line]
        let order = placed.order
        guard !history.decided.contains(order.orderId), given.insert(order.orderId).inserted else {
            decisions.outcomes.append(.none)
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
        if history.served.contains(buyer) || served.contains(buyer) {
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
            return decisions
        }
        decisions.outcomes.append(outcome)
        served.insert(buyer)
    }
    return decisions
}
