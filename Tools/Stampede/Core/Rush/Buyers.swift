// The buyers of a rush: up to millions, found by account ID in a few nanoseconds and a few bytes each.
import Models

/// Account IDs by number and numbers by account ID.
struct Buyers: Sendable {
    private(set) var ids: [AccountID] = []
    /// A number + 1 by the hash of its ID; 0: free. Open addressing, at most half full.
    private var slots: [UInt32] = []

    init(capacity: Int) {
        ids.reserveCapacity(capacity)
        var size = 16
        while size < 2 * capacity { size *= 2 }
        slots = Array(repeating: 0, count: size)
    }

    var count: Int { ids.count }

    /// - Precondition: fewer than the capacity so far.
    mutating func append(_ id: AccountID) {
        precondition(2 * ids.count < slots.count, "more buyers than there is room for")
        ids.append(id)
        var slot = Self.start(id, slots.count)
        while slots[slot] != 0 { slot = (slot + 1) & (slots.count - 1) }
        slots[slot] = UInt32(ids.count)
    }

    func number(of id: AccountID) -> Int? {
        var slot = Self.start(id, slots.count)
        while slots[slot] != 0 {
            let number = Int(slots[slot]) - 1
            if ids[number] == id { return number }
            slot = (slot + 1) & (slots.count - 1)
        }
        return nil
    }

    private static func start(_ id: AccountID, _ size: Int) -> Int {
        // The low half of a version 7 ID is random; the multiplication serves IDs that are not.
        let mixed = (id.low ^ id.high) &* 0x9e37_79b9_7f4a_7c15
        return Int(truncatingIfNeeded: mixed >> 20) & (size - 1)
    }
}
