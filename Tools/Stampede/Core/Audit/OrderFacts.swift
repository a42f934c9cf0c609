// What the audit knows of every order: 20 bytes each and an index, so that millions fit.
import Models

/// What the log and the schemas say of one order.
struct OrderFacts: OptionSet, Sendable, Hashable {
    let rawValue: UInt32

    // The log's topic `orders`
    static let ordered = OrderFacts(rawValue: 1 << 0)
    // messaging.orders
    static let accepted = OrderFacts(rawValue: 1 << 1)
    static let shownUndecided = OrderFacts(rawValue: 1 << 2)
    static let shownRejected = OrderFacts(rawValue: 1 << 3)
    static let shownReserved = OrderFacts(rawValue: 1 << 4)
    static let shownConfirmed = OrderFacts(rawValue: 1 << 5)
    static let shownWaitlisted = OrderFacts(rawValue: 1 << 6)
    static let shownReleased = OrderFacts(rawValue: 1 << 7)
    // reservation.orders and reservation.refusals
    static let held = OrderFacts(rawValue: 1 << 8)
    static let waiting = OrderFacts(rawValue: 1 << 9)
    static let confirmed = OrderFacts(rawValue: 1 << 10)
    static let released = OrderFacts(rawValue: 1 << 11)
    static let refused = OrderFacts(rawValue: 1 << 12)
    static let decidedTwice = OrderFacts(rawValue: 1 << 13)
    // The log's topic `reservations`
    static let saidReserved = OrderFacts(rawValue: 1 << 14)
    static let saidPromoted = OrderFacts(rawValue: 1 << 15)
    static let saidWaitlisted = OrderFacts(rawValue: 1 << 16)
    static let saidRejected = OrderFacts(rawValue: 1 << 17)
    static let saidWaitEnded = OrderFacts(rawValue: 1 << 18)
    static let saidReleased = OrderFacts(rawValue: 1 << 19)
    static let saidConfirmed = OrderFacts(rawValue: 1 << 20)
    // payment.payments
    static let captured = OrderFacts(rawValue: 1 << 21)
    static let refunded = OrderFacts(rawValue: 1 << 22)
    static let wrongAmount = OrderFacts(rawValue: 1 << 23)
    // notification.told
    static let toldReserved = OrderFacts(rawValue: 1 << 24)
    static let toldWaitlisted = OrderFacts(rawValue: 1 << 25)
    static let toldPaid = OrderFacts(rawValue: 1 << 26)
    static let toldRefunded = OrderFacts(rawValue: 1 << 27)
    static let toldReleased = OrderFacts(rawValue: 1 << 28)
    static let toldTwice = OrderFacts(rawValue: 1 << 29)
    /// Older than what services keep of orders that are over: part of it may be forgotten.
    static let past = OrderFacts(rawValue: 1 << 30)

    /// How reservation's schema says that an order ended up: exactly one of these, for each.
    static let anyDecision: OrderFacts = [.held, .waiting, .confirmed, .released, .refused]
    /// The first answer on the topic: exactly one of these.
    static let anyAnswer: OrderFacts = [.saidReserved, .saidWaitlisted, .saidRejected]
}

/// Facts by order. Open addressing at most two thirds full.
struct OrderTable: Sendable {
    private(set) var ids: [OrderID] = []
    private(set) var facts: [OrderFacts] = []
    /// A number + 1 by the hash of its ID; 0: free.
    private var slots: [UInt32] = Array(repeating: 0, count: 1 << 10)

    var count: Int { ids.count }

    func facts(of id: OrderID) -> OrderFacts? {
        let slot = slot(of: id)
        return slots[slot] == 0 ? nil : facts[Int(slots[slot]) - 1]
    }

    mutating func add(_ more: OrderFacts, to id: OrderID) {
        update(id) { $0.formUnion(more) }
    }

    /// A decision by reservation's schema. A second one of the same order is wrong, but for one: an order that was
    /// refused and is published again is refused again, under the same event ID.
    mutating func addDecision(_ decision: OrderFacts, to id: OrderID) {
        update(id) { facts in
            let before = facts.intersection(.anyDecision)
            if !before.isEmpty, before.union(decision) != .refused { facts.insert(.decidedTwice) }
            facts.formUnion(decision)
        }
    }

    mutating func addTold(_ told: OrderFacts, to id: OrderID) {
        update(id) { facts in
            if facts.contains(told) { facts.insert(.toldTwice) }
            facts.formUnion(told)
        }
    }

    private mutating func update(_ id: OrderID, _ change: (inout OrderFacts) -> Void) {
        var slot = slot(of: id)
        if slots[slot] == 0 {
            if 3 * (ids.count + 1) > 2 * slots.count {
                grow()
                slot = self.slot(of: id)
            }
            ids.append(id)
            facts.append([])
            slots[slot] = UInt32(ids.count)
        }
        change(&facts[Int(slots[slot]) - 1])
    }

    private func slot(of id: OrderID) -> Int {
        var slot = Self.start(id, slots.count)
        while slots[slot] != 0, ids[Int(slots[slot]) - 1] != id { slot = (slot + 1) & (slots.count - 1) }
        return slot
    }

    private mutating func grow() {
        slots = Array(repeating: 0, count: slots.count * 2)
        for (number, id) in ids.enumerated() {
            var slot = Self.start(id, slots.count)
            while slots[slot] != 0 { slot = (slot + 1) & (slots.count - 1) }
            slots[slot] = UInt32(number + 1)
        }
    }

    private static func start(_ id: OrderID, _ size: Int) -> Int {
        let mixed = (id.low ^ id.high) &* 0x9e37_79b9_7f4a_7c15
        return Int(truncatingIfNeeded: mixed >> 16) & (size - 1)
    }
}

/// A set of identifiers as a count and a sum: two sets that agree in both are taken for the same. Each identifier is
/// mixed first, so sets that differ agree with a chance of one in 2^128.
struct IdentifierSum: Sendable, Equatable {
    private(set) var count = 0
    private var high: UInt64 = 0
    private var low: UInt64 = 0

    mutating func add<Kind>(_ id: Identifier<Kind>) {
        count += 1
        high &+= Self.mixed(id.high ^ Self.mixed(id.low))
        low &+= Self.mixed(id.low ^ Self.mixed(id.high &+ 0x9e37_79b9_7f4a_7c15))
    }

    /// The finaliser of SplitMix64.
    private static func mixed(_ value: UInt64) -> UInt64 {
        var value = value
        value = (value ^ value >> 30) &* 0xbf58_476d_1ce4_e5b9
        value = (value ^ value >> 27) &* 0x94d0_49bb_1331_11eb
        return value ^ value >> 31
    }
}
