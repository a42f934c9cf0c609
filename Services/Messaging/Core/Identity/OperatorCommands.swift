// What the installation's operator does: sign in, bring in the accounts of an identity provider.
import EventPipeline
import Models
import Security
import ServiceKit

/// Accounts of an identity provider that are to be as it says.
struct AccountImport: Sendable {
    let issuer: String
    let wantsSessions: Bool
    /// No subject twice.
    let accounts: [FederatedAccount]
}

struct ImportedAccount: Sendable {
    let subject: String
    let accountId: AccountID
    /// Of a session of its own, where one was wanted.
    let accessToken: String?
}

struct OperatorCommands: Sendable {
    /// The one operator: has no account, no wallet, no conversations.
    static let operatorId = AccountID(high: 0, low: 1)

    private let context: ServiceContext
    private let relay: Relay
    private let keys: SigningKeys
    private let attempts: AttemptCommands
    /// The digest of the operator's secret.
    private let secretDigest: [UInt8]?

    /// - Parameter secret: nil where none is configured: then nobody is an operator.
    init(context: ServiceContext, relay: Relay, keys: SigningKeys, attempts: AttemptCommands, secret: Secret?) {
        self.context = context
        self.relay = relay
        self.keys = keys
        self.attempts = attempts
        secretDigest = secret.map { Digest.sha256(Array($0.value.utf8)) }
    }

    /// - Returns: an access token and for how long it is good; nil where the secret is wrong.
    /// - Throws: `TooManyAttempts`, or `NoSigningKey`.
    func signIn(_ secret: String, from network: String) async throws -> (accessToken: String, seconds: Int64)? {
        let isRight = try await attempts.attempt([.operatorSecret(from: network)]) {
            let isRight = secretDigest.map { Digest.constantTimeEqual($0, Digest.sha256(secret.utf8)) } ?? false
            return (isFailure: !isRight, found: isRight)
        }
        guard isRight else { return nil }
        let token = try keys.issue(Self.operatorId, kind: .operator, session: context.newID(), at: context.now())
        return (token, keys.tokenSeconds)
    }

    /// Stores the accounts as they are now, all of them or none.
    func importAccounts(_ wanted: AccountImport) async throws -> [ImportedAccount] {
        let newIds: [AccountID] = wanted.accounts.map { _ in context.newID() }
        let sessions: [SessionID] = wanted.wantsSessions ? wanted.accounts.map { _ in context.newID() } : []
        let tokenSeconds = keys.tokenSeconds
        let (accounts, now) = try await relay.commit { unit in
            let accounts = try await Self.store(wanted, newIds, unit)
            if wanted.wantsSessions {
                unit.transaction.finish(
                    SessionStatements.insertWithoutRefresh(
                        sessions, of: accounts.map(\.accountId), device: "imported from \(wanted.issuer)", at: unit.now,
                        expiresAt: unit.now.adding(seconds: tokenSeconds)))
            }
            for account in accounts { unit.publish(account) }
            return (accounts, unit.now)
        }
        return try accounts.enumerated().map { index, account in
            ImportedAccount(
                subject: wanted.accounts[index].subject, accountId: account.accountId,
                accessToken: wanted.wantsSessions
                    ? try keys.issue(account.accountId, kind: .person, session: sessions[index], at: now) : nil)
        }
    }

    /// - Returns: the accounts in the order given.
    private static func store(_ wanted: AccountImport, _ newIds: [AccountID], _ unit: UnitOfWork) async throws
        -> [Account]
    {
        let rows = try await unit.transaction.query(
            AccountStatements.importFederated(
                wanted.accounts, issuer: wanted.issuer, newIds: newIds, at: unit.now))
        let stored = Dictionary(
            try AccountStatements.importedRow.all(rows).map { ($0.subject, $0) }, uniquingKeysWith: { $1 })
        return wanted.accounts.compactMap { account in
            stored[account.subject].map { found in
                Account(
                    accountId: found.id, kind: .person, handle: nil, displayName: account.displayName,
                    locale: account.locale, createdAt: found.createdAt, authorisations: account.authorisations,
                    revision: found.revision)
            }
        }
    }
}
