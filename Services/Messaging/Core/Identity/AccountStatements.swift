// Accounts: who there is, and who there was.
import JSON
import Models
import Postgres

/// One person as the identity provider knows them.
struct FederatedAccount: Sendable, Equatable {
    let subject: String
    let displayName: String
    let locale: String
    let authorisations: [Account.Authorisation]
}

enum AccountStatements {
    static let accountRow = Columns(
        "account_id", "kind", "handle", "display_name", "locale", "created_at"
    ) {
        (
            id: AccountID, kind: AccountKind, handle: String?, displayName: String, locale: String,
            createdAt: Timestamp
        ) in
        Account(
            accountId: id, kind: kind, handle: handle, displayName: displayName, locale: locale,
            createdAt: createdAt)
    }

    static func one(_ id: AccountID) -> SQL { "SELECT \(accountRow) FROM accounts WHERE account_id = \(id)" }

    static func one(handle: String) -> SQL { "SELECT \(accountRow) FROM accounts WHERE handle = \(handle)" }

    /// An account with the hash of its password.
    static let signInRow = accountRow.and("password_hash", as: String.self)

    static func signIn(handle: String) -> SQL { "SELECT \(signInRow) FROM accounts WHERE handle = \(handle)" }

    /// Fails with a unique violation when the handle is taken.
    static func insert(_ account: Account, passwordHash: String) -> SQL {
        """
        INSERT INTO accounts (account_id, kind, handle, password_hash, display_name, locale, created_at)
        VALUES (\(account.accountId), \(account.kind), \(optional: account.handle), \(passwordHash),
            \(account.displayName), \(account.locale), \(account.createdAt))
        """
    }

    static let importedRow = Columns("subject", "account_id", "created_at", "revision") {
        (subject: String, id: AccountID, createdAt: Timestamp, revision: Int64) in
        (subject: subject, id: id, createdAt: createdAt, revision: revision)
    }

    /// Stores the accounts as they are now; those of a known subject keep their ID.
    /// - Parameters:
    ///   - accounts: no subject twice.
    ///   - newIds: one for each, for whom is new.
    static func importFederated(
        _ accounts: [FederatedAccount], issuer: String, newIds: [AccountID], at now: Timestamp
    ) -> SQL {
        let authorisations = accounts.map { String(decoding: JSONWriter.document($0.authorisations), as: UTF8.self) }
        return """
            INSERT INTO accounts (account_id, kind, issuer, subject, display_name, locale, authorisations, created_at)
            SELECT i.account_id, 'person', \(issuer), i.subject, i.display_name, i.locale, i.authorisations, \(now)
            FROM unnest(\(newIds), \(accounts.map(\.subject)), \(accounts.map(\.displayName)),
                    \(accounts.map(\.locale)), \(authorisations))
                AS i(account_id, subject, display_name, locale, authorisations)
            ORDER BY i.subject
            ON CONFLICT (issuer, subject) DO UPDATE SET
                display_name = excluded.display_name,
                locale = excluded.locale,
                authorisations = excluded.authorisations,
                revision = accounts.revision + 1
            RETURNING \(importedRow)
            """
    }

    /// An account with all that is published of it.
    static let publishedRow = Columns(
        "account_id", "kind", "handle", "display_name", "locale", "created_at", "authorisations", "revision"
    ) {
        (
            id: AccountID, kind: AccountKind, handle: String?, displayName: String, locale: String,
            createdAt: Timestamp, authorisations: String, revision: Int64
        ) in
        Account(
            accountId: id, kind: kind, handle: handle, displayName: displayName, locale: locale, createdAt: createdAt,
            authorisations: try JSONParser.parse(authorisations.utf8) { (json) throws(JSONError) in
                try json.elements(countMax: Account.authorisationsMax, Account.Authorisation.init(json:))
            }, revision: revision)
    }

    /// Accounts as they were published last.
    static func published(_ ids: [AccountID]) -> SQL {
        "SELECT \(publishedRow) FROM accounts WHERE account_id = ANY(\(ids))"
    }

    // MARK: Passwords

    /// The hash of an account's password, NULL for one that has none.
    static func passwordHash(of id: AccountID) -> SQL {
        "SELECT password_hash FROM accounts WHERE account_id = \(id)"
    }

    /// Replaces a password's hash, unless somebody else has replaced it meanwhile.
    static func replacePasswordHash(_ old: String, by new: String, of id: AccountID) -> SQL {
        "UPDATE accounts SET password_hash = \(new) WHERE account_id = \(id) AND password_hash = \(old)"
    }

    // MARK: Deletion

    static let deletedRow = Columns("account_id", "deleted_at", "revision") {
        (id: AccountID, deletedAt: Timestamp, revision: Int64) in
        AccountDeleted(accountId: id, deletedAt: deletedAt, revision: revision)
    }

    /// Removes an account and whom it followed; sessions have to be gone already. The second statement gives the row of
    /// what was deleted, none where there was no such account.
    static func delete(_ id: AccountID, at now: Timestamp) -> [SQL] {
        [
            "DELETE FROM follows WHERE account_id = \(id)",
            """
            WITH gone AS (DELETE FROM accounts WHERE account_id = \(id) RETURNING account_id, revision)
            INSERT INTO deleted_accounts (account_id, revision, deleted_at)
            SELECT account_id, revision + 1, \(now) FROM gone RETURNING \(deletedRow)
            """,
        ]
    }

    /// Those of the accounts that were deleted.
    static func deleted(_ ids: [AccountID]) -> SQL {
        "SELECT \(deletedRow) FROM deleted_accounts WHERE account_id = ANY(\(ids))"
    }
}

extension AccountKind: PostgresValue {}
