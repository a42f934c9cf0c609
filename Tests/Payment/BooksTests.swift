// What the database itself refuses, whoever asks.
import Models
import Postgres
import TestSupport
import Testing

@testable import PaymentCore

@Suite struct BooksTests {
    var scenario = Scenario()

    /// A buyer with 1,000.00 and one captured order.
    mutating func captured() async throws -> (Books, buyer: AccountID, order: OrderID) {
        let books = try await Books.open()
        let buyer: AccountID = scenario.id()
        let order: OrderID = scenario.id()
        try await books.openWallets([buyer], chargedBy: scenario.brand, limit: scenario.price, balance: 1_000_000)
        let news = ReservationNews.reserved(scenario.reserved(order, by: buyer))
        #expect(try await books.settle([news]).count == 1)
        return (books, buyer, order)
    }

    func refusal(_ books: Books, _ sql: SQL) async throws -> PostgresError? {
        do {
            _ = try await books.pool.execute(sql)
            return nil
        } catch {
            return error
        }
    }

    /// What the rules of the ledger keep the schema keeps too.
    @Test mutating func noBalanceIsMoreThanIsToldExactly() async throws {
        let (books, buyer, _) = try await captured()
        let refusal = try await refusal(
            books,
            """
            INSERT INTO transfers (transfer_id, debit_account, credit_account, amount, kind, currency)
            SELECT gen_random_uuid(), bank.ledger_account_id, wallet.ledger_account_id, \(Money.sumMax), 'topup', 'CNY'
            FROM accounts bank, accounts wallet
            WHERE bank.kind = 'bank' AND wallet.owner_id = \(buyer)
            """)
        #expect(refusal?.constraint == "accounts_are_told_exactly")
        await books.close()
    }

    @Test mutating func theJournalIsNeitherChangedNorShortened() async throws {
        let (books, _, _) = try await captured()
        for sql: SQL in [
            "UPDATE transfers SET amount = amount + 1", "DELETE FROM transfers", "TRUNCATE transfers",
            "DELETE FROM accounts", "TRUNCATE accounts", "UPDATE accounts SET balance = balance + 1",
            "UPDATE accounts SET currency = 'USD'",
        ] {
            #expect(try await refusal(books, sql)?.sqlState == "23001", "\(sql.text)")
        }
        #expect(try await books.count("SELECT count(*) FROM transfers") == 2)
        try await books.audit()
        await books.close()
    }

    @Test mutating func noTransferOverdrawsAWallet() async throws {
        let (books, buyer, _) = try await captured()
        let transfer: SQL = """
            INSERT INTO transfers (transfer_id, kind, order_id, debit_account, credit_account, amount, currency)
            SELECT \(TransferID.fresh()), 'capture', \(OrderID.fresh()),
                (SELECT ledger_account_id FROM accounts WHERE owner_id = \(buyer)),
                (SELECT min(ledger_account_id) FROM accounts WHERE owner_id = \(scenario.brand)), 800101, 'CNY'
            """
        let error = try await refusal(books, transfer)
        #expect(error?.constraint == "accounts_never_below_zero")
        #expect(try await books.balance(buyer) == 800_100)
        try await books.audit()
        await books.close()
    }

    @Test mutating func noTransferMixesCurrenciesOrNamesAnAccountThatIsNotThere() async throws {
        let (books, buyer, _) = try await captured()
        let dollars: SQL = """
            INSERT INTO transfers (transfer_id, kind, order_id, debit_account, credit_account, amount, currency)
            SELECT \(TransferID.fresh()), 'capture', \(OrderID.fresh()), w.ledger_account_id, p.ledger_account_id, 1, 'USD'
            FROM accounts w, accounts p WHERE w.owner_id = \(buyer) AND p.owner_id = \(scenario.brand)
            """
        let nobody: SQL = """
            INSERT INTO transfers (transfer_id, kind, order_id, debit_account, credit_account, amount, currency)
            SELECT \(TransferID.fresh()), 'capture', \(OrderID.fresh()), ledger_account_id, 999999, 1, 'CNY'
            FROM accounts WHERE owner_id = \(buyer)
            """
        for sql in [dollars, nobody] { #expect(try await refusal(books, sql)?.sqlState == "23503") }
        #expect(try await books.count("SELECT count(*) FROM transfers") == 2)
        try await books.audit()
        await books.close()
    }

    @Test mutating func anOrderIsNotCapturedTwiceEvenByHandInTheDatabase() async throws {
        let (books, _, order) = try await captured()
        let again: SQL = """
            INSERT INTO transfers (transfer_id, kind, order_id, debit_account, credit_account, amount, currency)
            SELECT \(TransferID.fresh()), kind, order_id, debit_account, credit_account, amount, currency
            FROM transfers WHERE order_id = \(order)
            """
        #expect(try await refusal(books, again)?.constraint == "transfers_once_per_order")
        try await books.audit()
        await books.close()
    }

    @Test mutating func anAccountThatComesAgainOpensNothingAndBringsNothingBack() async throws {
        let books = try await Books.open()
        let buyer: AccountID = scenario.id()
        let account = Account.person(
            buyer, authorisations: [Account.Authorisation(payeeId: scenario.brand, limit: scenario.price)])
        try await books.openWallets([account])
        #expect(try await books.balance(buyer) == 0)
        #expect(try await books.pool.execute(AuthorisationStatements.delete(buyer, payee: scenario.brand)) == 1)
        try await books.openWallets([account])
        #expect(try await books.count("SELECT count(*) FROM authorisations") == 0)
        #expect(try await books.count("SELECT count(*) FROM accounts") == 1)
        // What an account brings along keeps whom it names.
        let other = Account.person(
            .fresh(),
            authorisations: [
                Account.Authorisation(
                    payeeId: scenario.brand, limit: scenario.price, publisher: TestPublishers.partner.name)
            ])
        try await books.openWallets([other])
        #expect(try await books.count("SELECT count(*) FROM authorisations WHERE publisher = 'partner'") == 1)
        await books.close()
    }

    @Test func migratingAgainChangesNothing() async throws {
        let books = try await Books.open()
        try await books.pool.migrate(schema: PaymentService.name, PaymentService.migrations)
        #expect(try await books.count("SELECT count(*) FROM accounts") == 0)
        await books.close()
    }
}
