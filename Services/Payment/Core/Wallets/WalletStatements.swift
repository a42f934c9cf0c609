// Wallets: their opening, what they hold, what came and went.
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
        var currencies: [Currency] = []
        var publishers: [PublisherName?] = []
        for account in sorted {
            for authorisation in account.authorisations {
                owners.append(account.accountId)
                payees.append(authorisation.payeeId)
                limits.append(authorisation.limit.amount)
                currencies.append(authorisation.limit.currency)
                publishers.append(authorisation.publisher)
            }
        }
        let brands = sorted.filter { $0.kind == .brand }.map(\.accountId)
        return """
            WITH opened AS (
                INSERT INTO accounts (owner_id, kind, currency)
                SELECT owner_id, 'wallet', \(opening) FROM unnest(\(sorted.map(\.accountId))) AS owner_id
                ON CONFLICT DO NOTHING
                RETURNING owner_id
            ), proceeds AS (
                INSERT INTO accounts (owner_id, kind, currency)
                SELECT owner_id, 'proceeds', \(opening) FROM unnest(\(brands)) AS owner_id
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

    /// One kind and currency of what an owner has.
    static let balanceRow = Columns("kind::text", "currency", "sum(balance)::bigint") {
        (kind: LedgerAccountKey.Kind, currency: Currency, sum: Int64) in (kind: kind, amount: Money(sum, currency))
    }

    /// What an owner has, by kind and currency: a brand's proceeds summed over their parts.
    static func balances(_ owner: AccountID) -> SQL {
        """
        SELECT \(balanceRow) FROM accounts
        WHERE owner_id = \(owner) AND kind <> 'bank' GROUP BY kind, currency ORDER BY kind, currency
        """
    }

    static let entryRow = Columns(
        "transfer_id", "ledger_account_id", "account_kind", "kind::text", "order_id", "amount", "entry.currency",
        "created_at"
    ) {
        (
            transfer: TransferID, number: Int64, account: LedgerAccountKey.Kind, kind: Transfer.Kind, order: OrderID?,
            amount: Int64, currency: Currency, createdAt: Timestamp
        ) in
        WalletEntry(
            cursor: EntryCursor(transfer: transfer, account: number), account: account, kind: kind, order: order,
            amount: Money(amount, currency), createdAt: createdAt)
    }

    /// Locks the owner's wallets, so that two requests do not both add the last one that is allowed.
    static func lockWallets(_ owner: AccountID) -> SQL {
        """
        SELECT ledger_account_id FROM accounts WHERE owner_id = \(owner) AND kind = 'wallet'
        -- The sum keeps the planner from reading all accounts in this order.
        ORDER BY ledger_account_id + 0 FOR UPDATE
        """
    }

    /// What came and went, newest first.
    /// - Parameter before: only what comes after this entry in that order.
    static func entries(_ owner: AccountID, before: EntryCursor?, countMax: Int) -> SQL {
        let bound = before ?? .newest
        return """
            SELECT \(entryRow)
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
}

/// What came or went by one transfer, as the wallet's owner sees it.
struct WalletEntry: Sendable {
    let cursor: WalletStatements.EntryCursor
    let account: LedgerAccountKey.Kind
    let kind: Transfer.Kind
    let order: OrderID?
    let amount: Money
    let createdAt: Timestamp
}
