// Opens, continues and ends sessions.
import EventPipeline
import Models
import Postgres
import Security
import ServiceKit

/// What a device acts with.
struct SessionTokens: Sendable {
    let access: String
    let refresh: String
    /// Those of the access token.
    let expiresInSeconds: Int64
}

struct SessionCommands: Sendable {
    let context: ServiceContext
    let relay: Relay
    let keys: SigningKeys
    let verifier: TokenVerifier
    let root: RootSecret
    /// Told of a session whose tokens are refused from now on.
    let sessionEnded: @Sendable (SessionID) -> Void

    // MARK: Opening

    /// A session that is about to be stored, and the refresh token that nobody but its device will know.
    struct Opening: Sendable {
        let sessionId: SessionID
        let account: AccountID
        let device: String
        let refreshToken: String
        let now: Timestamp

        /// Fail with a foreign key violation where there is no such account.
        var statements: [SQL] {
            SessionStatements.insert(
                sessionId, of: account, device: device, refreshDigest: Digest.sha256(refreshToken.utf8), at: now)
        }
    }

    func open(_ account: AccountID, device: String) -> Opening {
        Opening(
            sessionId: context.newID(), account: account, device: device, refreshToken: Random.token(),
            now: context.now())
    }

    /// Stores the session of an account that has others: beyond so many the last of them ends.
    /// - Parameter others: what else the transaction does.
    func store(_ opening: Opening, and others: [SQL]) async throws {
        let isSurplus = try await context.postgres.retryingTransaction { transaction in
            let rows = try await transaction.pipeline(
                opening.statements + others + [SessionStatements.surplus(of: opening.account)])
            return rows.last?.isEmpty == false
        }
        // Where too much waits for Kafka this is for the next sign-in.
        if isSurplus { _ = try? await end(.surplus, of: opening.account) }
    }

    /// - Throws: `NoSigningKey`.
    func tokens(_ opening: Opening, of account: Account) throws -> SessionTokens {
        SessionTokens(
            access: try keys.issue(
                account.accountId, kind: account.kind, session: opening.sessionId, at: opening.now),
            refresh: opening.refreshToken, expiresInSeconds: keys.tokenSeconds)
    }

    // MARK: Refreshing

    enum RefreshRefusal: Error, Equatable, Sendable {
        /// Of no session that can still be used.
        case unknown
        /// Its session has been ended.
        case usedBefore
    }

    /// Trades a refresh token for the next one and an access token.
    /// - Throws: `RefreshRefusal`, or `NoSigningKey`.
    func refresh(_ token: String) async throws -> SessionTokens {
        let now = context.now()
        // What follows from the token is the same however often it is asked for.
        let next = Base64URL.encode(root.derive(from: token.utf8))
        let (digest, nextDigest) = (Digest.sha256(token.utf8), Digest.sha256(next.utf8))
        let outcome = try await context.postgres.retryingTransaction { transaction in
            try await Self.refresh(digest: digest, with: nextDigest, at: now, in: transaction)
        }
        switch outcome {
        case .refreshed(let session, let account, let kind):
            return SessionTokens(
                access: try keys.issue(account, kind: kind, session: session, at: now), refresh: next,
                expiresInSeconds: keys.tokenSeconds)
        case .reused(let session, let account):
            context.log.warning(
                "a refresh token came a second time: its session is ended", ["session_id": "\(session)"])
            try await end(.one(session), of: account)
            throw RefreshRefusal.usedBefore
        case .unknown: throw RefreshRefusal.unknown
        }
    }

    enum Refresh: Sendable, Equatable {
        /// The next token is the session's now, or has been for a moment and was not used.
        case refreshed(SessionID, AccountID, AccountKind)
        /// The token had been used before: whoever holds it now, one of the two is a thief. The session has to end.
        case reused(SessionID, AccountID)
        case unknown
    }

    /// Once used a token is used up, with one exception: within `graceSeconds`, and while its successor was not used, the
    /// same successor is given again. So an answer that was lost, and two requests at the same moment, end nobody's session.
    /// A successor that was used says that its owner has it: then whoever comes with the old one is somebody else.
    /// - Parameter next: the digest of the successor, which follows from the token.
    static func refresh(
        digest: [UInt8], with next: [UInt8], at now: Timestamp, in transaction: Transaction
    ) async throws -> Refresh {
        // Whoever changes a session or its tokens holds the session.
        let rows = try await transaction.pipeline([
            SessionStatements.lock(digest: digest),
            SessionStatements.token(digest: digest),
            SessionStatements.isUnused(digest: next),
        ])
        guard let token = try SessionStatements.tokenRow.first(rows[1]), token.isOpen, token.expiresAt > now else {
            return .unknown
        }
        if let usedAt = token.usedAt {
            let isNextUnused = try rows[2].column(0, as: Bool.self).first ?? false
            guard isNextUnused, now < usedAt.adding(seconds: SessionStatements.graceSeconds) else {
                return .reused(token.session, token.account)
            }
        } else {
            transaction.finish(SessionStatements.replace(digest: digest, by: next, of: token.session, at: now))
        }
        transaction.finish(SessionStatements.prolong(token.session, at: now))
        return .refreshed(token.session, token.account, token.kind)
    }

    // MARK: Ending

    /// Which sessions of an account.
    enum Choice: Sendable {
        case all, one(SessionID), allBut(SessionID)
        /// Those beyond `SessionStatements.sessionsMax`.
        case surplus
    }

    /// Ends sessions of an account: their refresh tokens are gone, their access tokens are refused everywhere, here once it
    /// is committed, elsewhere when its events come.
    /// - Parameters:
    ///   - first: what the transaction does before.
    ///   - last: what it does behind.
    /// - Returns: how many there were.
    @discardableResult
    func end(
        _ choice: Choice, of account: AccountID,
        first: @escaping @Sendable (UnitOfWork) async throws -> Void = { _ in },
        last: @escaping @Sendable (UnitOfWork) async throws -> Void = { _ in }
    ) async throws -> Int {
        let (root, tokenSeconds) = (root, keys.tokenSeconds)
        let (count, refused) = try await relay.commit { unit in
            try await first(unit)
            let ended = try await Self.end(choice, of: account, in: unit.transaction)
            // An access token is as old as the session's last use at most.
            let refused = ended.map { (session: $0.session, until: $0.lastUsedAt.adding(seconds: tokenSeconds)) }
                .filter { $0.until > unit.now }
            if !refused.isEmpty { _ = try await unit.transaction.execute(SessionStatements.refuse(refused)) }
            for (session, until) in refused {
                unit.publish(SessionEnded(sessionId: session, refusedUntil: until, provenBy: root.proof))
            }
            try await last(unit)
            return (ended.count, refused)
        }
        for (session, until) in refused {
            verifier.refuse(session, until: until, now: context.now())
            sessionEnded(session)
        }
        return count
    }

    /// Removes sessions with their refresh tokens.
    private static func end(
        _ choice: Choice, of account: AccountID, in transaction: Transaction
    ) async throws -> [(session: SessionID, lastUsedAt: Timestamp)] {
        let found: [SessionID] = try await transaction.query(SessionStatements.ofAccount(account)).column(0)
        let chosen: [SessionID] =
            switch choice {
            case .all: found
            case .one(let session): found.filter { $0 == session }
            case .allBut(let session): found.filter { $0 != session }
            case .surplus: Array(found.dropFirst(SessionStatements.sessionsMax))
            }
        if chosen.isEmpty { return [] }
        let rows = try await transaction.pipeline([SessionStatements.lock(chosen), SessionStatements.delete(chosen)])
        return try SessionStatements.endedRow.all(rows[1])
    }
}
