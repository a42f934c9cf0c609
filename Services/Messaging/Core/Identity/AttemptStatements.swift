// Attempts that were taken within a window.
import Models
import Postgres

enum AttemptStatements {
    /// Takes one of the attempts that are left and gives the end of its window; nothing where none is left.
    static func take(_ limit: AttemptLimit, at now: Timestamp) -> SQL {
        """
        INSERT INTO attempts AS attempt (name, taken, ends_at)
        VALUES (\(limit.name), 1, \(now.adding(seconds: AttemptLimit.windowSeconds)))
        ON CONFLICT (name) DO UPDATE SET
            taken = CASE WHEN attempt.ends_at <= \(now) THEN 1 ELSE attempt.taken + 1 END,
            ends_at = CASE WHEN attempt.ends_at <= \(now) THEN excluded.ends_at ELSE attempt.ends_at END
        WHERE attempt.ends_at <= \(now) OR attempt.taken < \(limit.max)
        RETURNING ends_at
        """
    }

    static func end(of limit: AttemptLimit) -> SQL { "SELECT ends_at FROM attempts WHERE name = \(limit.name)" }

    /// - Parameter endsAt: of a window that is over nothing is given back.
    static func giveBack(_ name: [UInt8], endsAt: Timestamp) -> SQL {
        """
        UPDATE attempts SET taken = taken - 1
        WHERE name = \(name) AND ends_at = \(endsAt) AND taken > 0
        """
    }

    /// Forgets up to `countMax` windows that have ended.
    static func removeEnded(at now: Timestamp, countMax: Int) -> SQL {
        """
        DELETE FROM attempts WHERE name = ANY(ARRAY(
            SELECT name FROM attempts WHERE ends_at <= \(now)
            ORDER BY ends_at LIMIT \(countMax) FOR UPDATE SKIP LOCKED))
        """
    }
}
