// What brings the stock keeper to look before its next round.
import Observability
import Runtime
import Synchronization

final class StockAlerts: Sendable {
    private let keeper = Mutex<Periodic?>(nil)
    /// The traces of the orders that took the last units here, until that is said.
    private let lastOrders = Mutex<[StockKey: TraceContext]>([:])
    private static let lastOrdersMax = 1000

    /// - Parameter keeper: its rounds.
    func connect(_ keeper: Periodic) { self.keeper.withLock { $0 = keeper } }

    /// There may be something to do.
    func raise() { keeper.withLock { $0 }?.wake() }

    /// The same for a stock whose last unit an order has just taken.
    func raise(_ key: StockKey, lastOrder: TraceContext?) {
        if let lastOrder {
            lastOrders.withLock { orders in
                if orders.count < Self.lastOrdersMax || orders[key] != nil { orders[key] = lastOrder }
            }
        }
        raise()
    }

    func lastOrder(of key: StockKey) -> TraceContext? { lastOrders.withLock { $0[key] } }

    /// It is said that the stock is sold out.
    func settle(_ key: StockKey) { lastOrders.withLock { _ = $0.removeValue(forKey: key) } }
}
