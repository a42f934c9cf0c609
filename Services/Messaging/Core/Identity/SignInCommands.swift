// Passwords: signing in by one, being asked for it once more, changing it.
import Models
import Postgres
import Security
import ServiceKit

/// An account, and what its device needs to act for it.
struct SignedIn: Sendable {
    let account: Account
    let tokens: SessionTokens
}

/// Why a password that is asked for within a session does not do.
enum PasswordRefusal: Error, Equatable, Sendable {
    /// The account is gone.
    case noAccount
    case needed
    case wrong
    /// The account signs in by an identity provider.
    case noPassword
}

struct SignInCommands: Sendable {
    let context: ServiceContext
    let sessions: SessionCommands
    let attempts: AttemptCommands

    /// - Returns: nil where handle or password is wrong.
    /// - Throws: `TooManyAttempts`, or `PasswordHash.Failure`.
    func signIn(_ handle: String, _ password: String, from client: Client) async throws -> SignedIn? {
        // A handle that nobody has is answered like a wrong password, and costs the same.
        let name = AccountRules.handle(handle)
        let limits: [AttemptLimit] = [.passwords(from: client.network), .password(handle, from: client.network)]
        let found = try await attempts.attempt(limits) {
            () -> (isFailure: Bool, found: (account: Account, hash: String, verdict: PasswordHash.Verdict)?) in
            var found: (Account, String)?
            if let name {
                found = try AccountStatements.signInRow.first(
                    try await context.postgres.query(AccountStatements.signIn(handle: name)))
            }
            let verdict = try await PasswordHash.verify(password, against: found?.1)
            guard verdict.isRight, let (account, hash) = found else { return (isFailure: true, found: nil) }
            return (isFailure: false, found: (account, hash, verdict))
        }
        guard let (account, old, verdict) = found else { return nil }
        // At the next sign-in, if too many are at it now.
        let new = verdict == .rightAndOutdated ? try? await PasswordHash.make(password) : nil
        let opening = sessions.open(account.accountId, device: client.device)
        do {
            try await sessions.store(
                opening,
                and: new.map { [AccountStatements.replacePasswordHash(old, by: $0, of: account.accountId)] } ?? [])
        } catch let error as PostgresError where error.sqlState == PostgresError.foreignKeyViolation {
            // The account was deleted meanwhile.
            return nil
        }
        return SignedIn(account: account, tokens: try sessions.tokens(opening, of: account))
    }

    /// Sets another password and ends all other sessions.
    /// - Throws: `PasswordRefusal`, `TooManyAttempts`, or `PasswordHash.Failure`.
    func changePassword(
        of account: AccountID, from current: String, to wanted: String, sparing session: SessionID
    ) async throws {
        guard let old = try await confirm(current, of: account) else { throw PasswordRefusal.noPassword }
        let new = try await PasswordHash.make(wanted)
        try await sessions.end(.allBut(session), of: account) { unit in
            let replaced = try await unit.transaction.execute(
                AccountStatements.replacePasswordHash(old, by: new, of: account))
            guard replaced > 0 else { throw PasswordRefusal.wrong }
        }
    }

    /// Asks for the account's password once more.
    /// - Returns: its hash; nil where the account has none, and whatever was said is as good.
    /// - Throws: `PasswordRefusal`, `TooManyAttempts`, or `PasswordHash.Failure`.
    func confirm(_ password: String?, of account: AccountID) async throws -> String? {
        let hashes = try await context.postgres.query(AccountStatements.passwordHash(of: account))
            .column(0, as: String?.self)
        guard let stored = hashes.first else { throw PasswordRefusal.noAccount }
        guard let hash = stored else { return nil }
        guard let password else { throw PasswordRefusal.needed }
        let isRight = try await attempts.attempt([.password(of: account)]) {
            let isRight = try await PasswordHash.verify(password, against: hash).isRight
            return (isFailure: !isRight, found: isRight)
        }
        guard isRight else { throw PasswordRefusal.wrong }
        return hash
    }
}
