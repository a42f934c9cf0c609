// Device sessions and their refresh tokens.
import Models
import Postgres

struct SessionStorage: Sendable {
    let postgres: PostgresPool

    struct Session: Sendable, Equatable {
        let sessionID: SessionID
        let device: String
        let createdAt: Timestamp
        let lastUsedAt: Timestamp
        let expiresAt: Timestamp
    }

    static func insert(
        _ id: SessionID, of account: AccountID, device: String, refreshDigest: [UInt8], at now: Timestamp,
        expiresAt: Timestamp, in transaction: Transaction
    ) async throws(PostgresError) {
        _ = try await transaction.pipeline([
            """
            INSERT INTO sessions (session_id, account_id, device, created_at, last_used_at, expires_at)
            VALUES (\(id), \(account), \(device), \(now), \(now), \(expiresAt))
            """,
            "INSERT INTO refresh_tokens (digest, session_id) VALUES (\(refreshDigest), \(id))",
        ])
    }

    /// Sessions that end with their access token: for accounts that an operator brings in.
    static func insertWithoutRefresh(
        _ ids: [SessionID], of accounts: [AccountID], device: String, at now: Timestamp, expiresAt: Timestamp,
        in transaction: Transaction
    ) async throws(PostgresError) {
        _ = try await transaction.execute(
            """
            INSERT INTO sessions (session_id, account_id, device, created_at, last_used_at, expires_at)
            SELECT s.session_id, s.account_id, \(device), \(now), \(now), \(expiresAt)
            FROM unnest(\(ids), \(accounts)) AS s(session_id, account_id)
            """)
    }

    enum Refresh: Sendable {
        case refreshed(SessionID, AccountID, AccountKind)
        /// The token had been used before: whoever holds it now, one of the two is a thief. The session is ended.
        case reused(SessionID)
        case unknown
    }

    /// Trades a refresh token for the next one, once.
    static func refresh(
        digest: [UInt8], with next: [UInt8], at now: Timestamp, expiresAt: Timestamp, in transaction: Transaction
    ) async throws(PostgresError) -> Refresh {
        // The token first, then its session; what they say is read when both are held.
        let rows = try await transaction.pipeline([
            "SELECT session_id FROM refresh_tokens WHERE digest = \(digest) FOR UPDATE",
            """
            SELECT session_id FROM sessions
            WHERE session_id = ANY(ARRAY(SELECT session_id FROM refresh_tokens WHERE digest = \(digest)))
            ORDER BY session_id FOR UPDATE
            """,
            """
            SELECT s.session_id, s.account_id, a.kind, t.used_at IS NOT NULL, s.ended_at IS NULL AND s.expires_at > \(now)
            FROM refresh_tokens t JOIN sessions s USING (session_id) JOIN accounts a USING (account_id)
            WHERE t.digest = \(digest)
            """,
        ])
        guard let row = rows[2].first else { return .unknown }
        let session: SessionID = try row.get(0)
        if try row.get(3, as: Bool.self) {
            _ = try await transaction.execute(
                "UPDATE sessions SET ended_at = coalesce(ended_at, \(now)) WHERE session_id = \(session)")
            return .reused(session)
        }
        guard try row.get(4, as: Bool.self) else { return .unknown }
        _ = try await transaction.pipeline([
            "UPDATE refresh_tokens SET used_at = \(now) WHERE digest = \(digest)",
            "INSERT INTO refresh_tokens (digest, session_id) VALUES (\(next), \(session))",
            "UPDATE sessions SET last_used_at = \(now), expires_at = \(expiresAt) WHERE session_id = \(session)",
        ])
        let kind: String = try row.get(2)
        return .refreshed(session, try row.get(1), kind == AccountKind.brand.rawValue ? .brand : .person)
    }

    /// Those that can still be used, the last used first.
    func active(of account: AccountID, at now: Timestamp, limit: Int) async throws(PostgresError) -> [Session] {
        let rows = try await postgres.query(
            """
            SELECT session_id, device, created_at, last_used_at, expires_at FROM sessions
            WHERE account_id = \(account) AND ended_at IS NULL AND expires_at > \(now)
            ORDER BY last_used_at DESC, session_id LIMIT \(limit)
            """)
        var sessions: [Session] = []
        for row in rows {
            sessions.append(
                Session(
                    sessionID: try row.get(0), device: try row.get(1), createdAt: try row.get(2),
                    lastUsedAt: try row.get(3), expiresAt: try row.get(4)))
        }
        return sessions
    }

    /// Whether there was such a session of the account.
    func end(_ session: SessionID, of account: AccountID, at now: Timestamp) async throws(PostgresError) -> Bool {
        try await postgres.execute(
            """
            UPDATE sessions SET ended_at = coalesce(ended_at, \(now))
            WHERE session_id = \(session) AND account_id = \(account)
            """) > 0
    }
}
