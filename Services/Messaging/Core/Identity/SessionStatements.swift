// Sessions and their refresh tokens.
import Models
import Postgres

struct SessionStorage: Sendable {
    let postgres: PostgresPool

    /// Sessions of one account; one more ends the one that was used last the longest ago.
    static let sessionsMax = 100
    /// A device that is not used for so long signs in again.
    static let refreshSeconds: Int64 = 30 * 86_400
    /// So long the answer to a refresh that may have been lost is given again.
    static let graceSeconds: Int64 = 30

    struct Session: Sendable, Equatable {
        let sessionID: SessionID
        let device: String
        let createdAt: Timestamp
        let lastUsedAt: Timestamp
        let expiresAt: Timestamp
    }

    static func insert(
        _ id: SessionID, of account: AccountID, device: String, refreshDigest: [UInt8], at now: Timestamp,
        in transaction: Transaction
    ) async throws(PostgresError) {
        _ = try await transaction.pipeline([
            """
            INSERT INTO sessions (session_id, account_id, device, created_at, last_used_at, expires_at)
            VALUES (\(id), \(account), \(device), \(now), \(now), \(now.adding(seconds: refreshSeconds)))
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

    // MARK: Refreshing

    enum Refresh: Sendable, Equatable {
        /// The next token is the session's now, or has been for a moment and was not used.
        case refreshed(SessionID, AccountID, AccountKind)
        /// The token had been used before: whoever holds it now, one of the two is a thief. The session has to end.
        case reused(SessionID, AccountID)
        case unknown
    }

    /// Trades a refresh token for the next one.
    ///
    /// Once used it is used up, with one exception: within `graceSeconds`, and while its successor was not used, the same
    /// successor is given again. So an answer that was lost, and two requests at the same moment, end nobody's session. A
    /// successor that was used says that its owner has it: then whoever comes with the old one is somebody else.
    /// - Parameter next: the digest of the successor, which follows from the token.
    static func refresh(
        digest: [UInt8], with next: [UInt8], at now: Timestamp, in transaction: Transaction
    ) async throws(PostgresError) -> Refresh {
        // Whoever changes a session or its tokens holds the session.
        let rows = try await transaction.pipeline([
            """
            SELECT session_id FROM sessions
            WHERE session_id = ANY(ARRAY(SELECT session_id FROM refresh_tokens WHERE digest = \(digest)))
            ORDER BY session_id FOR UPDATE
            """,
            """
            SELECT s.session_id, s.account_id, a.kind, t.used_at, s.ended_at IS NULL AND s.expires_at > \(now)
            FROM refresh_tokens t JOIN sessions s USING (session_id) JOIN accounts a USING (account_id)
            WHERE t.digest = \(digest)
            """,
            "SELECT used_at IS NULL FROM refresh_tokens WHERE digest = \(next)",
        ])
        guard let row = rows[1].first, try row.get(4, as: Bool.self) else { return .unknown }
        let session: SessionID = try row.get(0)
        let account: AccountID = try row.get(1)
        let kind = try row.accountKind(2)
        let expiresAt = now.adding(seconds: refreshSeconds)
        if let usedAt = try row.get(3, as: Timestamp?.self) {
            let isNextUnused = try rows[2].first?.get(0, as: Bool.self) ?? false
            guard isNextUnused, now < usedAt.adding(seconds: graceSeconds) else { return .reused(session, account) }
        } else {
            _ = try await transaction.pipeline([
                "UPDATE refresh_tokens SET used_at = \(now) WHERE digest = \(digest)",
                "INSERT INTO refresh_tokens (digest, session_id) VALUES (\(next), \(session))",
            ])
        }
        _ = try await transaction.execute(
            "UPDATE sessions SET last_used_at = \(now), expires_at = \(expiresAt) WHERE session_id = \(session)")
        return .refreshed(session, account, kind)
    }

    // MARK: Reading

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

    // MARK: Ending

    /// Which sessions of an account.
    enum Choice: Sendable {
        case all, one(SessionID), allBut(SessionID)
        /// Those beyond `sessionsMax`.
        case surplus
    }

    struct Ended: Sendable {
        /// How many there were.
        let count: Int
        /// Those whose access tokens may still be out, and until when.
        let refused: [(session: SessionID, until: Timestamp)]
    }

    /// Whether an account has more than `sessionsMax`.
    static func hasSurplus(_ account: AccountID, in transaction: Transaction) async throws(PostgresError) -> Bool {
        try await !transaction.query(
            """
            SELECT 1 FROM sessions WHERE account_id = \(account) AND ended_at IS NULL LIMIT 1 OFFSET \(sessionsMax)
            """
        ).isEmpty
    }

    /// Removes sessions with their refresh tokens.
    static func end(
        _ choice: Choice, of account: AccountID, at now: Timestamp, tokenSeconds: Int64, in transaction: Transaction
    ) async throws(PostgresError) -> Ended {
        // The newest use first, so that the surplus comes last; locked by the statement behind, in the order of IDs.
        let found: [SessionID] = try await transaction.query(
            """
            SELECT session_id FROM sessions WHERE account_id = \(account) AND ended_at IS NULL
            ORDER BY last_used_at DESC, session_id
            """
        ).column(0)
        let chosen: [SessionID] =
            switch choice {
            case .all: found
            case .one(let session): found.filter { $0 == session }
            case .allBut(let session): found.filter { $0 != session }
            case .surplus: Array(found.dropFirst(sessionsMax))
            }
        if chosen.isEmpty { return Ended(count: 0, refused: []) }
        let rows = try await transaction.pipeline([
            "SELECT session_id FROM sessions WHERE session_id = ANY(\(chosen)) ORDER BY session_id FOR UPDATE",
            "DELETE FROM sessions WHERE session_id = ANY(\(chosen)) RETURNING session_id, last_used_at",
        ])
        // An access token is as old as the session's last use at most.
        var refused: [(session: SessionID, until: Timestamp)] = []
        for row in rows[1] {
            let until = try row.get(1, as: Timestamp.self).adding(seconds: tokenSeconds)
            if until > now { refused.append((try row.get(0), until)) }
        }
        if !refused.isEmpty {
            _ = try await transaction.execute(
                """
                INSERT INTO ended_sessions (session_id, refused_until)
                SELECT * FROM unnest(\(refused.map(\.session)), \(refused.map(\.until))) ON CONFLICT DO NOTHING
                """)
        }
        return Ended(count: rows[1].count, refused: refused)
    }

    /// Those of the sessions whose tokens are refused.
    static func refused(
        _ sessions: [SessionID], in transaction: Transaction
    ) async throws(PostgresError) -> [(session: SessionID, until: Timestamp)] {
        try await transaction.query(
            "SELECT session_id, refused_until FROM ended_sessions WHERE session_id = ANY(\(sessions))"
        ).mapped { (row) throws(PostgresError) in (try row.get(0), try row.get(1)) }
    }

    // MARK: Cleaning

    /// Removes up to `countMax` of each that has served its time: sessions that nobody can use any more, and refresh tokens
    /// that were used longer ago than a device may sleep. Whoever brings one of those later is refused all the same.
    static func removeExpired(at now: Timestamp, countMax: Int, in transaction: Transaction) async throws(PostgresError)
    {
        let used = now.adding(seconds: -refreshSeconds)
        _ = try await transaction.pipeline([
            """
            DELETE FROM sessions WHERE session_id = ANY(ARRAY(
                SELECT session_id FROM sessions WHERE expires_at <= \(now)
                ORDER BY expires_at LIMIT \(countMax) FOR UPDATE SKIP LOCKED))
            """,
            """
            DELETE FROM refresh_tokens WHERE digest = ANY(ARRAY(
                SELECT digest FROM refresh_tokens WHERE used_at <= \(used)
                ORDER BY used_at LIMIT \(countMax) FOR UPDATE SKIP LOCKED))
            """,
        ])
    }

    /// Forgets up to `countMax` ended sessions whose last token has run out, and names them.
    static func forgetEnded(
        at now: Timestamp, countMax: Int, in transaction: Transaction
    ) async throws(PostgresError) -> [SessionID] {
        try await transaction.query(
            """
            DELETE FROM ended_sessions WHERE session_id = ANY(ARRAY(
                SELECT session_id FROM ended_sessions WHERE refused_until <= \(now)
                ORDER BY refused_until LIMIT \(countMax) FOR UPDATE SKIP LOCKED))
            RETURNING session_id
            """
        ).column(0)
    }
}
