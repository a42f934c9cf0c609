// How orders end: paid, released, cancelled, run out, or waited in vain.
//
// Every transaction locks in one order: orders by their IDs, then stocks, then leases. Whoever holds a stock takes the
// orders that are free and passes the others over.
import EventPipeline
import Models
import Postgres

/// Orders are found by their IDs. `state + 0` keeps the planner from an index of all orders in a state, which it takes
/// for nearly empty.
struct SettlementStorage: Sendable {
    /// Orders of a stock that are released in one transaction.
    static let expiredMax: Int32 = 2000

    /// What an order is when it is locked.
    struct Standing: Sendable {
        let state: Int16
        /// It has ended, and its payment is on the way back already.
        let isRefunded: Bool
    }

    /// Locks those of the orders that have a row.
    func lock(_ orders: [OrderID], _ transaction: Transaction) async throws -> [OrderID: Standing] {
        let rows = try await transaction.query(
            """
            SELECT order_id, state, refunded FROM orders WHERE order_id = ANY(\(orders)) ORDER BY order_id FOR UPDATE
            """)
        var found: [OrderID: Standing] = [:]
        for row in rows { found[try row.get(0)] = Standing(state: try row.get(1), isRefunded: try row.get(2)) }
        return found
    }

    /// Marks held orders as paid for; the caller holds them locked.
    func confirm(_ orders: [OrderID], _ transaction: Transaction) async throws -> [ChangedOrder] {
        try await transaction.query(
            """
            UPDATE orders o SET state = 3, revision = o.revision + 1 FROM stock s
            WHERE o.order_id = ANY(\(orders)) AND o.state + 0 = 1
                AND (s.sale_id, s.batch, s.variant) = (o.sale_id, o.batch, o.variant)
            RETURNING o.order_id, o.sale_id, o.batch, o.variant, o.buyer_id, s.brand_id, o.hold_until, s.price, s.currency,
                o.revision, o.publisher
            """
        ).map(ChangedOrder.init(row:))
    }

    /// Notes that the money for orders that have ended goes back; the caller holds them locked.
    func refund(_ orders: [OrderID], _ transaction: Transaction) async throws -> [ChangedOrder] {
        try await transaction.query(
            """
            UPDATE orders o SET refunded = true, revision = o.revision + 1 FROM stock s
            WHERE o.order_id = ANY(\(orders)) AND o.state + 0 = 4 AND NOT o.refunded
                AND (s.sale_id, s.batch, s.variant) = (o.sale_id, o.batch, o.variant)
            RETURNING o.order_id, o.sale_id, o.batch, o.variant, o.buyer_id, s.brand_id, o.hold_until, s.price, s.currency,
                o.revision, o.publisher
            """
        ).map(ChangedOrder.init(row:))
    }

    /// Ends orders, held, waiting or paid ones; the caller holds them locked.
    func end(_ orders: [OrderID], _ transaction: Transaction) async throws -> [ChangedOrder] {
        if orders.isEmpty { return [] }
        return try await transaction.query(
            """
            UPDATE orders o SET state = 4, revision = o.revision + 1, refunded = o.state = 3 FROM stock s
            WHERE o.order_id = ANY(\(orders)) AND o.state + 0 < 4
                AND (s.sale_id, s.batch, s.variant) = (o.sale_id, o.batch, o.variant)
            RETURNING o.order_id, o.sale_id, o.batch, o.variant, o.buyer_id, s.brand_id, o.hold_until, s.price, s.currency,
                o.revision, o.publisher
            """
        ).map(ChangedOrder.init(row:))
    }

    /// Stocks with holds that ended before `time`.
    func overdue(before time: Timestamp, _ postgres: PostgresPool) async throws -> [StockKey] {
        try await postgres.query(
            "SELECT DISTINCT sale_id, batch, variant FROM orders WHERE state = 1 AND hold_until < \(time)"
        ).map(StockKey.init(row:))
    }

    /// Locks orders of a stock whose hold ended before `time`; at most `expiredMax`, the longest overdue first. Those whose
    /// decision has not left yet stay for the next time: see `StockStorage.promote`.
    func lockOverdue(_ key: StockKey, before time: Timestamp, _ transaction: Transaction) async throws -> [OrderID] {
        try await transaction.query(
            """
            SELECT order_id FROM orders
            WHERE order_id = ANY(ARRAY(
                SELECT o.order_id FROM orders o
                LEFT JOIN outbox b
                    ON b.stream = \(StockStorage.decisionStreams)::text || o.log_partition AND b.sequence <= o.log_offset
                WHERE (o.sale_id, o.batch, o.variant) = (\(key.saleId), \(Int32(key.batch)), \(key.variant))
                    AND o.state = 1 AND o.hold_until < \(time) AND b.stream IS NULL
                ORDER BY o.hold_until LIMIT \(Self.expiredMax))) AND state + 0 = 1
            ORDER BY order_id FOR UPDATE SKIP LOCKED
            """
        ).column(0, as: OrderID.self)
    }

    /// Locks orders that wait for a stock, those that came first before the others; an order whose decision may not have
    /// left is passed over, see `StockStorage.promote`.
    func lockWaiting(_ key: StockKey, _ transaction: Transaction) async throws -> [OrderID] {
        try await transaction.query(
            """
            SELECT order_id FROM orders
            WHERE order_id = ANY(ARRAY(
                SELECT o.order_id FROM orders o
                LEFT JOIN outbox b
                    ON b.stream = \(StockStorage.decisionStreams)::text || o.log_partition AND b.sequence <= o.log_offset
                WHERE (o.sale_id, o.batch, o.variant) = (\(key.saleId), \(Int32(key.batch)), \(key.variant))
                    AND o.state = 2 AND b.stream IS NULL
                ORDER BY o.ordered_at, o.log_partition, o.log_offset LIMIT \(StockStorage.changedMax))) AND state = 2
            ORDER BY order_id FOR UPDATE SKIP LOCKED
            """
        ).column(0, as: OrderID.self)
    }
}
