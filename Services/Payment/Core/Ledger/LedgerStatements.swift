// Accounts of the ledger and its journal.
import Models
import Postgres

enum LedgerStatements {
    static let accountRow = Columns("ledger_account_id", "owner_id", "kind::text", "currency", "slot", "balance") {
        (
            number: Int64, owner: AccountID, kind: LedgerAccountKey.Kind, currency: Currency, slot: Int32,
            balance: Int64
        ) in
        LedgerAccount(
            number: number, key: LedgerAccountKey(owner: owner, kind: kind, currency: currency, slot: slot),
            balance: balance)
    }

    /// The database's clock at this statement, not at the transaction's beginning.
    static let clock: SQL = "SELECT clock_timestamp()"

    /// Opens the part of brands' proceeds that a partition captures to, where it is not open yet.
    static func openProceeds(_ proceeds: Set<LedgerAccountKey>) -> SQL {
        // Sorted, like all that is locked: two transactions that open the same ones do not wait in a circle.
        let keys = proceeds.sorted { ($0.owner, $0.slot, $0.currency.code) < ($1.owner, $1.slot, $1.currency.code) }
        return """
            INSERT INTO accounts (owner_id, kind, slot, currency)
            SELECT owner_id, 'proceeds', slot, currency
            FROM unnest(\(keys.map(\.owner)), \(keys.map(\.slot)), \(keys.map(\.currency)))
                AS new (owner_id, slot, currency)
            ON CONFLICT DO NOTHING
            """
    }

    /// Wallets in further currencies, of owners that have one.
    static func openFurther(_ wallets: [(owner: AccountID, currency: Currency)]) -> SQL {
        """
        INSERT INTO accounts (owner_id, kind, currency)
        SELECT DISTINCT new.owner_id, 'wallet'::account_kind, new.currency
        FROM unnest(\(wallets.map(\.owner)), \(wallets.map(\.currency))) AS new (owner_id, currency)
        WHERE EXISTS (SELECT FROM accounts WHERE owner_id = new.owner_id AND kind = 'wallet' OFFSET 0)
        ORDER BY new.owner_id, new.currency
        ON CONFLICT DO NOTHING
        """
    }

    /// The bank's accounts, where they are not open yet.
    static func openBank(_ currencies: Set<Currency>) -> SQL {
        """
        INSERT INTO accounts (owner_id, kind, currency)
        SELECT \(AccountID.bank), 'bank', currency FROM unnest(\(currencies.map(\.code).sorted())) AS currency
        ON CONFLICT DO NOTHING
        """
    }

    /// Locks the wallets of `buyers`, in every currency, the brands' proceeds in `slot`, and the proceeds that a refund
    /// of `orders` comes from.
    ///
    /// By the row's own columns alone: a row that another transaction is updating is looked at again after the wait, and
    /// beside a union it would find no partner then and count as missing. Where the refunds come from is asked first.
    static func lockAccounts(buyers: Set<AccountID>, brands: Set<BrandID>, slot: Int32, orders: Set<OrderID>) -> SQL {
        """
        SELECT \(accountRow) FROM accounts
        WHERE (owner_id = ANY(\(buyers.sorted())) AND kind = 'wallet' AND slot = 0)
            OR (owner_id = ANY(\(brands.sorted())) AND kind = 'proceeds' AND slot = \(slot))
            OR ledger_account_id = ANY(ARRAY(
                SELECT proceeds.ledger_account_id FROM orders CROSS JOIN LATERAL (
                    SELECT ledger_account_id FROM accounts
                    WHERE (owner_id, kind, slot) = (orders.brand_id, 'proceeds', orders.slot) OFFSET 0) AS proceeds
                WHERE order_id = ANY(\(orders.sorted()))))
        -- The sum keeps the planner from reading all accounts in this order.
        ORDER BY ledger_account_id + 0 FOR UPDATE
        """
    }

    /// Locks the bank's accounts in the currencies and the wallets of `owners`, in every currency.
    static func lockForTopUp(owners: Set<AccountID>, currencies: Set<Currency>) -> SQL {
        """
        SELECT \(accountRow) FROM accounts
        WHERE owner_id = ANY(\((Array(owners) + [AccountID.bank]).sorted())) AND slot = 0
            AND (kind = 'wallet' OR kind = 'bank' AND currency = ANY(\(currencies.map(\.code).sorted())))
        ORDER BY ledger_account_id + 0 FOR UPDATE
        """
    }

    /// Adds to the journal; the balances follow by its trigger.
    /// - Parameter time: when it happened, nil for the database's present.
    static func insert(_ transfers: [Transfer], at time: Timestamp? = nil) -> SQL {
        // In the order of the payers' entries: neighbours meet in the same pages of that index.
        let transfers = transfers.sorted { $0.debit < $1.debit }
        return """
            INSERT INTO transfers (
                transfer_id, kind, order_id, debit_account, credit_account, amount, currency, created_at)
            SELECT
                transfer_id, kind::transfer_kind, order_id, debit_account, credit_account, amount, currency,
                coalesce(\(time as Timestamp?), clock_timestamp())
            FROM unnest(
                \(transfers.map(\.id)), \(transfers.map(\.kind)), \(transfers.map(\.order)),
                \(transfers.map(\.debit)), \(transfers.map(\.credit)), \(transfers.map(\.amount.amount)),
                \(transfers.map(\.amount.currency))
            ) AS new (transfer_id, kind, order_id, debit_account, credit_account, amount, currency)
            """
    }
}

extension LedgerAccountKey.Kind: PostgresValue {}
extension Transfer.Kind: PostgresValue {}
