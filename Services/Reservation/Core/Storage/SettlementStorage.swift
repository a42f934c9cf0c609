// How orders end: paid, released, cancelled, or run out.
import EventPipeline
import Models
import Postgres

struct SettlementStorage: Sendable {
    /// Orders of a stock that are released in one transaction.
    static let expiredMax: Int32 = 2000

    /// Marks held orders as paid for; returns those that were.
    func confirm(_ orders: [OrderID], _ transaction: Transaction) async throws -> [ChangedOrder] {
        try await transaction.query(
            """
            UPDATE orders o SET state = 3, revision = o.revision + 1 FROM stock s
            WHERE o.order_id = ANY(\(orders)) AND o.state = 1
                AND (s.sale_id, s.batch, s.variant) = (o.sale_id, o.batch, o.variant)
            RETURNING o.order_id, o.sale_id, o.batch, o.variant, o.buyer_id, s.brand_id, o.hold_until, s.price, s.currency,
                o.revision, o.publisher
            """
        ).map(ChangedOrder.init(row:))
    }

    /// Releases held orders; returns those that were held.
    func release(_ orders: [OrderID], _ transaction: Transaction) async throws -> [ChangedOrder] {
        try await transaction.query(
            """
            UPDATE orders o SET state = 4, revision = o.revision + 1 FROM stock s
            WHERE o.order_id = ANY(\(orders)) AND o.state = 1
                AND (s.sale_id, s.batch, s.variant) = (o.sale_id, o.batch, o.variant)
            RETURNING o.order_id, o.sale_id, o.batch, o.variant, o.buyer_id, s.brand_id, o.hold_until, s.price, s.currency,
                o.revision, o.publisher
            """
        ).map(ChangedOrder.init(row:))
    }

    /// Those of the orders that have a row.
    func known(_ orders: [OrderID], _ transaction: Transaction) async throws -> Set<OrderID> {
        let rows = try await transaction.query("SELECT order_id FROM orders WHERE order_id = ANY(\(orders))")
        var known: Set<OrderID> = []
        for row in rows { known.insert(try row.get(0)) }
        return known
    }

    /// Orders of these that ended before they were paid for, each told of once: their money has to go back.
    func paidTooLate(_ orders: [OrderID], _ transaction: Transaction) async throws -> [ChangedOrder] {
        try await transaction.query(
            """
            UPDATE orders o SET refunded = true, revision = o.revision + 1 FROM stock s
            WHERE o.order_id = ANY(\(orders)) AND o.state = 4 AND NOT o.refunded
                AND (s.sale_id, s.batch, s.variant) = (o.sale_id, o.batch, o.variant)
            RETURNING o.order_id, o.sale_id, o.batch, o.variant, o.buyer_id, s.brand_id, o.hold_until, s.price, s.currency,
                o.revision, o.publisher
            """
        ).map(ChangedOrder.init(row:))
    }

    /// Ends orders that their own buyers took back, held, waiting or paid ones; the caller holds them locked.
    func cancel(_ orders: [OrderID], _ transaction: Transaction) async throws -> [ChangedOrder] {
        try await transaction.query(
            """
            UPDATE orders o SET state = 4, revision = o.revision + 1, refunded = o.state = 3 FROM stock s
            WHERE o.order_id = ANY(\(orders)) AND o.state < 4
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
        ).map { StockKey(saleId: try $0.get(0), batch: Int(try $0.get(1, as: Int32.self)), variant: try $0.get(2)) }
    }

    /// Releases orders of a stock whose hold ended before `time`; at most `expiredMax`, the longest overdue first.
    /// Those whose decision has not left yet stay for the next time: see `StockStorage.promote`.
    func expire(_ key: StockKey, before time: Timestamp, _ transaction: Transaction) async throws -> [ChangedOrder] {
        try await transaction.query(
            """
            WITH ended AS (
                SELECT order_id FROM orders
                WHERE order_id = ANY(ARRAY(
                    SELECT o.order_id FROM orders o
                    LEFT JOIN outbox b
                        ON b.stream = \(StockStorage.decisionStreams)::text || o.log_partition AND b.sequence <= o.log_offset
                    WHERE (o.sale_id, o.batch, o.variant) = (\(key.saleId), \(Int32(key.batch)), \(key.variant))
                        AND o.state = 1 AND o.hold_until < \(time) AND b.stream IS NULL
                    ORDER BY o.hold_until LIMIT \(Self.expiredMax))) AND state = 1
                ORDER BY order_id FOR UPDATE SKIP LOCKED
            )
            UPDATE orders o SET state = 4, revision = o.revision + 1 FROM ended, stock s
            WHERE o.order_id = ended.order_id AND (s.sale_id, s.batch, s.variant) = (o.sale_id, o.batch, o.variant)
            RETURNING o.order_id, o.sale_id, o.batch, o.variant, o.buyer_id, s.brand_id, o.hold_until, s.price, s.currency,
                o.revision, o.publisher
            """
        ).map(ChangedOrder.init(row:))
    }
}
