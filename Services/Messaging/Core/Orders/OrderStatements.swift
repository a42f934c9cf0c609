// Orders, as their buyers see them.
import Models
import Postgres

/// An order that is to be taken in.
struct NewOrder: Sendable, Equatable {
    let orderID: OrderID
    let buyerID: AccountID
    let clientOrderID: String
    let saleID: SaleID
    let brandID: BrandID
    let batch: Int
    let variant: String
}

/// An order as it is now.
struct StoredOrder: Sendable, Equatable {
    let orderID: OrderID
    let buyerID: AccountID
    let clientOrderID: String?
    let saleID: SaleID
    let brandID: BrandID
    let batch: Int?
    let variant: String?
    let status: String
    let reason: String?
    let acceptedAt: Timestamp
    let decidedAt: Timestamp?
    let holdUntil: Timestamp?
    let cancelledAt: Timestamp?
}

struct OrderStorage: Sendable {
    let postgres: PostgresPool

    /// Takes in the orders that are not there yet.
    /// - Parameter orders: no ID twice, in the order of their IDs, so that two transactions cannot wait for one another.
    /// - Returns: the IDs of those that are new.
    static func accept(
        _ orders: [NewOrder], at now: Timestamp, in transaction: Transaction
    ) async throws(PostgresError) -> [OrderID] {
        let ids = orders.map(\.orderID)
        let buyers = orders.map(\.buyerID)
        let clientIDs = orders.map(\.clientOrderID)
        let sales = orders.map(\.saleID)
        let brands = orders.map(\.brandID)
        let batches = orders.map { Int32($0.batch) }
        let variants = orders.map(\.variant)
        return try await transaction.query(
            """
            INSERT INTO orders (order_id, buyer_id, client_order_id, sale_id, brand_id, batch, variant, status, rank,
                accepted_at)
            SELECT o.*, 'accepted', 0, \(now)
            FROM unnest(\(ids), \(buyers), \(clientIDs), \(sales), \(brands), \(batches), \(variants)) AS o
            ON CONFLICT (order_id) DO NOTHING
            RETURNING order_id
            """
        ).column(0)
    }

    static func find(_ ids: [OrderID]) -> SQL {
        """
        SELECT order_id, buyer_id, client_order_id, sale_id, brand_id, batch, variant, status, reason, accepted_at,
            decided_at, hold_until, cancelled_at
        FROM orders WHERE order_id = ANY(\(ids))
        """
    }

    static func orders(_ ids: [OrderID], in transaction: Transaction) async throws(PostgresError) -> [StoredOrder] {
        try await transaction.query(find(ids)).mapped { (row) throws(PostgresError) in try order(row) }
    }

    /// Writes what became of orders; an order that was placed elsewhere gets its row. A status never goes back.
    /// - Parameter changes: no order twice.
    static func apply(_ changes: [OrderChange], in transaction: Transaction) async throws(PostgresError) {
        if changes.isEmpty { return }
        let changes = changes.sorted { $0.orderID < $1.orderID }
        let ids = changes.map(\.orderID)
        let buyers = changes.map(\.buyerID)
        let sales = changes.map(\.saleID)
        let brands = changes.map(\.brandID)
        let batches = changes.map { $0.batch.map(Int32.init) }
        let variants = changes.map(\.variant)
        let statuses = changes.map(\.status.rawValue)
        let ranks = changes.map(\.status.rank)
        let reasons = changes.map(\.reason)
        let times = changes.map(\.decidedAt)
        let holds = changes.map(\.holdUntil)
        _ = try await transaction.execute(
            """
            INSERT INTO orders AS o (order_id, buyer_id, sale_id, brand_id, batch, variant, status, rank, reason,
                accepted_at, decided_at, hold_until)
            SELECT c.order_id, c.buyer_id, c.sale_id, c.brand_id, c.batch, c.variant, c.status, c.rank, c.reason,
                c.decided_at, c.decided_at, c.hold_until
            FROM unnest(\(ids), \(buyers), \(sales), \(brands), \(batches), \(variants), \(statuses), \(ranks),
                    \(reasons), \(times), \(holds))
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
            """)
    }

    /// Writes rejections of orders that have a row; of others nothing is kept.
    static func reject(_ changes: [OrderChange], in transaction: Transaction) async throws(PostgresError) {
        if changes.isEmpty { return }
        let changes = changes.sorted { $0.orderID < $1.orderID }
        let ids = changes.map(\.orderID)
        let buyers = changes.map(\.buyerID)
        let reasons = changes.map(\.reason)
        let times = changes.map(\.decidedAt)
        let status = OrderStatus.rejected
        _ = try await transaction.execute(
            """
            UPDATE orders o SET status = \(status.rawValue), rank = \(status.rank), reason = c.reason,
                decided_at = c.decided_at, hold_until = NULL, changed_in = pg_current_xact_id()
            FROM unnest(\(ids), \(buyers), \(reasons), \(times)) AS c(order_id, buyer_id, reason, decided_at)
            WHERE o.order_id = c.order_id AND o.buyer_id = c.buyer_id AND o.rank < \(status.rank)
            """)
    }

    /// Locks an order of the buyer for its cancellation.
    static func lock(
        _ id: OrderID, of buyer: AccountID, in transaction: Transaction
    ) async throws(PostgresError) -> StoredOrder? {
        try await transaction.query(
            """
            SELECT order_id, buyer_id, client_order_id, sale_id, brand_id, batch, variant, status, reason, accepted_at,
                decided_at, hold_until, cancelled_at
            FROM orders WHERE order_id = \(id) AND buyer_id = \(buyer) FOR UPDATE
            """
        ).first.map { (row) throws(PostgresError) in try order(row) }
    }

    static func markCancelled(_ id: OrderID, at now: Timestamp, in transaction: Transaction) async throws(PostgresError)
    {
        _ = try await transaction.execute(
            """
            UPDATE orders SET cancelled_at = \(now), changed_in = pg_current_xact_id() WHERE order_id = \(id)
            """)
    }

    /// An order that the account may see: its own, or one of its sales.
    func order(_ id: OrderID, visibleTo account: AccountID) async throws(PostgresError) -> StoredOrder? {
        try await postgres.query(
            """
            SELECT order_id, buyer_id, client_order_id, sale_id, brand_id, batch, variant, status, reason, accepted_at,
                decided_at, hold_until, cancelled_at
            FROM orders WHERE order_id = \(id) AND (buyer_id = \(account) OR brand_id = \(account))
            """
        ).first.map { (row) throws(PostgresError) in try Self.order(row) }
    }

    /// The same, if it is there, and what time it is by Postgres' clock.
    func orderAndTime(
        _ id: OrderID, visibleTo account: AccountID
    ) async throws(PostgresError) -> (order: StoredOrder?, now: Timestamp) {
        let row = try await postgres.query(
            """
            SELECT clock_timestamp(), order_id, buyer_id, client_order_id, sale_id, brand_id, batch, variant, status,
                reason, accepted_at, decided_at, hold_until, cancelled_at
            FROM (SELECT) here LEFT JOIN orders ON order_id = \(id) AND (buyer_id = \(account) OR brand_id = \(account))
            """)[0]
        let found: OrderID? = try row.get(1)
        return (found == nil ? nil : try Self.order(row, from: 1), try row.get(0))
    }

    /// The buyer's orders, the last accepted first, from before the cursor on.
    func orders(
        of buyer: AccountID, before: (acceptedAt: Timestamp, id: OrderID)?, limit: Int
    ) async throws(PostgresError) -> [StoredOrder] {
        let acceptedAt = before?.acceptedAt ?? .distantFuture
        let id = before?.id ?? OrderID(high: .max, low: .max)
        return try await postgres.query(
            """
            SELECT order_id, buyer_id, client_order_id, sale_id, brand_id, batch, variant, status, reason, accepted_at,
                decided_at, hold_until, cancelled_at
            FROM orders WHERE buyer_id = \(buyer) AND (accepted_at, order_id) < (\(acceptedAt), \(id))
            ORDER BY accepted_at DESC, order_id DESC LIMIT \(limit)
            """
        ).mapped { (row) throws(PostgresError) in try Self.order(row) }
    }

    /// - Parameter first: the column of the order's ID; the others follow in the order of the statements above.
    static func order(_ row: Row, from first: Int = 0) throws(PostgresError) -> StoredOrder {
        StoredOrder(
            orderID: try row.get(first), buyerID: try row.get(first + 1), clientOrderID: try row.get(first + 2),
            saleID: try row.get(first + 3), brandID: try row.get(first + 4),
            batch: try row.get(first + 5, as: Int32?.self).map { Int($0) }, variant: try row.get(first + 6),
            status: try row.get(first + 7), reason: try row.get(first + 8), acceptedAt: try row.get(first + 9),
            decidedAt: try row.get(first + 10), holdUntil: try row.get(first + 11),
            cancelledAt: try row.get(first + 12))
    }
}
