// The statements on what was told.
import Models
import Postgres
import ServiceKit

enum ToldStatements {
    /// Forgets what readers were told long ago, `Forgetting.rowsMax` at a time. Broadcasts stay: they are few, and what sold
    /// out long ago may come back.
    static let forget: SQL = """
        DELETE FROM told WHERE ctid = ANY(ARRAY(
            SELECT ctid FROM told
            WHERE account_id IS NOT NULL AND told_at < now() - make_interval(days => \(Forgetting.daysKept))
            ORDER BY told_at LIMIT \(Forgetting.rowsMax) FOR UPDATE SKIP LOCKED))
        """

    /// Notes what is told now and gives the identifiers that were not told before.
    static func insert(_ ids: [NotificationID], _ occasions: [Occasion], at now: Timestamp) -> SQL {
        """
        INSERT INTO told (notification_id, kind, account_id, order_id, sale_id, order_revision, told_at)
        SELECT notification_id, kind, account_id, order_id, sale_id, order_revision, \(now)
        FROM unnest(\(ids), \(occasions.map(\.kind.rawValue)), \(occasions.map(\.accountId)),
            \(occasions.map(\.orderId)), \(occasions.map(\.saleId)),
            \(occasions.map { $0.orderRevision.map(Int32.init) }))
            AS said (notification_id, kind, account_id, order_id, sale_id, order_revision)
        ON CONFLICT (notification_id) DO NOTHING
        RETURNING notification_id
        """
    }
}
