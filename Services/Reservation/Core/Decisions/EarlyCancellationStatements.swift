// Cancellations that came before their orders: remembered until these come.
//
// A cancellation and its order on two partitions may be applied in the same moment, and neither transaction sees the
// other's row. So a cancellation stays open until every transaction has ended that may have decided the order without
// seeing it; meanwhile, and once more then, it is looked whether the order is alive.
import EventPipeline
import Models
import Postgres

enum EarlyCancellationStatements {
    /// As long as the topic `orders` keeps its records.
    static let keptSeconds = Int64(Topic.orders.retentionHours) * 3600
    /// Of one buyer from one publisher; beyond it the oldest are forgotten. Nobody puts another's out of mind.
    static let buyerMax: Int64 = 100
    /// Looked at in one transaction.
    static let openMax: Int64 = 5000

    /// Goes before a decision looks for cancellations: a transaction that has its number by then and misses a cancellation
    /// is below the next number that is given once the cancellation is there to see.
    static let beginDecision: SQL = "SELECT pg_current_xact_id()"

    /// The empty text stands for nobody who proved it.
    static let orderRow = Columns("order_id", "buyer_id", "nullif(publisher, '')") {
        (order: OrderID, buyer: AccountID, publisher: PublisherName?) in
        OrderOfBuyer(orderId: order, buyerId: buyer, publisher: publisher)
    }

    /// The cancellations of these orders that came first.
    static func cancelled(_ orders: [OrderID]) -> SQL {
        "SELECT \(orderRow) FROM early_cancellations WHERE order_id = ANY(\(orders))"
    }

    /// Forgets those whose orders have come.
    static func forget(_ orders: [OrderID]) -> SQL {
        "DELETE FROM early_cancellations WHERE order_id = ANY(\(orders))"
    }

    /// Remembers cancellations. What is older than anything that the topic may hold is taken away by
    /// `RetentionStatements`.
    static func remember(_ early: [CancellationInLog]) -> SQL {
        let early = early.sorted { $0.order.orderId < $1.order.orderId }
        return """
            INSERT INTO early_cancellations (order_id, buyer_id, publisher, cancelled_at)
            SELECT DISTINCT ON (order_id, buyer_id, publisher) *
            FROM unnest(\(early.map(\.order.orderId)), \(early.map(\.order.buyerId)),
                \(early.map { $0.order.publisher?.text ?? "" }), \(early.map(\.time)))
                AS new(order_id, buyer_id, publisher, cancelled_at)
            WHERE NOT EXISTS (SELECT FROM early_cancellations e
                WHERE (e.order_id, e.buyer_id, e.publisher) = (new.order_id, new.buyer_id, new.publisher) OFFSET 0)
            ORDER BY order_id, buyer_id, publisher
            """
    }

    /// Forgets the oldest of each of these buyers from each publisher, beyond `buyerMax`.
    static func bound(_ buyers: Set<AccountID>) -> SQL {
        """
        DELETE FROM early_cancellations WHERE ctid = ANY(ARRAY(
            SELECT ctid FROM early_cancellations WHERE ctid = ANY(ARRAY(
                SELECT ctid FROM (
                    SELECT ctid,
                        row_number() OVER (
                            PARTITION BY buyer_id, publisher ORDER BY cancelled_at DESC, order_id DESC) AS place
                    FROM early_cancellations WHERE buyer_id = ANY(\(Array(buyers)))
                ) AS counted WHERE place > \(buyerMax)))
            -- Nobody is waited for, so in any order; in that of an index the planner could read all of it.
            ORDER BY ctid FOR UPDATE SKIP LOCKED))
        """
    }

    /// One row where any cancellation is open.
    static let anyOpen: SQL = "SELECT FROM early_cancellations WHERE NOT settled LIMIT 1"

    static let missedRow = Columns("order_id", "state") { (order: OrderID, state: OrderState) in
        (order: order, hasUnit: state.hasUnit)
    }

    /// Locks orders that are alive though their buyers have taken them back (by whom `mayCancel` says so), at most
    /// `openMax`; an order whose decision may not have left is passed over, see `StockStatements.promote`.
    static var lockMissed: SQL {
        """
        SELECT \(missedRow) FROM orders
        WHERE order_id = ANY(ARRAY(
            SELECT o.order_id FROM early_cancellations e CROSS JOIN LATERAL (
                SELECT * FROM orders WHERE order_id = e.order_id AND buyer_id = e.buyer_id OFFSET 0) o
            WHERE NOT e.settled AND o.state < \(literal: OrderState.released)
                AND e.publisher IN (coalesce(o.publisher, ''), \(PublisherName.messaging))
                AND NOT EXISTS (SELECT FROM outbox b
                    WHERE b.stream = \(DecisionStatements.streams)::text || o.log_partition
                        AND b.sequence <= o.log_offset OFFSET 0)
            LIMIT \(openMax))) AND state + 0 < \(literal: OrderState.released)
        ORDER BY order_id FOR UPDATE SKIP LOCKED
        """
    }

    /// Settles cancellations that nobody can have missed any more and whose orders are not alive, at most `openMax`.
    ///
    /// A transaction of its own: so it gets its number behind the statement's snapshot, and every decision that has missed
    /// what the snapshot shows has a lower one. `pg_snapshot_xmax` is none such: it is next to the last that has ended, and
    /// who still runs may be beyond it.
    static var settle: SQL {
        """
        UPDATE early_cancellations
        -- Reads more: each that is open, to see which are not any more.
        SET missed_below = coalesce(missed_below, pg_current_xact_id()),
            settled = missed_below IS NOT NULL
        WHERE ctid = ANY(ARRAY(
            SELECT ctid FROM early_cancellations WHERE ctid = ANY(ARRAY(
                SELECT e.ctid FROM early_cancellations e
                WHERE NOT e.settled AND (e.missed_below IS NULL
                    OR e.missed_below <= pg_snapshot_xmin(pg_current_snapshot())
                        AND NOT EXISTS (SELECT FROM orders o
                            WHERE (o.order_id, o.buyer_id) = (e.order_id, e.buyer_id)
                                AND o.state < \(literal: OrderState.released)
                                AND e.publisher IN (coalesce(o.publisher, ''), \(PublisherName.messaging))
                            OFFSET 0))
                LIMIT \(openMax))) AND NOT settled
            ORDER BY ctid FOR UPDATE SKIP LOCKED))
        """
    }
}
