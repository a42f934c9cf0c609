// What the log says of each order's life, judged as a reader of the topic sees it: by the numbers of its events.
import Kafka
import Models

/// Events of orders by their revision. An event that is there twice is the same event; two events that bear one number and
/// are not the same contradict one another.
struct OrderLives: Sendable {
    private struct Life {
        /// Bit n: the event numbered n was there.
        var seen: UInt64 = 0
        var last: Int = 0
        var fact: OrderFacts = []
    }

    private struct Place: Hashable {
        let order: OrderID
        let revision: Int
    }

    private var lives: [OrderID: Life] = [:]
    private var prints: [Place: UInt64] = [:]
    private(set) var contradictions: [OrderID] = []
    /// Higher numbers are not looked at for gaps.
    private static let revisionMax = 63

    var count: Int { lives.count }

    /// - Parameter print: of all that the event says.
    mutating func add(_ order: OrderID, _ revision: Int, _ fact: OrderFacts, print: UInt64) {
        if let known = prints.updateValue(print, forKey: Place(order: order, revision: revision)), known != print {
            contradictions.append(order)
        }
        var life = lives[order] ?? Life()
        if revision <= Self.revisionMax { life.seen |= 1 << UInt64(revision) }
        if revision > life.last {
            life.last = revision
            life.fact = fact
        }
        lives[order] = life
    }

    /// Orders of whose events a number is missing.
    var incomplete: [OrderID] {
        lives.filter { life in
            let last = min(life.value.last, Self.revisionMax)
            let all: UInt64 = last == 63 ? ~1 : (1 << UInt64(last + 1)) - 2
            return life.value.seen & all != all
        }.map(\.key)
    }

    /// Orders whose greatest event says another thing than the schema.
    func contradicted(by orders: OrderTable) -> [OrderID] {
        lives.filter { life in
            guard let facts = orders.facts(of: life.key) else { return true }
            let decision = facts.intersection(.anyDecision)
            // The schema has forgotten it, and a log that is kept for longer has not.
            if decision.isEmpty, facts.contains(.past) { return false }
            let said: OrderFacts =
                switch life.value.fact {
                case .saidReserved, .saidPromoted: .held
                case .saidWaitlisted: .waiting
                case .saidConfirmed: .confirmed
                case .saidReleased: .released
                case .saidRejected: .refused
                // The end of a wait is a row that is released, or a refusal.
                case .saidWaitEnded: decision.contains(.refused) ? .refused : .released
                default: []
                }
            return decision != said
        }.map(\.key)
    }

    /// FNV-1a over the type and the body.
    static func print(_ type: ByteView, _ body: ByteView) -> UInt64 {
        var hash: UInt64 = 0xcbf2_9ce4_8422_2325
        for byte in type { hash = (hash ^ UInt64(byte)) &* 0x0000_0100_0000_01b3 }
        for byte in body { hash = (hash ^ UInt64(byte)) &* 0x0000_0100_0000_01b3 }
        return hash
    }
}
