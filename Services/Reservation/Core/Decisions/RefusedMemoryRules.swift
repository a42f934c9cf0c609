// The orders that were refused last, in memory: one that comes again is not answered again.
import Models

/// What one partition refused last. Follows what is committed, and nothing else: a batch's refusals are kept aside until
/// the database says that they are there.
///
/// Of an order eight bytes are kept, mixed from its ID by numbers that the program has drawn: nobody can choose IDs that
/// come to the same, and that a new order is taken for one of 210,000 others happens once in 10^14.
struct RefusedMemory: Sendable {
    /// An order that comes again is recognised among this many refusals of its partition, if not more.
    static let countMin = 200_000

    /// Refusals that came one after the other.
    private struct Run {
        /// In ascending order, unless `isSorted` is false.
        var orders: [UInt64] = []
        var isSorted = true
        /// No order that is greater is in it: identifiers of version 7 grow, so new ones are looked for in the last runs alone.
        var greatest = OrderID(high: 0, low: 0)

        mutating func append(_ order: OrderID, _ mixing: Mixing) {
            greatest = max(greatest, order)
            orders.append(mixing.mixed(order))
            isSorted = false
        }

        mutating func contains(_ order: OrderID, _ mixing: Mixing) -> Bool {
            if order > greatest { return false }
            if !isSorted { orders.sort() }
            isSorted = true
            let wanted = mixing.mixed(order)
            var places = 0..<orders.count
            while !places.isEmpty {
                let middle = places.lowerBound + places.count / 2
                if orders[middle] == wanted { return true }
                places = orders[middle] < wanted ? middle + 1..<places.upperBound : places.lowerBound..<middle
            }
            return false
        }
    }

    /// Numbers that nobody knows, by which IDs are mixed.
    struct Mixing: Sendable {
        let multiplier: UInt64
        let summand: UInt64

        func mixed(_ order: OrderID) -> UInt64 {
            func folded(_ left: UInt64) -> UInt64 {
                let product = left.multipliedFullWidth(by: multiplier | 1)
                return product.high ^ product.low
            }
            return folded(folded(order.high ^ summand) ^ order.low)
        }
    }

    private let mixing: Mixing
    private let countMin: Int
    private let runMax: Int
    /// Oldest first. The first one goes when those behind it are enough.
    private var runs: [Run] = []
    private var pending: (through: Int64, orders: [OrderID])?

    private(set) var count = 0

    init(mixing: Mixing, countMin: Int = countMin, runMax: Int = 10_000) {
        (self.mixing, self.countMin, self.runMax) = (mixing, countMin, runMax)
    }

    mutating func contains(_ order: OrderID) -> Bool {
        runs.indices.reversed().contains { runs[$0].contains(order, mixing) }
    }

    /// Those of the orders that were refused.
    mutating func known(_ orders: some Sequence<OrderID>) -> [OrderID] { orders.filter { contains($0) } }

    /// Begins anew with what the database holds.
    mutating func load(_ refused: some Sequence<OrderID>) {
        self = RefusedMemory(mixing: mixing, countMin: countMin, runMax: runMax)
        take(refused)
    }

    /// The orders that a batch refuses, the last of them at the offset `through`, if it is committed.
    mutating func expect(_ refused: [OrderID], through: Int64) { pending = (through, refused) }

    /// Takes up what was expected if it was committed.
    /// - Parameter through: the offset of the last refusal that the database has.
    mutating func settle(through: Int64) {
        guard let (expected, orders) = pending else { return }
        pending = nil
        if expected == through { take(orders) }
    }

    private mutating func take(_ refused: some Sequence<OrderID>) {
        for order in refused {
            if runs.isEmpty || runs[runs.count - 1].orders.count == runMax { begin() }
            runs[runs.count - 1].append(order, mixing)
            count += 1
        }
    }

    private mutating func begin() {
        var next = Run()
        if let first = runs.first, count - first.orders.count >= countMin {
            runs.removeFirst()
            count -= first.orders.count
        }
        next.orders.reserveCapacity(runs.isEmpty ? 0 : runMax)
        runs.append(next)
    }
}
