// How orders end: paid, released, cancelled, run out, or waited in vain.
//
// Every transaction locks in one order: orders by their IDs, then stocks, then leases. Whoever holds a stock takes the
// orders that are free and passes the others over.
import Models
import Postgres

/// Orders are found by their IDs. `state + 0` keeps the planner from an index of all orders in a state, which it takes
/// for nearly empty.
enum SettlementStatements {
    /// Orders of a stock that are released in one transaction.
    static let expiredMax: Int32 = 2000
    /// Orders of a stock whose waiting is ended in one transaction.
    static let waitingMax = StockStatements.changedMax

    /// What an order is when it is locked.
    struct Standing: Sendable {
        let state: OrderState
        /// It has ended, and its payment is on the way back already.
        let isRefunded: Bool
    }

    static let standingRow = Columns("order_id", "state", "refunded") {
        (order: OrderID, state: OrderState, isRefunded: Bool) in
        (order: order, standing: Standing(state: state, isRefunded: isRefunded))
    }

    /// Locks those of the orders that have a row.
    static func lock(_ orders: [OrderID]) -> SQL {
        "SELECT \(standingRow) FROM orders WHERE order_id = ANY(\(orders)) ORDER BY order_id FOR UPDATE"
    }

    /// Of an order `o` and its stock `s`.
    static let changedRow = Columns(
        "o.order_id", "o.sale_id", "o.batch", "o.variant", "o.buyer_id", "s.brand_id", "o.hold_until", "s.price",
        "s.currency", "o.revision", "o.publisher"
    ) {
        (
            order: OrderID, sale: SaleID, batch: Int32, variant: String, buyer: AccountID, brand: BrandID,
            holdUntil: Timestamp?, price: Int64, currency: Currency, revision: Int32, publisher: PublisherName?
        ) in
        ChangedOrder(
            line: OrderLine(
                orderId: order, saleId: sale, batch: Int(batch), variant: variant, buyerId: buyer, brandId: brand,
                orderRevision: Int(revision), publisher: publisher),
            holdUntil: holdUntil, price: Money(price, currency))
    }

    /// Marks held orders as paid for; the caller holds them locked.
    static func confirm(_ orders: [OrderID]) -> SQL {
        """
        WITH changed AS (
            UPDATE orders o SET state = \(literal: OrderState.confirmed), revision = o.revision + 1
            WHERE o.order_id = ANY(\(orders)) AND o.state + 0 = \(literal: OrderState.reserved)
            RETURNING o.*
        )
        SELECT \(changedRow) FROM changed o CROSS JOIN LATERAL (
            SELECT * FROM stock WHERE (sale_id, batch, variant) = (o.sale_id, o.batch, o.variant) OFFSET 0) s
        """
    }

    /// Notes that the money for orders that have ended goes back; the caller holds them locked.
    static func refund(_ orders: [OrderID]) -> SQL {
        """
        WITH changed AS (
            UPDATE orders o SET refunded = true, revision = o.revision + 1
            WHERE o.order_id = ANY(\(orders)) AND o.state + 0 = \(literal: OrderState.released) AND NOT o.refunded
            RETURNING o.*
        )
        SELECT \(changedRow) FROM changed o CROSS JOIN LATERAL (
            SELECT * FROM stock WHERE (sale_id, batch, variant) = (o.sale_id, o.batch, o.variant) OFFSET 0) s
        """
    }

    /// Ends orders, held, waiting or paid ones; the caller holds them locked.
    static func end(_ orders: [OrderID]) -> SQL {
        """
        WITH changed AS (
            UPDATE orders o SET state = \(literal: OrderState.released), revision = o.revision + 1,
                refunded = o.state = \(literal: OrderState.confirmed)
            WHERE o.order_id = ANY(\(orders)) AND o.state + 0 < \(literal: OrderState.released)
            RETURNING o.*
        )
        SELECT \(changedRow) FROM changed o CROSS JOIN LATERAL (
            SELECT * FROM stock WHERE (sale_id, batch, variant) = (o.sale_id, o.batch, o.variant) OFFSET 0) s
        """
    }

    /// Stocks with holds that ended before `time`.
    static func overdue(before time: Timestamp) -> SQL {
        """
        SELECT DISTINCT \(StockStatements.keyRow) FROM (
            SELECT \(StockStatements.keyRow) FROM orders
            WHERE state = \(literal: OrderState.reserved) AND hold_until < \(time) OFFSET 0) held
        """
    }

    /// Locks orders of a stock whose hold ended before `time`; at most `expiredMax`, the longest overdue first. Those whose
    /// decision has not left yet stay for the next time: see `StockStatements.promote`.
    static func lockOverdue(_ key: StockKey, before time: Timestamp) -> SQL {
        """
        SELECT order_id FROM orders
        WHERE order_id = ANY(ARRAY(
            SELECT o.order_id FROM orders o
            WHERE (o.sale_id, o.batch, o.variant) = (\(key.saleId), \(Int32(key.batch)), \(key.variant))
                AND o.state = \(literal: OrderState.reserved) AND o.hold_until < \(time)
                AND NOT EXISTS (SELECT FROM outbox b
                    WHERE b.stream = \(DecisionStatements.streams)::text || o.log_partition
                        AND b.sequence <= o.log_offset OFFSET 0)
            ORDER BY o.hold_until LIMIT \(expiredMax))) AND state + 0 = \(literal: OrderState.reserved)
        ORDER BY order_id FOR UPDATE SKIP LOCKED
        """
    }

    /// Locks orders that wait for a stock, those that came first before the others; an order whose decision may not have
    /// left is passed over, see `StockStatements.promote`.
    static func lockWaiting(_ key: StockKey) -> SQL {
        """
        SELECT order_id FROM orders
        WHERE order_id = ANY(ARRAY(
            SELECT o.order_id FROM orders o
            WHERE (o.sale_id, o.batch, o.variant) = (\(key.saleId), \(Int32(key.batch)), \(key.variant))
                AND o.state = \(literal: OrderState.waitlisted)
                AND NOT EXISTS (SELECT FROM outbox b
                    WHERE b.stream = \(DecisionStatements.streams)::text || o.log_partition
                        AND b.sequence <= o.log_offset OFFSET 0)
            ORDER BY o.ordered_at, o.log_partition, o.log_offset LIMIT \(waitingMax)))
            AND state + 0 = \(literal: OrderState.waitlisted)
        ORDER BY order_id FOR UPDATE SKIP LOCKED
        """
    }
}
