// Wallets: their opening, what they hold, what came and went, and what their owners authorised.
import Models
import Postgres

enum WalletStatements {
    /// Opens wallets of accounts that have none, with the authorisations that they bring along. Of an account that has
    /// one nothing changes: what its owner has withdrawn since stays withdrawn.
    ///
    /// - Parameters:
    ///   - accounts: each once.
    ///   - opening: the currency of every new wallet. Wallets in other currencies open when money in them comes.
    static func open(_ accounts: [Account], opening: Currency) -> SQL {
        let sorted = accounts.sorted { $0.accountId < $1.accountId }
        var owners: [AccountID] = []
        var payees: [AccountID] = []
        var limits: [Int64] = []
        var currencies: [String] = []
        var publishers: [String?] = []
        for account in sorted {
            for authorisation in account.authorisations {
                owners.append(account.accountId)
                payees.append(authorisation.payeeId)
                limits.append(authorisation.limit.amount)
                currencies.append(authorisation.limit.currency.code)
                publishers.append(authorisation.publisher?.text)
            }
        }
        let brands = sorted.filter { $0.kind == .brand }.map(\.accountId)
        return """
            WITH opened AS (
                INSERT INTO accounts (owner_id, kind, currency)
                SELECT owner_id, 'wallet', \(opening.code) FROM unnest(\(sorted.map(\.accountId))) AS owner_id
                ON CONFLICT DO NOTHING
                RETURNING owner_id
            ), proceeds AS (
                INSERT INTO accounts (owner_id, kind, currency)
                SELECT owner_id, 'proceeds', \(opening.code) FROM unnest(\(brands)) AS owner_id
                ON CONFLICT DO NOTHING
            )
            INSERT INTO authorisations (owner_id, payee_id, limit_amount, currency, publisher)
            SELECT DISTINCT ON (owner_id, payee_id) owner_id, payee_id, limit_amount, currency, publisher
            FROM unnest(\(owners), \(payees), \(limits), \(currencies), \(publishers)) WITH ORDINALITY
                AS brought (owner_id, payee_id, limit_amount, currency, publisher, place)
                JOIN opened USING (owner_id)
            ORDER BY owner_id, payee_id, place DESC
            ON CONFLICT DO NOTHING
            """
    }

    /// Wallets in further currencies, of owners that have one.
    static func openFurther(_ wallets: [(owner: AccountID, currency: String)]) -> SQL {
        """
        INSERT INTO accounts (owner_id, kind, currency)
        SELECT DISTINCT new.owner_id, 'wallet'::account_kind, new.currency
        FROM unnest(\(wallets.map(\.owner)), \(wallets.map(\.currency))) AS new (owner_id, currency)
        WHERE EXISTS (SELECT FROM accounts WHERE owner_id = new.owner_id AND kind = 'wallet')
        ORDER BY new.owner_id, new.currency
        ON CONFLICT DO NOTHING
        """
    }

    static func openBank(_ currencies: Set<String>) -> SQL {
        """
        INSERT INTO accounts (owner_id, kind, currency)
        SELECT \(AccountID.bank), 'bank', currency FROM unnest(\(currencies.sorted())) AS currency
        ON CONFLICT DO NOTHING
        """
    }

    /// What an owner has, by kind and currency: a brand's proceeds summed over their parts.
    static func balances(_ owner: AccountID) -> SQL {
        """
        SELECT kind::text, currency, sum(balance)::bigint FROM accounts
        WHERE owner_id = \(owner) AND kind <> 'bank' GROUP BY kind, currency ORDER BY kind, currency
        """
    }

    /// What came and went, newest first.
    /// - Parameter before: only what comes after this entry in that order.
    static func entries(_ owner: AccountID, before: EntryCursor?, countMax: Int) -> SQL {
        let bound = before ?? .newest
        return """
            SELECT transfer_id, ledger_account_id, account_kind, kind::text, order_id, amount, entry.currency, created_at
            FROM (
                SELECT ledger_account_id, kind::text AS account_kind FROM accounts
                WHERE owner_id = \(owner) AND kind <> 'bank'
            ) AS account CROSS JOIN LATERAL (
                (
                    SELECT transfer_id, kind, order_id, -amount AS amount, currency, created_at FROM transfers
                    WHERE debit_account = ledger_account_id AND transfer_id <= \(bound.transfer)
                    ORDER BY debit_account, transfer_id DESC LIMIT \(Int64(countMax) + 1)
                ) UNION ALL (
                    SELECT transfer_id, kind, order_id, amount, currency, created_at FROM transfers
                    WHERE credit_account = ledger_account_id AND transfer_id <= \(bound.transfer)
                    ORDER BY credit_account, transfer_id DESC LIMIT \(Int64(countMax) + 1)
                )
            ) AS entry
            WHERE (transfer_id, ledger_account_id) < (\(bound.transfer), \(bound.account))
            ORDER BY transfer_id DESC, ledger_account_id DESC LIMIT \(Int64(countMax))
            """
    }

    /// A place in an owner's entries.
    struct EntryCursor: Equatable, Sendable, LosslessStringConvertible {
        let transfer: TransferID
        let account: Int64

        static let newest = EntryCursor(transfer: TransferID(high: .max, low: .max), account: .max)

        init(transfer: TransferID, account: Int64) {
            self.transfer = transfer
            self.account = account
        }

        init?(_ description: String) {
            let parts = description.split(separator: ".", omittingEmptySubsequences: false)
            guard parts.count == 2, let transfer = TransferID(String(parts[0])), let account = Int64(parts[1]) else {
                return nil
            }
            self.init(transfer: transfer, account: account)
        }

        var description: String { "\(transfer).\(account)" }
    }

    // MARK: Authorisations

    /// At most this many for one wallet.
    static let authorisationsMax = 100

    static func authorisation(_ owner: AccountID, payee: AccountID) -> SQL {
        """
        SELECT payee_id, limit_amount, currency, publisher FROM authorisations
        WHERE owner_id = \(owner) AND payee_id = \(payee)
        """
    }

    static func authorisations(_ owner: AccountID) -> SQL {
        """
        SELECT payee_id, limit_amount, currency, publisher FROM authorisations
        WHERE owner_id = \(owner) ORDER BY payee_id LIMIT \(Int64(authorisationsMax))
        """
    }

    /// Locks the owner's wallets, so that two requests do not both add the last one that is allowed.
    static func lockWallets(_ owner: AccountID) -> SQL {
        """
        SELECT ledger_account_id FROM accounts WHERE owner_id = \(owner) AND kind = 'wallet'
        ORDER BY ledger_account_id FOR UPDATE
        """
    }

    /// Whether the payee sells, and how many others the owner has authorised.
    static func authorisationFacts(_ owner: AccountID, payee: AccountID) -> SQL {
        """
        SELECT
            EXISTS (SELECT FROM accounts WHERE owner_id = \(payee) AND kind = 'proceeds'),
            (SELECT count(*) FROM authorisations WHERE owner_id = \(owner) AND payee_id <> \(payee))
        """
    }

    static func authorise(_ owner: AccountID, _ authorisation: Account.Authorisation) -> SQL {
        """
        INSERT INTO authorisations (owner_id, payee_id, limit_amount, currency, publisher)
        VALUES (\(owner), \(authorisation.payeeId), \(authorisation.limit.amount),
            \(authorisation.limit.currency.code), \(authorisation.publisher?.text as String?))
        ON CONFLICT (owner_id, payee_id) DO UPDATE SET
            limit_amount = excluded.limit_amount, currency = excluded.currency, publisher = excluded.publisher
        """
    }

    /// All that these owners have authorised.
    static func withdrawAll(_ owners: [AccountID]) -> SQL {
        "DELETE FROM authorisations WHERE owner_id = ANY(\(owners))"
    }

    static func withdraw(_ owner: AccountID, payee: AccountID) -> SQL {
        "DELETE FROM authorisations WHERE owner_id = \(owner) AND payee_id = \(payee)"
    }
}
