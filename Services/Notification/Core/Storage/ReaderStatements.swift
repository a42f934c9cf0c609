// The statements on readers: which language to tell them in.
import Models
import Postgres

enum ReaderStatements {
    /// Readers whose language is the one that is told in anyway have no row: most accounts cost nothing.
    static func keep(_ locales: [AccountID: String]) -> [SQL] {
        // In the order of their IDs, so that two partitions' transactions never wait for each other in a circle.
        let sorted = locales.sorted { $0.key < $1.key }
        let others = sorted.filter { Language(locale: $0.value) != .english }
        let usual = sorted.filter { Language(locale: $0.value) == .english }.map(\.key)
        var statements: [SQL] = []
        if !others.isEmpty {
            statements.append(
                """
                INSERT INTO readers AS reader (account_id, locale)
                SELECT * FROM unnest(\(others.map(\.key)), \(others.map(\.value)))
                ON CONFLICT (account_id) DO UPDATE SET locale = excluded.locale
                WHERE reader.locale <> excluded.locale
                """)
        }
        if !usual.isEmpty { statements.append("DELETE FROM readers WHERE account_id = ANY(\(usual))") }
        return statements
    }

    static func locales(of accounts: [AccountID]) -> SQL {
        "SELECT account_id, locale FROM readers WHERE account_id = ANY(\(accounts))"
    }

    static func languages(_ rows: Rows) throws(PostgresError) -> [AccountID: Language] {
        var languages: [AccountID: Language] = [:]
        languages.reserveCapacity(rows.count)
        for row in rows { languages[try row.get(0)] = Language(locale: try row.get(1)) }
        return languages
    }
}
