// What was decided, as metrics.
import EventPipeline
import Observability

/// Decided orders, by what became of them.
struct DecisionCounters: Sendable {
    private let counters: [Counter]

    init(_ metrics: Metrics) {
        counters = Outcome.allCases.filter { $0 != .none }.map {
            metrics.counter(
                "stampede_orders_decided_total", help: "Orders decided, by outcome", labels: ["outcome": "\($0)"])
        }
    }

    func count(_ outcomes: [Outcome], _ unit: UnitOfWork) {
        var counts = [Int](repeating: 0, count: counters.count)
        for outcome in outcomes where outcome != .none { counts[Int(outcome.rawValue) - 1] += 1 }
        for (counter, count) in zip(counters, counts) where count > 0 { unit.count(counter, count) }
    }
}
