// What a batch finds in the schema before it is decided.
import Models
import Postgres

/// Its leases, and the orders that it may end, are locked.
struct Situation: Sendable {
    struct Stock: Sendable {
        let view: StockView
        let revision: Int64
    }

    /// A stock that is not there yet has no entry.
    var stocks: [StockKey: Stock] = [:]
    /// Orders of the batch, or named by its cancellations, that have a row.
    var decided: Set<OrderID> = []
    /// Those that its cancellations name and that are not over.
    var live: [OrderID: LiveOrder] = [:]
    /// Those that they name and that are over.
    var over: Set<OrderID> = []
    /// Orders whose cancellations were there first.
    var cancelled: Set<OrderOfBuyer> = []
    /// Whose memory of this partition's refusals is complete, and the offset of the last of them.
    var refused: (holder: Identifier<RefusedOrders>, through: Int64)?

    /// One round trip, two where there are cancellations. They lock their orders first, then the pools that they go back
    /// to, then the leases: whoever holds a lease never waits for a pool.
    init(
        of keys: [StockKey], partition: Int32, orders: [OrderID], cancellations: [CancellationInLog],
        _ transaction: Transaction
    ) async throws {
        var pools: Set<StockKey> = []
        var opening = [EarlyCancellationStatements.beginDecision]
        if !cancellations.isEmpty {
            let named = cancellations.map(\.order.orderId)
            let results = try await transaction.pipeline(opening + [DecisionStatements.lockNamed(named)])
            opening = []
            for found in try DecisionStatements.namedRow.all(results[1]) {
                decided.insert(found.id)
                guard found.state != .released else {
                    over.insert(found.id)
                    continue
                }
                live[found.id] = found.order
                pools.insert(found.order.key)
            }
        }
        // Most batches cancel nothing that holds something.
        if !pools.isEmpty { opening.append(StockStatements.lockPools(of: Array(pools))) }
        let statements = [
            DecisionStatements.lockLeases(of: keys, partition: partition),
            DecisionStatements.stocks(keys, partition: partition),
            DecisionStatements.decided(orders),
            EarlyCancellationStatements.cancelled(orders),
            RefusalStatements.memory(of: partition),
        ]
        let results = Array(try await transaction.pipeline(opening + statements).dropFirst(opening.count))
        for found in try DecisionStatements.stockRow.all(results[1]) { stocks[found.key] = found.stock }
        decided.formUnion(try results[2].column(0, as: OrderID.self))
        cancelled.formUnion(try EarlyCancellationStatements.orderRow.all(results[3]))
        refused = try RefusalStatements.memoryRow.first(results[4])
    }
}
