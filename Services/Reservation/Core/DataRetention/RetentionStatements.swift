// What is forgotten of orders. What was sold stays: it may still be taken back.
import Postgres
import ServiceKit

enum RetentionStatements {
    /// Each takes `Forgetting.rowsMax` rows at most.
    static let deletions: [SQL] = [
        """
        DELETE FROM refusals WHERE ctid = ANY(ARRAY(
            SELECT ctid FROM refusals WHERE refused_at < now() - make_interval(days => \(Forgetting.daysKept))
            ORDER BY refused_at LIMIT \(Forgetting.rowsMax) FOR UPDATE SKIP LOCKED))
        """,
        """
        DELETE FROM orders WHERE ctid = ANY(ARRAY(
            SELECT ctid FROM orders WHERE state = \(literal: OrderState.released)
                AND ordered_at < now() - make_interval(days => \(Forgetting.daysKept))
            ORDER BY ordered_at LIMIT \(Forgetting.rowsMax) FOR UPDATE SKIP LOCKED))
        """,
        """
        DELETE FROM early_cancellations WHERE ctid = ANY(ARRAY(
            SELECT ctid FROM early_cancellations
            WHERE cancelled_at < now() - make_interval(secs => \(Double(EarlyCancellationStatements.keptSeconds)))
            ORDER BY cancelled_at LIMIT \(Forgetting.rowsMax) FOR UPDATE SKIP LOCKED))
        """,
    ]
}
