// Sessions, their refresh tokens, and what is left of those that have ended.
import Models
import Postgres

/// A session as its owner sees it.
struct Session: Sendable, Equatable {
    let sessionId: SessionID
    let device: String
    let createdAt: Timestamp
    let lastUsedAt: Timestamp
    let expiresAt: Timestamp
}

enum SessionStatements {
    /// Sessions of one account; one more ends the one that was used last the longest ago.
    static let sessionsMax = 100
    /// A device that is not used for so long signs in again.
    static let refreshSeconds: Int64 = 30 * 86_400
    /// So long the answer to a refresh that may have been lost is given again.
    static let graceSeconds: Int64 = 30

    static func insert(
        _ id: SessionID, of account: AccountID, device: String, refreshDigest: [UInt8], at now: Timestamp
    ) -> [SQL] {
        [
            """
            INSERT INTO sessions (session_id, account_id, device, created_at, last_used_at, expires_at)
            VALUES (\(id), \(account), \(device), \(now), \(now), \(now.adding(seconds: refreshSeconds)))
            """,
            "INSERT INTO refresh_tokens (digest, session_id) VALUES (\(refreshDigest), \(id))",
        ]
    }

    /// Sessions that end with their access token: for accounts that an operator brings in.
    static func insertWithoutRefresh(
        _ ids: [SessionID], of accounts: [AccountID], device: String, at now: Timestamp, expiresAt: Timestamp
    ) -> SQL {
        """
        INSERT INTO sessions (session_id, account_id, device, created_at, last_used_at, expires_at)
        SELECT s.session_id, s.account_id, \(device), \(now), \(now), \(expiresAt)
        FROM unnest(\(ids), \(accounts)) AS s(session_id, account_id)
        """
    }

    // MARK: Refreshing

    /// Locks the session that a refresh token is of.
    static func lock(digest: [UInt8]) -> SQL {
        """
        SELECT session_id FROM sessions
        WHERE session_id = ANY(ARRAY(SELECT session_id FROM refresh_tokens WHERE digest = \(digest)))
        ORDER BY session_id FOR UPDATE
        """
    }

    static let tokenRow = Columns(
        "s.session_id", "s.account_id", "a.kind", "t.used_at", "s.ended_at IS NULL", "s.expires_at"
    ) {
        (
            session: SessionID, account: AccountID, kind: AccountKind, usedAt: Timestamp?, isOpen: Bool,
            expiresAt: Timestamp
        ) in
        (session: session, account: account, kind: kind, usedAt: usedAt, isOpen: isOpen, expiresAt: expiresAt)
    }

    /// A refresh token, whose session it is, and whether and until when that can be used.
    static func token(digest: [UInt8]) -> SQL {
        """
        SELECT \(tokenRow)
        FROM refresh_tokens t
        CROSS JOIN LATERAL (SELECT * FROM sessions WHERE session_id = t.session_id OFFSET 0) s
        CROSS JOIN LATERAL (SELECT kind FROM accounts WHERE account_id = s.account_id OFFSET 0) a
        WHERE t.digest = \(digest)
        """
    }

    static func isUnused(digest: [UInt8]) -> SQL {
        "SELECT used_at IS NULL FROM refresh_tokens WHERE digest = \(digest)"
    }

    static func replace(digest: [UInt8], by next: [UInt8], of session: SessionID, at now: Timestamp) -> [SQL] {
        [
            "UPDATE refresh_tokens SET used_at = \(now) WHERE digest = \(digest)",
            "INSERT INTO refresh_tokens (digest, session_id) VALUES (\(next), \(session))",
        ]
    }

    static func prolong(_ session: SessionID, at now: Timestamp) -> SQL {
        """
        UPDATE sessions SET last_used_at = \(now), expires_at = \(now.adding(seconds: refreshSeconds))
        WHERE session_id = \(session)
        """
    }

    // MARK: Reading

    static let sessionRow = Columns("session_id", "device", "created_at", "last_used_at", "expires_at") {
        (id: SessionID, device: String, createdAt: Timestamp, lastUsedAt: Timestamp, expiresAt: Timestamp) in
        Session(sessionId: id, device: device, createdAt: createdAt, lastUsedAt: lastUsedAt, expiresAt: expiresAt)
    }

    /// Those that can still be used, the last used first.
    static func active(of account: AccountID, at now: Timestamp) -> SQL {
        """
        SELECT \(sessionRow) FROM sessions
        WHERE account_id = \(account) AND ended_at IS NULL AND expires_at > \(now)
        ORDER BY last_used_at DESC, session_id LIMIT \(sessionsMax)
        """
    }

    // MARK: Ending

    /// A row where an account has more than `sessionsMax`.
    static func surplus(of account: AccountID) -> SQL {
        "SELECT 1 FROM sessions WHERE account_id = \(account) AND ended_at IS NULL LIMIT 1 OFFSET \(sessionsMax)"
    }

    /// The newest use first, so that the surplus comes last.
    static func ofAccount(_ account: AccountID) -> SQL {
        """
        SELECT session_id FROM sessions WHERE account_id = \(account) AND ended_at IS NULL
        ORDER BY last_used_at DESC, session_id
        """
    }

    static func lock(_ sessions: [SessionID]) -> SQL {
        "SELECT session_id FROM sessions WHERE session_id = ANY(\(sessions)) ORDER BY session_id FOR UPDATE"
    }

    static let endedRow = Columns("session_id", "last_used_at") {
        (session: SessionID, lastUsedAt: Timestamp) in (session: session, lastUsedAt: lastUsedAt)
    }

    static func delete(_ sessions: [SessionID]) -> SQL {
        "DELETE FROM sessions WHERE session_id = ANY(\(sessions)) RETURNING \(endedRow)"
    }

    /// Keeps until when the access tokens of sessions that have ended are refused.
    static func refuse(_ sessions: [(session: SessionID, until: Timestamp)]) -> SQL {
        """
        INSERT INTO ended_sessions (session_id, refused_until)
        SELECT * FROM unnest(\(sessions.map(\.session)), \(sessions.map(\.until))) ON CONFLICT DO NOTHING
        """
    }

    static let refusedRow = Columns("session_id", "refused_until") {
        (session: SessionID, until: Timestamp) in (session: session, until: until)
    }

    /// Those of the sessions whose tokens are refused.
    static func refused(_ sessions: [SessionID]) -> SQL {
        "SELECT \(refusedRow) FROM ended_sessions WHERE session_id = ANY(\(sessions))"
    }

    // MARK: Cleaning

    /// Removes up to `countMax` of each that has served its time: sessions that nobody can use any more, and refresh tokens
    /// that were used longer ago than a device may sleep. Whoever brings one of those later is refused all the same.
    static func removeExpired(at now: Timestamp, countMax: Int) -> [SQL] {
        [
            """
            DELETE FROM sessions WHERE session_id = ANY(ARRAY(
                SELECT session_id FROM sessions WHERE expires_at <= \(now)
                ORDER BY expires_at LIMIT \(countMax) FOR UPDATE SKIP LOCKED))
            """,
            """
            DELETE FROM refresh_tokens WHERE digest = ANY(ARRAY(
                SELECT digest FROM refresh_tokens WHERE used_at <= \(now.adding(seconds: -refreshSeconds))
                ORDER BY used_at LIMIT \(countMax) FOR UPDATE SKIP LOCKED))
            """,
        ]
    }

    /// Forgets up to `countMax` ended sessions whose last token has run out, and names them.
    static func forgetEnded(at now: Timestamp, countMax: Int) -> SQL {
        """
        DELETE FROM ended_sessions WHERE session_id = ANY(ARRAY(
            SELECT session_id FROM ended_sessions WHERE refused_until <= \(now)
            ORDER BY refused_until LIMIT \(countMax) FOR UPDATE SKIP LOCKED))
        RETURNING session_id
        """
    }
}
