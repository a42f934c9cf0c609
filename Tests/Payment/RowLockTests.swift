// A row that another transaction is updating is waited for, and counts.
import Models
import Postgres
import TestSupport
import Testing

@testable import PaymentCore

@Suite struct RowLockTests {
    private let brand = BrandID.fresh()
    private let price = Money(1000, .cny)

    /// Wallets among so many others that statements are planned as they are in an installation.
    private func open(_ buyers: [AccountID]) async throws -> Books {
        let books = try await Books.open()
        _ = try await books.pool.execute(
            """
            INSERT INTO accounts (owner_id, kind, currency)
            SELECT gen_random_uuid(), 'wallet', 'CNY' FROM generate_series(1, 20000)
            """)
        try await books.openWallets([.brand(brand)])
        try await books.openWallets(buyers, chargedBy: brand, limit: price, balance: 5000)
        _ = try await books.pool.execute("ANALYZE accounts")
        return books
    }

    /// Tops a wallet up, and commits as soon as another transaction waits for its row.
    private func topUpSlowly(_ owner: AccountID, _ books: Books, began: @Sendable () -> Void) async throws {
        try await books.pool.transaction { transaction in
            let rows = try await transaction.pipeline([
                LedgerStatements.openBank([.cny]),
                LedgerStatements.lockForTopUp(owners: [owner], currencies: [.cny]),
            ])
            var ledger = Ledger(try LedgerStatements.accountRow.all(rows[1]))
            try ledger.transfer(
                100, from: .bank(.cny), to: .wallet(owner, .cny), kind: .topup, order: nil, id: .fresh())
            _ = try await transaction.execute(LedgerStatements.insert(ledger.transfers))
            began()
            try await until {
                try await books.count(
                    """
                    SELECT count(*) FROM pg_stat_activity
                    WHERE datname = current_database() AND usename = current_user AND wait_event_type = 'Lock'
                    """) > 0
            }
        }
    }

    /// Runs `body` while one of the wallets is being topped up.
    private func whileToppingUp(
        _ owner: AccountID, _ books: Books, _ body: @escaping @Sendable () async throws -> Void
    ) async throws {
        let (updated, begin) = AsyncStream<Void>.makeStream()
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { try await topUpSlowly(owner, books) { begin.finish() } }
            for await _ in updated {}
            group.addTask { try await body() }
            try await group.waitForAll()
        }
    }

    @Test func aBuyerWhoTopsUpPaysAsEverybody() async throws {
        let buyers: [AccountID] = (0..<41).map { _ in .fresh() }
        let books = try await open(buyers)
        let scenario = Scenario()
        let news = buyers.map { buyer in
            ReservationNews.reserved(scenario.reserved(.fresh(), by: buyer, price: price, brand: brand))
        }
        try await whileToppingUp(buyers[20], books) {
            let answers = try await books.settle(news)
            let captured = answers.filter {
                if case .captured = $0.event { true } else { false }
            }
            #expect(captured.count == buyers.count)
        }
        #expect(try await books.balance(buyers[20]) == 5000 + 100 - 1000)
        try await books.audit()
        await books.close()
    }

    @Test func twoTopUpsOfOneWalletBothArrive() async throws {
        let owners: [AccountID] = (0..<41).map { _ in .fresh() }
        let books = try await open(owners)
        try await whileToppingUp(owners[20], books) { try await books.topUp(owners, 7) }
        #expect(try await books.balance(owners[20]) == 5000 + 100 + 7)
        #expect(try await books.balance(owners[0]) == 5000 + 7)
        try await books.audit()
        await books.close()
    }

    @Test func aRefundFindsTheProceedsThatOthersCaptureTo() async throws {
        let buyers: [AccountID] = (0..<41).map { _ in .fresh() }
        let books = try await open(buyers)
        let scenario = Scenario()
        let orders = buyers.map { (id: OrderID.fresh(), buyer: $0) }
        try await books.settle(
            orders.map {
                ReservationNews.reserved(scenario.reserved($0.id, by: $0.buyer, price: price, brand: brand))
            })
        try await whileToppingUp(buyers[20], books) {
            try await books.settle(
                orders.map {
                    ReservationNews.released(
                        OrderReleased(line: scenario.line($0.id, $0.buyer, brand: brand), reason: .cancelled))
                })
        }
        #expect(try await books.balance(brand, kind: .proceeds) == 0)
        #expect(try await books.balance(buyers[20]) == 5100)
        try await books.audit()
        await books.close()
    }
}
