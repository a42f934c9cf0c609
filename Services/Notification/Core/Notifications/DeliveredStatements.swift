// The statements on what was delivered: the table `told`.
import Models
import Postgres
import ServiceKit

enum DeliveredStatements {
    /// Forgets what was delivered to readers long ago, `Forgetting.rowsMax` at a time. Broadcasts stay: they are few, and what sold
    /// out long ago may come back.
    static let forget: SQL = """
        DELETE FROM told WHERE ctid = ANY(ARRAY(
            SELECT ctid FROM told
            WHERE account_id IS NOT NULL AND told_at < now() - make_interval(days => \(Forgetting.daysKept))
            ORDER BY told_at LIMIT \(Forgetting.rowsMax) FOR UPDATE SKIP LOCKED))
        """

    /// Notes what is delivered now and gives the identifiers that were not before.
    static func insert(_ ids: [NotificationID], _ events: [NotifiableEvent], at now: Timestamp) -> SQL {
        """
        INSERT INTO told (notification_id, kind, account_id, order_id, sale_id, order_revision, told_at)
        SELECT notification_id, kind, account_id, order_id, sale_id, order_revision, \(now)
        FROM unnest(\(ids), \(events.map(\.kind.rawValue)), \(events.map(\.accountId)),
            \(events.map(\.orderId)), \(events.map(\.saleId)),
            \(events.map { $0.orderRevision.map(Int32.init) }))
            AS said (notification_id, kind, account_id, order_id, sale_id, order_revision)
        ON CONFLICT (notification_id) DO NOTHING
        RETURNING notification_id
        """
    }
}
