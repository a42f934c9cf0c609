// Makes accounts and deletes them.
import EventPipeline
import Models
import Postgres
import Security
import ServiceKit

/// An account that is wanted, with the password that is to open it.
struct SignUp: Sendable {
    let handle: String
    let password: String
    let displayName: String
    let locale: String
}

/// What is known of whoever asks besides the request's contents.
struct Client: Sendable {
    let network: String
    /// What a list of sessions calls the device.
    let device: String
}

struct AccountCommands: Sendable {
    enum Refusal: Error, Equatable, Sendable {
        case handleTaken(String)
        case handleReserved(String)
    }

    let context: ServiceContext
    let relay: Relay
    let sessions: SessionCommands
    let signIns: SignInCommands
    let attempts: AttemptCommands
    /// From one network.
    let signUpsPerMinute: Int

    /// Makes a person's account and signs in to it. The same command again signs in to the same account.
    /// - Throws: `Refusal`, `TooManyAttempts`, `IdempotencyRefusal`, or `PasswordHash.Failure`.
    func signUp(_ wanted: SignUp, _ command: IdempotentCommand?, from client: Client) async throws -> SignedIn {
        if let again = try await signInAgain(wanted, command, client) { return again }
        // Before anything that costs: whoever signs up by the thousand is told to wait.
        let taken = try await attempts.take(.signUps(signUpsPerMinute, from: client.network))
        guard !AccountRules.reservedHandles.contains(wanted.handle) else {
            throw Refusal.handleReserved(wanted.handle)
        }
        do {
            return try await open(wanted, kind: .person, command, client)
        } catch let error as PasswordHash.Failure {
            await attempts.giveBack([taken])
            throw error
        }
    }

    /// The same for a brand, by whatever handle is free.
    func makeBrand(_ wanted: SignUp, _ command: IdempotentCommand?, from client: Client) async throws -> SignedIn {
        if let again = try await signInAgain(wanted, command, client) { return again }
        return try await open(wanted, kind: .brand, command, client)
    }

    private func open(
        _ wanted: SignUp, kind: AccountKind, _ command: IdempotentCommand?, _ client: Client
    ) async throws -> SignedIn {
        let handle = wanted.handle
        // Asked before the hash, which costs; the table's key decides afterwards.
        guard try await context.postgres.query(AccountStatements.signIn(handle: handle)).isEmpty else {
            throw Refusal.handleTaken(handle)
        }
        let hash = try await PasswordHash.make(wanted.password)
        let account = Account(
            accountId: context.newID(), kind: kind, handle: handle, displayName: wanted.displayName,
            locale: wanted.locale, createdAt: context.now())
        let opening = sessions.open(account.accountId, device: client.device)
        let isNew: Bool
        do {
            isNew = try await relay.commit { unit in
                try await unit.transaction.once(command) {
                    _ = try await unit.transaction.pipeline(
                        [AccountStatements.insert(account, passwordHash: hash)] + opening.statements)
                    unit.publish(account)
                    // No token is kept: whoever sends the same again gets one of its own.
                    return KeptAnswer(status: 201, location: nil, body: [])
                }.isNew
            }
        } catch let error as PostgresError where error.isUniqueViolation {
            throw Refusal.handleTaken(handle)
        }
        if !isNew { return try await signInAgain(wanted, client) }
        return SignedIn(account: account, tokens: try sessions.tokens(opening, of: account))
    }

    /// What the same command made before; nil where it is a new one.
    private func signInAgain(
        _ wanted: SignUp, _ command: IdempotentCommand?, _ client: Client
    ) async throws -> SignedIn? {
        guard let command, try await context.postgres.keptAnswer(of: command) != nil else { return nil }
        return try await signInAgain(wanted, client)
    }

    /// A session of its own in the account that the same command made before. The password is no part of the command:
    /// a digest of it would be easy to guess. It is checked as at a sign-in.
    private func signInAgain(_ wanted: SignUp, _ client: Client) async throws -> SignedIn {
        guard let signedIn = try await signIns.signIn(wanted.handle, wanted.password, from: client) else {
            throw IdempotencyRefusal.reused
        }
        return signedIn
    }

    /// Removes a person and what is theirs alone. What they said to others and what they ordered stays, under an ID that
    /// is nobody's name any more.
    /// - Throws: `PasswordRefusal`, `TooManyAttempts`.
    func delete(_ id: AccountID, password: String?) async throws {
        _ = try await signIns.confirm(password, of: id)
        try await sessions.end(
            .all, of: id,
            last: { unit in
                // Another request may have been first: then it is as it should be.
                let rows = try await unit.transaction.pipeline(AccountStatements.delete(id, at: unit.now))
                if let deleted = try AccountStatements.deletedRow.first(rows[1]) { unit.publish(deleted) }
            })
    }
}
