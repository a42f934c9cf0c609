// The orders that were refused last, in memory: one that comes again is not answered again.
import Models

/// What one partition refused last. Follows what is committed, and nothing else: a batch's refusals are kept aside until
/// the database says that they are there.
struct RefusedMemory: Sendable {
    /// An order that comes again is recognised among this many refusals of its partition, if not more.
    static let countMin = 200_000

    private let countMax: Int
    /// The refused orders in the order of the log; once full, the oldest gives its place to the next.
    private var orders: [OrderID] = []
    private var oldest = 0
    /// Open addressing with linear probing, at most half full: an order's place in `orders` plus one, 0 where there is none.
    private var slots = [Int32](repeating: 0, count: 1024)
    /// What came last and is not in `slots` yet.
    private var arrived: [OrderID] = []
    /// No order that is greater was refused: identifiers of version 7 grow, so new ones need not be looked for.
    private var greatest: OrderID?
    private var pending: (through: Int64, orders: [OrderID])?

    init(countMax: Int = countMin + 10_000) { self.countMax = countMax }

    var count: Int { min(countMax, orders.count + arrived.count) }

    mutating func contains(_ order: OrderID) -> Bool {
        guard let greatest, order <= greatest else { return false }
        index()
        return slots[slot(of: order)] != 0
    }

    /// Those of the orders that were refused.
    mutating func known(_ orders: some Sequence<OrderID>) -> [OrderID] { orders.filter { contains($0) } }

    /// Begins anew with what the database holds.
    mutating func load(_ refused: some Sequence<OrderID>) {
        self = RefusedMemory(countMax: countMax)
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
            arrived.append(order)
            greatest = max(greatest ?? order, order)
            if arrived.count == countMax { index() }
        }
    }

    private mutating func index() {
        for order in arrived { append(order) }
        arrived.removeAll(keepingCapacity: true)
    }

    private mutating func append(_ order: OrderID) {
        var slot = slot(of: order)
        if slots[slot] != 0 { return }
        if orders.count < countMax {
            orders.append(order)
            slots[slot] = Int32(orders.count)
            if orders.count * 2 > slots.count { grow() }
            return
        }
        forget(orders[oldest])
        orders[oldest] = order
        // What was moved up may have freed a place before.
        slot = self.slot(of: order)
        slots[slot] = Int32(oldest + 1)
        oldest = (oldest + 1) % countMax
    }

    /// Where an order is, or would be.
    private func slot(of order: OrderID) -> Int {
        var slot = home(of: order)
        while slots[slot] != 0, orders[Int(slots[slot]) - 1] != order { slot = (slot + 1) & (slots.count - 1) }
        return slot
    }

    /// Seeded for each process, so that nobody can choose IDs that collide.
    private func home(of order: OrderID) -> Int { order.hashValue & (slots.count - 1) }

    /// Takes an order out and moves those up that had to go further because of it.
    private mutating func forget(_ order: OrderID) {
        let mask = slots.count - 1
        var empty = slot(of: order)
        guard slots[empty] != 0 else { return }
        var next = (empty + 1) & mask
        while slots[next] != 0 {
            let way = (next - home(of: orders[Int(slots[next]) - 1])) & mask
            if way >= (next - empty) & mask {
                slots[empty] = slots[next]
                empty = next
            }
            next = (next + 1) & mask
        }
        slots[empty] = 0
    }

    private mutating func grow() {
        slots = [Int32](repeating: 0, count: slots.count * 2)
        for index in orders.indices { slots[slot(of: orders[index])] = Int32(index + 1) }
    }
}
