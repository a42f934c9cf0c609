// Who may charge a wallet without asking.
import Models
import Postgres

enum AuthorisationStatements {
    /// At most this many for one wallet.
    static let countMax = 100

    static let authorisationRow = Columns("payee_id", "limit_amount", "currency", "publisher") {
        (payee: BrandID, limit: Int64, currency: Currency, publisher: PublisherName?) in
        Account.Authorisation(payeeId: payee, limit: Money(limit, currency), publisher: publisher)
    }

    static func one(_ owner: AccountID, payee: AccountID) -> SQL {
        """
        SELECT \(authorisationRow) FROM authorisations
        WHERE owner_id = \(owner) AND payee_id = \(payee)
        """
    }

    static func list(_ owner: AccountID) -> SQL {
        """
        SELECT \(authorisationRow) FROM authorisations
        WHERE owner_id = \(owner) ORDER BY payee_id LIMIT \(Int64(countMax))
        """
    }

    static let factsRow = Columns(
        "EXISTS (SELECT FROM accounts WHERE owner_id = asked.payee AND kind = 'proceeds')",
        "(SELECT count(*) FROM authorisations WHERE owner_id = asked.owner AND payee_id <> asked.payee)"
    ) { (isBrand: Bool, others: Int64) in (isBrand: isBrand, others: others) }

    /// Whether the payee sells, and how many others the owner has authorised.
    static func facts(_ owner: AccountID, payee: AccountID) -> SQL {
        """
        SELECT \(factsRow) FROM (SELECT \(owner) AS owner, \(payee) AS payee) AS asked
        """
    }

    static func put(_ owner: AccountID, _ authorisation: Account.Authorisation) -> SQL {
        """
        INSERT INTO authorisations (owner_id, payee_id, limit_amount, currency, publisher)
        VALUES (\(owner), \(authorisation.payeeId), \(authorisation.limit.amount),
            \(authorisation.limit.currency), \(authorisation.publisher as PublisherName?))
        ON CONFLICT (owner_id, payee_id) DO UPDATE SET
            limit_amount = excluded.limit_amount, currency = excluded.currency, publisher = excluded.publisher
        """
    }

    /// All that these owners have authorised.
    static func deleteAll(_ owners: [AccountID]) -> SQL {
        "DELETE FROM authorisations WHERE owner_id = ANY(\(owners))"
    }

    static func delete(_ owner: AccountID, payee: AccountID) -> SQL {
        "DELETE FROM authorisations WHERE owner_id = \(owner) AND payee_id = \(payee)"
    }
}
