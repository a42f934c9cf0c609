// Accounts: who there is.
import JSON
import Models
import Postgres

struct AccountStorage: Sendable {
    let postgres: PostgresPool

    /// - Throws: a unique violation when the handle is taken.
    static func insert(_ account: Account, passwordHash: String, in transaction: Transaction)
        async throws(PostgresError)
    {
        _ = try await transaction.execute(
            """
            INSERT INTO accounts (account_id, kind, handle, password_hash, display_name, locale, created_at)
            VALUES (\(account.accountId), \(account.kind.rawValue), \(optional: account.handle), \(passwordHash),
                \(account.displayName), \(account.locale), \(account.createdAt))
            """)
    }

    /// One person as the identity provider knows them.
    struct Federated: Sendable, Equatable {
        let subject: String
        let displayName: String
        let locale: String
        let authorisations: [Account.Authorisation]
    }

    /// Stores the accounts as they are now; those of a known subject keep their ID.
    /// - Parameters:
    ///   - accounts: no subject twice.
    ///   - newIDs: one for each, for whom is new.
    /// - Returns: the accounts in the order given.
    static func importFederated(
        _ accounts: [Federated], issuer: String, newIDs: [AccountID], at now: Timestamp, in transaction: Transaction
    ) async throws(PostgresError) -> [Account] {
        let subjects = accounts.map(\.subject)
        let names = accounts.map(\.displayName)
        let locales = accounts.map(\.locale)
        let authorisations = accounts.map { String(decoding: JSONWriter.document($0.authorisations), as: UTF8.self) }
        let rows = try await transaction.query(
            """
            INSERT INTO accounts (account_id, kind, issuer, subject, display_name, locale, authorisations, created_at)
            SELECT i.account_id, 'person', \(issuer), i.subject, i.display_name, i.locale, i.authorisations, \(now)
            FROM unnest(\(newIDs), \(subjects), \(names), \(locales), \(authorisations))
                AS i(account_id, subject, display_name, locale, authorisations)
            ORDER BY i.subject
            ON CONFLICT (issuer, subject) DO UPDATE SET
                display_name = excluded.display_name,
                locale = excluded.locale,
                authorisations = excluded.authorisations,
                revision = accounts.revision + 1
            RETURNING subject, account_id, created_at, revision
            """)
        var stored: [String: (id: AccountID, createdAt: Timestamp, revision: Int64)] = [:]
        stored.reserveCapacity(rows.count)
        for row in rows { stored[try row.get(0)] = (try row.get(1), try row.get(2), try row.get(3)) }
        var result: [Account] = []
        result.reserveCapacity(accounts.count)
        for account in accounts {
            guard let found = stored[account.subject] else { continue }
            result.append(
                Account(
                    accountId: found.id, kind: .person, handle: nil, displayName: account.displayName,
                    locale: account.locale, createdAt: found.createdAt, authorisations: account.authorisations,
                    revision: found.revision))
        }
        return result
    }

    /// Accounts as they were published last.
    static func published(_ ids: [AccountID], in transaction: Transaction) async throws -> [Account] {
        let rows = try await transaction.query(
            """
            SELECT account_id, kind, handle, display_name, locale, created_at, authorisations, revision
            FROM accounts WHERE account_id = ANY(\(ids))
            """)
        var accounts: [Account] = []
        accounts.reserveCapacity(rows.count)
        for row in rows {
            let account = try account(row)
            let authorisations = try JSONParser.parse(Array(row.get(6, as: String.self).utf8)) {
                (json) throws(JSONError) in
                try json.elements(countMax: Account.authorisationsMax, Account.Authorisation.init(json:))
            }
            accounts.append(
                Account(
                    accountId: account.accountId, kind: account.kind, handle: account.handle,
                    displayName: account.displayName, locale: account.locale, createdAt: account.createdAt,
                    authorisations: authorisations, revision: try row.get(7)))
        }
        return accounts
    }

    func account(_ id: AccountID) async throws(PostgresError) -> Account? {
        try await postgres.query(
            """
            SELECT account_id, kind, handle, display_name, locale, created_at FROM accounts WHERE account_id = \(id)
            """
        ).first.map(Self.account)
    }

    /// Whoever signs in by a handle.
    struct SignIn: Sendable, Equatable {
        let account: Account
        let passwordHash: String
    }

    func account(handle: String) async throws(PostgresError) -> SignIn? {
        guard
            let row = try await postgres.query(
                """
                SELECT account_id, kind, handle, display_name, locale, created_at, password_hash
                FROM accounts WHERE handle = \(handle)
                """
            ).first
        else { return nil }
        return SignIn(account: try Self.account(row), passwordHash: try row.get(6))
    }

    func exists(_ id: AccountID) async throws(PostgresError) -> Bool {
        try await !postgres.query("SELECT 1 FROM accounts WHERE account_id = \(id)").isEmpty
    }

    static func account(_ row: Row) throws(PostgresError) -> Account {
        Account(
            accountId: try row.get(0), kind: try row.accountKind(1), handle: try row.get(2),
            displayName: try row.get(3), locale: try row.get(4), createdAt: try row.get(5))
    }

    // MARK: Passwords

    /// The hash of an account's password, nil for one that has none.
    /// - Returns: nothing where there is no such account.
    func passwordHash(of id: AccountID) async throws(PostgresError) -> [String?] {
        try await postgres.query("SELECT password_hash FROM accounts WHERE account_id = \(id)").column(0)
    }

    /// Replaces a password's hash, unless somebody else has replaced it meanwhile. Whether it did.
    static func replacePasswordHash(
        _ old: String, by new: String, of id: AccountID, in transaction: Transaction
    ) async throws(PostgresError) -> Bool {
        try await transaction.execute(
            """
            UPDATE accounts SET password_hash = \(new) WHERE account_id = \(id) AND password_hash = \(old)
            """) > 0
    }

    // MARK: Deletion

    /// Removes a person and what is theirs alone. Sessions have to be gone already. What they said to others and what they
    /// ordered stays, under an ID that is nobody's name any more.
    /// - Returns: nil where there is no such account.
    static func delete(
        _ id: AccountID, at now: Timestamp, in transaction: Transaction
    ) async throws(PostgresError) -> AccountDeleted? {
        let rows = try await transaction.pipeline([
            "DELETE FROM follows WHERE account_id = \(id)",
            """
            WITH gone AS (DELETE FROM accounts WHERE account_id = \(id) RETURNING account_id, revision)
            INSERT INTO deleted_accounts (account_id, revision, deleted_at)
            SELECT account_id, revision + 1, \(now) FROM gone RETURNING revision
            """,
        ])
        guard let row = rows[1].first else { return nil }
        return AccountDeleted(accountId: id, deletedAt: now, revision: try row.get(0))
    }

    /// Those of the accounts that were deleted.
    static func deleted(_ ids: [AccountID], in transaction: Transaction) async throws(PostgresError) -> [AccountDeleted]
    {
        try await transaction.query(
            "SELECT account_id, deleted_at, revision FROM deleted_accounts WHERE account_id = ANY(\(ids))"
        ).mapped { (row) throws(PostgresError) in
            AccountDeleted(accountId: try row.get(0), deletedAt: try row.get(1), revision: try row.get(2))
        }
    }
}

extension Row {
    /// A column `kind` of `accounts`.
    func accountKind(_ column: Int) throws(PostgresError) -> AccountKind {
        let text: String = try get(column)
        guard let kind = AccountKind(rawValue: text) else {
            throw PostgresError(sqlState: "22P02", message: "expected a kind of account, the column has \(text)")
        }
        return kind
    }
}
