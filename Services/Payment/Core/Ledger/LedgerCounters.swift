// What moves through the ledger, as metrics.
import EventPipeline
import Models
import Observability
import Synchronization

/// Counts the transfers that were committed, and their amounts, by kind and currency.
final class LedgerCounters: Sendable {
    private struct Key: Hashable {
        let kind: Transfer.Kind
        let currency: Currency
    }

    private let metrics: Metrics
    private let known = Mutex<[Key: (transfers: Counter, units: Counter)]>([:])

    /// - Parameter currency: the one that is counted from the start; others appear when they are used.
    init(_ metrics: Metrics, currency: Currency) {
        self.metrics = metrics
        for kind in Transfer.Kind.allCases { _ = counters(Key(kind: kind, currency: currency)) }
    }

    /// Counts what a unit of work carries out, once it is committed.
    func count(_ transfers: [Transfer], _ unit: UnitOfWork) {
        for (key, sum) in sums(transfers) {
            let counters = counters(key)
            unit.count(counters.transfers, sum.count)
            unit.count(counters.units, Int(sum.units))
        }
    }

    /// Counts what has been committed.
    func count(_ transfers: [Transfer]) {
        for (key, sum) in sums(transfers) {
            let counters = counters(key)
            counters.transfers.add(sum.count)
            counters.units.add(Int(sum.units))
        }
    }

    private func sums(_ transfers: [Transfer]) -> [Key: (count: Int, units: Int64)] {
        var sums: [Key: (count: Int, units: Int64)] = [:]
        for transfer in transfers {
            let key = Key(kind: transfer.kind, currency: transfer.amount.currency)
            let sum = sums[key, default: (0, 0)]
            sums[key] = (sum.count + 1, sum.units &+ transfer.amount.amount)
        }
        return sums
    }

    private func counters(_ key: Key) -> (transfers: Counter, units: Counter) {
        known.withLock { known in
            if let found = known[key] { return found }
            let labels = ["kind": key.kind.rawValue, "currency": key.currency.code]
            let new = (
                transfers: metrics.counter(
                    "stampede_ledger_transfers_total", help: "Transfers of the ledger, by kind", labels: labels),
                units: metrics.counter(
                    "stampede_ledger_minor_units_total", help: "What they moved, in the currency's minor units",
                    labels: labels)
            )
            known[key] = new
            return new
        }
    }
}
