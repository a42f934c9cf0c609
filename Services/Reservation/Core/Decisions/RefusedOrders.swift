// Which orders were refused before: the memories of all partitions, kept true to the database.
import EventPipeline
import Models
import Synchronization

/// One partition is decided by one instance at a time, and a batch that another one's decisions precede is not committed:
/// while the database names this program as the holder, nothing has been refused that is not in its memory.
final class RefusedOrders: Sendable {
    /// Names this start of the program in the database.
    let holder: Identifier<RefusedOrders>
    private let memories = Mutex<[Int32: RefusedMemory]>([:])

    private let mixing = RefusedMemory.Mixing(
        multiplier: .random(in: .min ... .max), summand: .random(in: .min ... .max))

    init(holder: Identifier<RefusedOrders>) { self.holder = holder }

    /// Brings a partition's memory up to what the transaction sees.
    func follow(
        _ partition: Int32, _ found: (holder: Identifier<RefusedOrders>, through: Int64)?, _ unit: UnitOfWork
    ) async throws {
        let isComplete = memories.withLock { memories in
            guard let found, found.holder == holder, memories[partition] != nil else { return false }
            memories[partition]?.settle(through: found.through)
            return true
        }
        if isComplete { return }
        let runs = try RefusalStatements.runRow.all(
            try await unit.transaction.query(RefusalStatements.last(of: partition)))
        memories.withLock { memories in
            var memory = RefusedMemory(mixing: mixing)
            memory.load(runs.joined())
            memories[partition] = memory
        }
        unit.transaction.finish(RefusalStatements.hold(holder, partition, through: found?.through ?? -1))
    }

    /// Those of the orders that the partition refused before.
    func known(_ orders: some Sequence<OrderID>, _ partition: Int32) -> [OrderID] {
        memories.withLock { $0[partition]?.known(orders) ?? [] }
    }

    /// What the transaction refuses, the last at the offset `through`.
    func expect(_ refused: [OrderID], through: Int64, _ partition: Int32) {
        memories.withLock { $0[partition]?.expect(refused, through: through) }
    }
}
