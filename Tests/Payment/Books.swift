// A payment schema of its own on real Postgres, without the service around it.
import Models
import Observability
import Postgres
import TestSupport
import Testing

@testable import PaymentCore

struct Books: Sendable {
    let pool: PostgresPool

    static func open(connectionsMax: Int = 8) async throws -> Books {
        let database = try await TestPostgres.shared().database(schemas: [PaymentService.name])
        let books = try Books(database, connectionsMax: connectionsMax)
        try await books.pool.migrate(schema: PaymentService.name, PaymentService.migrations)
        return books
    }

    /// The books of a service that runs.
    init(_ database: TestDatabase, connectionsMax: Int = 2) throws {
        pool = try PostgresPool(
            dsn: database.dsn(PaymentService.name), connectionsMax: connectionsMax, applicationName: "payment-tests",
            log: Logger(service: "payment-tests", level: .error), metrics: Metrics())
    }

    func close() async { await pool.close() }

    // MARK: Doing

    func openWallets(_ accounts: [Account]) async throws {
        try await pool.transaction { $0.finish(WalletStatements.open(accounts, opening: .cny)) }
    }

    /// Opens wallets that may be charged by `brand` and hold `balance`.
    func openWallets(_ buyers: [AccountID], chargedBy brand: BrandID?, limit: Money, balance: Int64) async throws {
        let authorisations = brand.map { [Account.Authorisation(payeeId: $0, limit: limit)] } ?? []
        try await openWallets(buyers.map { .person($0, authorisations: authorisations) })
        try await topUp(buyers, balance)
    }

    func topUp(_ owners: [AccountID], _ amount: Int64) async throws {
        try await pool.transaction { transaction in
            let rows = try await transaction.pipeline([
                LedgerStatements.openBank([.cny]),
                LedgerStatements.lockForTopUp(owners: Set(owners), currencies: [.cny]),
            ])
            var ledger = Ledger(try LedgerStatements.accountRow.all(rows[1]))
            for owner in owners {
                try ledger.transfer(
                    amount, from: .bank(.cny), to: .wallet(owner, .cny), kind: .topup, order: nil, id: .fresh())
            }
            transaction.finish(LedgerStatements.insert(ledger.transfers))
        }
    }

    /// Applies events as a partition's processor does: again whenever it lost a race. A deadlock is none: it is an error.
    @discardableResult
    func settle(_ news: [ReservationNews], slot: Int32 = 0) async throws -> [Settlement.Answer] {
        let commands = SettlementCommands(newID: { .fresh() })
        while true {
            do {
                return try await pool.transaction { try await commands.settle(news, slot: slot, $0).settlement.answers }
            } catch let error as PostgresError where error.sqlState == "40001" {
                await Task.yield()
            }
        }
    }

    // MARK: Looking

    func balance(_ owner: AccountID, kind: LedgerAccountKey.Kind = .wallet) async throws -> Int64? {
        let rows = try await pool.query(
            """
            SELECT sum(balance)::bigint FROM accounts
            WHERE owner_id = \(owner) AND kind = \(kind.rawValue)::account_kind
            """)
        return try rows[0].get(0, as: Int64?.self)
    }

    func count(_ sql: SQL) async throws -> Int64 { try await pool.query(sql)[0].get(0, as: Int64.self) }

    func states() async throws -> [OrderID: PaymentOrder.State] {
        var states: [OrderID: PaymentOrder.State] = [:]
        for row in try await pool.query("SELECT order_id, state::text FROM orders") {
            states[try row.get(0)] = try row.get(1)
        }
        return states
    }

    /// What must hold of the books whatever has happened. Each line is a count of what is wrong.
    func audit(sourceLocation: SourceLocation = #_sourceLocation) async throws {
        let checks: [(String, SQL)] = [
            (
                "transfers whose postings do not sum to zero",
                """
                SELECT count(*) FROM (
                    SELECT transfer_id, currency FROM postings GROUP BY 1, 2 HAVING sum(amount) <> 0) AS unbalanced
                """
            ),
            (
                "balances that are not the sum of their postings",
                """
                SELECT count(*) FROM accounts LEFT JOIN (
                    SELECT ledger_account_id, sum(amount) AS amount FROM postings GROUP BY 1) AS posted
                    USING (ledger_account_id)
                WHERE balance <> coalesce(amount, 0)
                """
            ),
            ("overdrawn accounts", "SELECT count(*) FROM accounts WHERE balance < 0 AND kind <> 'bank'"),
            (
                "orders captured or refunded more than once",
                """
                SELECT count(*) FROM (
                    SELECT order_id, kind FROM transfers WHERE order_id IS NOT NULL
                    GROUP BY 1, 2 HAVING count(*) > 1) AS repeated
                """
            ),
            (
                "orders whose state and transfers differ",
                """
                SELECT count(*) FROM orders
                LEFT JOIN transfers c ON c.order_id = orders.order_id AND c.kind = 'capture'
                LEFT JOIN transfers r ON r.order_id = orders.order_id AND r.kind = 'refund'
                WHERE (c.transfer_id IS NOT NULL) <> (state IN ('captured', 'refunded'))
                    OR (r.transfer_id IS NOT NULL) <> (state = 'refunded')
                    OR c.transfer_id <> payment_id
                    OR (r.transfer_id IS NOT NULL AND (r.debit_account, r.credit_account, r.amount, r.currency)
                        <> (c.credit_account, c.debit_account, c.amount, c.currency))
                """
            ),
        ]
        for (wrong, sql) in checks {
            #expect(try await count(sql) == 0, "\(wrong)", sourceLocation: sourceLocation)
        }
    }
}

extension Account {
    static func person(_ id: AccountID, authorisations: [Authorisation] = []) -> Account {
        Account(
            accountId: id, kind: .person, handle: nil, displayName: "Li", locale: "zh",
            createdAt: Timestamp(seconds: 1), authorisations: authorisations)
    }

    static func brand(_ id: AccountID) -> Account {
        Account(
            accountId: id, kind: .brand, handle: "mi", displayName: "Mi", locale: "zh",
            createdAt: Timestamp(seconds: 1))
    }
}

extension Identifier {
    static func fresh() -> Identifier {
        .v7(at: Timestamp(seconds: 1_800_000_000), random: (.random(in: 0 ... .max), .random(in: 0 ... .max)))
    }
}
