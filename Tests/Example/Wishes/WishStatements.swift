// The table of wishes.
import Models
import Postgres

enum WishStatements {
    static let wishRow = Columns("sale_id", "wished_at", make: Wish.init)

    static func list(_ account: AccountID) -> SQL {
        "SELECT \(wishRow) FROM wishes WHERE account_id = \(account) ORDER BY sale_id"
    }

    /// One after the other for each account, so that two requests do not both add the last one that is allowed.
    static func lock(_ account: AccountID) -> SQL {
        "SELECT pg_advisory_xact_lock(hashtextextended('wishes:' || \(account)::text, 0))"
    }

    static func insert(_ account: AccountID, _ sale: SaleID) -> SQL {
        "INSERT INTO wishes (account_id, sale_id) VALUES (\(account), \(sale)) ON CONFLICT DO NOTHING"
    }
}
