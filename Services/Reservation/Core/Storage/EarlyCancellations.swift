// Cancellations that came before their orders: remembered until these come.
//
// A cancellation and its order on two partitions may be applied in the same moment, and neither transaction sees the
// other's row. So a cancellation stays open until every transaction has ended that may have decided the order without
// seeing it; meanwhile, and once more then, it is looked whether the order is alive.
import EventPipeline
import Models
import Postgres

struct EarlyCancellations: Sendable {
    /// As long as the topic `orders` keeps its records.
    static let keptSeconds = Int64(Topic.orders.retentionHours) * 3600
    /// Of one buyer from one publisher; beyond it the oldest are forgotten. Nobody puts another's out of mind.
    static let buyerMax: Int64 = 100
    /// Looked at in one transaction.
    private static let openMax: Int64 = 5000

    /// Goes before a decision looks for cancellations: a transaction that has its number by then and misses a cancellation
    /// is below the next number that is given once the cancellation is there to see.
    static let beginDecision: SQL = "SELECT pg_current_xact_id()"

    /// Remembers cancellations, so many of one buyer from one publisher. Whose order has come is forgotten, and so is what
    /// `PastOrders` takes away: what is older than anything that the topic may hold.
    func keep(_ early: [CancellationInLog], came orders: [OrderID]) -> [SQL] {
        var statements: [SQL] = []
        if !orders.isEmpty {
            statements.append("DELETE FROM early_cancellations WHERE order_id = ANY(\(orders))")
        }
        if early.isEmpty { return statements }
        let early = early.sorted { $0.order.orderId < $1.order.orderId }
        let buyers = Array(Set(early.map(\.order.buyerId)))
        let publishers = early.map { $0.order.publisher?.text ?? "" }
        return statements + [
            """
            INSERT INTO early_cancellations (order_id, buyer_id, publisher, cancelled_at)
            SELECT DISTINCT ON (order_id, buyer_id, publisher) *
            FROM unnest(\(early.map(\.order.orderId)), \(early.map(\.order.buyerId)), \(publishers), \(early.map(\.time)))
                AS new(order_id, buyer_id, publisher, cancelled_at)
            WHERE NOT EXISTS (SELECT FROM early_cancellations e
                WHERE (e.order_id, e.buyer_id, e.publisher) = (new.order_id, new.buyer_id, new.publisher))
            ORDER BY order_id, buyer_id, publisher
            """,
            """
            DELETE FROM early_cancellations WHERE ctid = ANY(ARRAY(
                SELECT ctid FROM early_cancellations WHERE ctid = ANY(ARRAY(
                    SELECT ctid FROM (
                        SELECT ctid,
                            row_number() OVER (
                                PARTITION BY buyer_id, publisher ORDER BY cancelled_at DESC, order_id DESC) AS place
                        FROM early_cancellations WHERE buyer_id = ANY(\(buyers))
                    ) AS counted WHERE place > \(Self.buyerMax)))
                ORDER BY order_id FOR UPDATE SKIP LOCKED))
            """,
        ]
    }

    /// Whether any cancellation is open.
    func isAnyOpen(_ postgres: PostgresPool) async throws -> Bool {
        try await postgres.query("SELECT FROM early_cancellations WHERE NOT settled LIMIT 1").first != nil
    }

    /// Locks orders that are alive though their buyers have taken them back (by whom `mayCancel` says so), at most `openMax`; an order whose decision may
    /// not have left is passed over, see `StockStorage.promote`. With each whether it holds a unit.
    func lockMissed(_ transaction: Transaction) async throws -> [OrderID: Bool] {
        let rows = try await transaction.query(
            """
            SELECT order_id, state FROM orders
            WHERE order_id = ANY(ARRAY(
                SELECT o.order_id FROM early_cancellations e
                JOIN orders o ON (o.order_id, o.buyer_id) = (e.order_id, e.buyer_id)
                    AND e.publisher IN (coalesce(o.publisher, ''), \(PublisherName.messaging.text))
                LEFT JOIN outbox b
                    ON b.stream = \(StockStorage.decisionStreams)::text || o.log_partition AND b.sequence <= o.log_offset
                WHERE NOT e.settled AND o.state < 4 AND b.stream IS NULL LIMIT \(Self.openMax))) AND state < 4
            ORDER BY order_id FOR UPDATE SKIP LOCKED
            """)
        var missed: [OrderID: Bool] = [:]
        for row in rows { missed[try row.get(0)] = try row.get(1, as: Int16.self) != OrderState.waitlisted }
        return missed
    }

    /// Settles cancellations that nobody can have missed any more and whose orders are not alive. True when there may be more.
    ///
    /// A transaction of its own: so it gets its number behind the statement's snapshot, and every decision that has missed
    /// what the snapshot shows has a lower one. `pg_snapshot_xmax` is none such: it is next to the last that has ended, and
    /// who still runs may be beyond it.
    func settle(_ postgres: PostgresPool) async throws -> Bool {
        let affected = try await postgres.execute(
            """
            UPDATE early_cancellations
            SET missed_below = coalesce(missed_below, pg_current_xact_id()),
                settled = missed_below IS NOT NULL
            WHERE ctid = ANY(ARRAY(
                SELECT ctid FROM early_cancellations WHERE ctid = ANY(ARRAY(
                    SELECT e.ctid FROM early_cancellations e
                    WHERE NOT e.settled AND (e.missed_below IS NULL
                        OR e.missed_below <= pg_snapshot_xmin(pg_current_snapshot())
                            AND NOT EXISTS (SELECT FROM orders o
                                WHERE (o.order_id, o.buyer_id) = (e.order_id, e.buyer_id) AND o.state < 4
                                    AND e.publisher IN (coalesce(o.publisher, ''), \(PublisherName.messaging.text))))
                    LIMIT \(Self.openMax))) AND NOT settled
                ORDER BY order_id FOR UPDATE SKIP LOCKED))
            """)
        return affected == Self.openMax
    }
}
