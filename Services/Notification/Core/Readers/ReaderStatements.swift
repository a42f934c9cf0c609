// The statements on readers: which language to tell them in.
import Models
import Postgres

/// What one record says of an account's reader.
struct Reader: Sendable, Equatable {
    let locale: String
    /// The account's; 0 where it was not numbered.
    let revision: Int64
}

enum ReaderStatements {
    /// Keeps what is not older than what is there. Readers who have asked for the standard language since their
    /// account was made have no row: most accounts cost nothing. Who asks for one that there is no file of has, for the day
    /// when there is one.
    static func keep(_ readers: [AccountID: Reader]) -> [SQL] {
        // In the order of their IDs, so that two partitions' transactions never wait for each other in a circle.
        let sorted = readers.sorted { $0.key < $1.key }
        let usual = sorted.filter { TemplateCatalogue.isStandard($0.value.locale) && $0.value.revision <= 1 }
        let others = sorted.filter { !TemplateCatalogue.isStandard($0.value.locale) || $0.value.revision > 1 }
        var statements: [SQL] = []
        if !others.isEmpty {
            statements.append(
                """
                INSERT INTO readers AS reader (account_id, locale, revision)
                SELECT * FROM unnest(
                    \(others.map(\.key)), \(others.map(\.value.locale)), \(others.map(\.value.revision)))
                ON CONFLICT (account_id) DO UPDATE SET locale = excluded.locale, revision = excluded.revision
                WHERE reader.revision <= excluded.revision
                    AND (reader.locale, reader.revision) <> (excluded.locale, excluded.revision)
                """)
        }
        if !usual.isEmpty {
            statements.append(
                """
                DELETE FROM readers USING unnest(\(usual.map(\.key)), \(usual.map(\.value.revision)))
                    AS said (account_id, revision)
                WHERE readers.account_id = said.account_id AND readers.revision <= said.revision
                """)
        }
        return statements
    }

    /// Accounts that were deleted.
    static func forget(_ accounts: [AccountID]) -> SQL {
        "DELETE FROM readers WHERE account_id = ANY(\(accounts.sorted()))"
    }

    static func locales(of accounts: [AccountID]) -> SQL {
        "SELECT account_id, locale FROM readers WHERE account_id = ANY(\(accounts))"
    }

    static func locales(_ rows: Rows) throws(PostgresError) -> [AccountID: String] {
        var locales: [AccountID: String] = [:]
        locales.reserveCapacity(rows.count)
        for row in rows { locales[try row.get(0)] = try row.get(1) }
        return locales
    }
}
