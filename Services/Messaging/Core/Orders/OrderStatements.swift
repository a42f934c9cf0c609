// Orders, as their buyers see them.
import Models
import Postgres

enum OrderStatements {
    static let orderRow = Columns(
        "order_id", "buyer_id", "client_order_id", "sale_id", "brand_id", "batch", "variant", "status", "reason",
        "accepted_at", "decided_at", "hold_until", "cancelled_at"
    ) {
        (
            id: OrderID, buyer: AccountID, clientId: String?, sale: SaleID, brand: BrandID, batch: Int32?,
            variant: String?, status: OrderStatus, reason: String?, acceptedAt: Timestamp, decidedAt: Timestamp?,
            holdUntil: Timestamp?, cancelledAt: Timestamp?
        ) in
        StoredOrder(
            orderId: id, buyerId: buyer, clientOrderId: clientId, saleId: sale, brandId: brand,
            batch: batch.map { Int($0) }, variant: variant, status: status, reason: reason, acceptedAt: acceptedAt,
            decidedAt: decidedAt, holdUntil: holdUntil, cancelledAt: cancelledAt)
    }

    // MARK: Placing

    /// Takes in the orders that are not there yet, and gives their IDs.
    /// - Parameter orders: no ID twice, in the order of their IDs, so that two transactions cannot wait for one another.
    static func accept(_ orders: [NewOrder], at now: Timestamp) -> SQL {
        """
        INSERT INTO orders (order_id, buyer_id, client_order_id, sale_id, brand_id, batch, variant, status, rank,
            accepted_at)
        SELECT o.*, 'accepted', 0, \(now)
        FROM unnest(
            \(orders.map(\.orderId)), \(orders.map(\.buyerId)), \(orders.map(\.clientOrderId)),
            \(orders.map(\.saleId)), \(orders.map(\.brandId)), \(orders.map { Int32($0.batch) }),
            \(orders.map(\.variant))) AS o
        ON CONFLICT (order_id) DO NOTHING
        RETURNING order_id
        """
    }

    // MARK: What becomes of orders

    /// Writes what became of orders; an order that was placed elsewhere gets its row. A status never goes back.
    /// - Parameter changes: no order twice.
    static func apply(_ changes: [OrderChange]) -> SQL {
        let sorted = changes.sorted { $0.orderId < $1.orderId }
        return """
            INSERT INTO orders AS o (order_id, buyer_id, sale_id, brand_id, batch, variant, status, rank, reason,
                accepted_at, decided_at, hold_until)
            SELECT c.order_id, c.buyer_id, c.sale_id, c.brand_id, c.batch, c.variant, c.status, c.rank, c.reason,
                c.decided_at, c.decided_at, c.hold_until
            FROM unnest(
                    \(sorted.map(\.orderId)), \(sorted.map(\.buyerId)), \(sorted.map(\.saleId)),
                    \(sorted.map(\.brandId)), \(sorted.map { $0.batch.map(Int32.init) }), \(sorted.map(\.variant)),
                    \(sorted.map(\.status)), \(sorted.map(\.status.rank)), \(sorted.map(\.reason)),
                    \(sorted.map(\.decidedAt)), \(sorted.map(\.holdUntil)))
                AS c(order_id, buyer_id, sale_id, brand_id, batch, variant, status, rank, reason, decided_at, hold_until)
            ON CONFLICT (order_id) DO UPDATE SET
                batch = coalesce(o.batch, excluded.batch),
                variant = coalesce(o.variant, excluded.variant),
                status = CASE WHEN excluded.rank > o.rank THEN excluded.status ELSE o.status END,
                reason = CASE WHEN excluded.rank > o.rank THEN excluded.reason ELSE o.reason END,
                decided_at = CASE WHEN excluded.rank > o.rank THEN excluded.decided_at ELSE o.decided_at END,
                hold_until = CASE WHEN excluded.rank > o.rank THEN excluded.hold_until ELSE o.hold_until END,
                rank = greatest(o.rank, excluded.rank),
                changed_in = pg_current_xact_id()
            WHERE o.buyer_id = excluded.buyer_id AND (excluded.rank > o.rank OR o.batch IS NULL)
            """
    }

    /// Writes rejections of orders that have a row; of others nothing is kept.
    static func reject(_ changes: [OrderChange]) -> SQL {
        let sorted = changes.sorted { $0.orderId < $1.orderId }
        let rejected = OrderStatus.rejected
        // By the place of each among the sorted IDs: no join, so nothing that the planner could do the other way round.
        return """
            UPDATE orders SET status = \(rejected), rank = \(rejected.rank), hold_until = NULL,
                reason = c.reasons[width_bucket(order_id, c.ids)], decided_at = c.times[width_bucket(order_id, c.ids)],
                changed_in = pg_current_xact_id()
            FROM (SELECT \(sorted.map(\.orderId)) AS ids, \(sorted.map(\.buyerId)) AS buyers,
                \(sorted.map(\.reason)) AS reasons, \(sorted.map(\.decidedAt)) AS times) AS c
            WHERE order_id = ANY(c.ids) AND buyer_id = c.buyers[width_bucket(order_id, c.ids)]
                AND rank < \(rejected.rank)
            """
    }

    // MARK: Cancelling

    /// Locks an order of the buyer for its cancellation.
    static func lock(_ id: OrderID, of buyer: AccountID) -> SQL {
        "SELECT \(orderRow) FROM orders WHERE order_id = \(id) AND buyer_id = \(buyer) FOR UPDATE"
    }

    static func markCancelled(_ id: OrderID, at now: Timestamp) -> SQL {
        "UPDATE orders SET cancelled_at = \(now), changed_in = pg_current_xact_id() WHERE order_id = \(id)"
    }

    // MARK: Reading

    /// Those of the orders that are there.
    static func find(_ ids: [OrderID]) -> SQL { "SELECT \(orderRow) FROM orders WHERE order_id = ANY(\(ids))" }

    /// An order that the account may see: its own, or one of its sales.
    static func one(_ id: OrderID, visibleTo account: AccountID) -> SQL {
        """
        SELECT \(orderRow) FROM orders
        WHERE order_id = \(id) AND (buyer_id = \(account) OR brand_id = \(account))
        """
    }

    static let orderAndClockRow = orderRow.optional.and("clock_timestamp()", as: Timestamp.self)

    /// The same, if it is there, and what time it is by Postgres' clock.
    static func oneAndClock(_ id: OrderID, visibleTo account: AccountID) -> SQL {
        """
        SELECT \(orderAndClockRow)
        FROM (SELECT) here LEFT JOIN orders ON order_id = \(id) AND (buyer_id = \(account) OR brand_id = \(account))
        """
    }

    /// The buyer's orders, the last accepted first, from before the cursor on.
    static func list(of buyer: AccountID, before: TimedPosition<OrderID>?, countMax: Int) -> SQL {
        let bound = before ?? TimedPosition(time: .distantFuture, id: OrderID(high: .max, low: .max))
        return """
            SELECT \(orderRow) FROM orders
            WHERE buyer_id = \(buyer) AND (accepted_at, order_id) < (\(bound.time), \(bound.id))
            ORDER BY accepted_at DESC, order_id DESC LIMIT \(countMax)
            """
    }
}

extension OrderStatus: PostgresValue {}
