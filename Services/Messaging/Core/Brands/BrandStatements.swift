// Brands and who follows them.
import Models
import Postgres

/// A brand in a list.
struct ListedBrand: Sendable {
    let account: Account
    let isFollowed: Bool
}

enum BrandStatements {
    static let brandRow = AccountStatements.accountRow.of("b").and("f.brand_id IS NOT NULL", as: Bool.self)

    /// Brands by ID, so by the time they joined, each with whether the reader follows it.
    static func list(for reader: AccountID, after: BrandID?, countMax: Int) -> SQL {
        """
        SELECT \(brandRow)
        FROM accounts b
        -- OFFSET: looked up for each brand, also where the planner knew the table when it was empty.
        LEFT JOIN LATERAL (
            SELECT brand_id FROM follows WHERE account_id = \(reader) AND brand_id = b.account_id OFFSET 0) f ON true
        WHERE b.kind = 'brand' AND b.account_id > \(after ?? BrandID(high: 0, low: 0))
        ORDER BY b.account_id LIMIT \(countMax)
        """
    }

    /// A row where it is a brand.
    static func isBrand(_ id: BrandID) -> SQL {
        "SELECT 1 FROM accounts WHERE account_id = \(id) AND kind = 'brand'"
    }

    static func follow(_ brand: BrandID, by account: AccountID, at now: Timestamp) -> SQL {
        """
        INSERT INTO follows (account_id, brand_id, followed_at) VALUES (\(account), \(brand), \(now))
        ON CONFLICT DO NOTHING
        """
    }

    static func unfollow(_ brand: BrandID, by account: AccountID) -> SQL {
        "DELETE FROM follows WHERE account_id = \(account) AND brand_id = \(brand)"
    }
}
