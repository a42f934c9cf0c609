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

/// Identifiers one after the other, 16 bytes each, high byte first.
enum PackedIdentifiers {
    static let bytesEach = 16

    static func pack<Kind>(_ identifiers: [Identifier<Kind>]) -> [UInt8] {
        var bytes: [UInt8] = []
        bytes.reserveCapacity(identifiers.count * bytesEach)
        func append(_ half: UInt64) {
            for shift in stride(from: 56, through: 0, by: -8) {
                bytes.append(UInt8(truncatingIfNeeded: half >> UInt64(shift)))
            }
        }
        for identifier in identifiers {
            append(identifier.high)
            append(identifier.low)
        }
        return bytes
    }

    static func unpack<Kind>(_ bytes: [UInt8]) -> [Identifier<Kind>] {
        stride(from: 0, to: bytes.count - bytes.count % bytesEach, by: bytesEach).map { start in
            func half(_ start: Int) -> UInt64 { (start..<start + 8).reduce(0) { $0 << 8 | UInt64(bytes[$1]) } }
            return Identifier(high: half(start), low: half(start + 8))
        }
    }
}
