// Orders that got nothing, in runs: a million of them are a few hundred rows.
import Models

/// A run of refused orders of one stock in one partition.
struct Refusal: Sendable, Equatable {
    let key: StockKey
    let reason: OrderRejected.Reason
    let firstOffset: Int64
    var lastOffset: Int64
    var orderIds: [OrderID]
}

/// The refused orders of a decided batch, in as few runs as their stocks and reasons allow.
func refusals(_ orders: [OrderInLog], lines: [Int], keys: [StockKey], outcomes: [Outcome]) -> [Refusal] {
    var runs: [Refusal] = []
    var open: [Int: Int] = [:]
    for (index, outcome) in outcomes.enumerated() {
        guard let reason = outcome.refusal else { continue }
        let placed = orders[index]
        if let run = open[lines[index]], runs[run].reason == reason {
            runs[run].lastOffset = placed.offset
            runs[run].orderIds.append(placed.order.orderId)
        } else {
            open[lines[index]] = runs.count
            runs.append(
                Refusal(
                    key: keys[lines[index]], reason: reason, firstOffset: placed.offset, lastOffset: placed.offset,
                    orderIds: [placed.order.orderId]))
        }
    }
    return runs
}
