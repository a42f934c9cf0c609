// Batches of events against real Postgres: repeated, out of order, from several partitions at once.
import Models
import Postgres
import TestSupport
import Testing

@testable import PaymentCore

@Suite struct SettlementCommandTests {
    /// What a random list of events is made of.
    struct World: Sendable {
        var scenario: Scenario
        let buyers: [AccountID]
        let orders: [(id: OrderID, buyer: AccountID)]
        let balance: Int64

        /// Two in three buyers let the brand charge them.
        var charged: [AccountID] { buyers.enumerated().filter { $0.offset % 3 != 0 }.map(\.element) }
        var others: [AccountID] { buyers.enumerated().filter { $0.offset % 3 == 0 }.map(\.element) }

        init(seed: UInt64, buyers: Int, orders: Int, balance: Int64) {
            var scenario = Scenario(seed: seed)
            let ids: [AccountID] = (0..<buyers).map { _ in scenario.id() }
            self.buyers = ids
            self.orders = (0..<orders).map { _ in (scenario.id(), scenario.random.pick(ids)) }
            self.balance = balance
            self.scenario = scenario
        }

        func open(_ books: Books) async throws {
            try await books.openWallets(
                charged, chargedBy: scenario.brand, limit: scenario.price, balance: balance)
            try await books.openWallets(others, chargedBy: nil, limit: scenario.price, balance: balance)
        }

        func reserved(_ order: (id: OrderID, buyer: AccountID)) -> ReservationNews {
            ReservationNews.reserved(scenario.reserved(order.id, by: order.buyer))
        }

        func released(_ order: (id: OrderID, buyer: AccountID)) -> ReservationNews {
            ReservationNews.released(scenario.released(order.id, by: order.buyer))
        }

        /// Events of random orders in random order, many of them more than once.
        mutating func events(_ count: Int) -> [ReservationNews] {
            (0..<count).map { _ in
                let order = scenario.random.pick(orders)
                return scenario.random.int(in: 0...2) == 0 ? released(order) : reserved(order)
            }
        }
    }

    /// Applied in batches with everything redelivered, the database ends where the pure rules say.
    @Test(arguments: 1...8) func redeliveredAndReorderedEventsEndAsTheRulesSay(seed: Int) async throws {
        var world = World(seed: UInt64(seed), buyers: 6, orders: 40, balance: 700_000)
        let books = try await Books.open()
        try await world.open(books)
        let events = world.events(200)

        var model = Settlement(
            orders: [],
            accounts: world.buyers.enumerated().map {
                LedgerAccount(number: Int64($0.offset), key: .wallet($0.element, .cny), balance: world.balance)
            } + [LedgerAccount(number: 1000, key: .proceeds(world.scenario.brand, .cny, slot: 2), balance: 0)],
            authorisations: Dictionary(
                uniqueKeysWithValues: world.charged.map {
                    (
                        AuthorisationKey(owner: $0, payee: world.scenario.brand),
                        Authority(limit: world.scenario.price, publisher: nil)
                    )
                }))
        for (input, news) in events.enumerated() {
            switch news {
            case .reserved(let event):
                try model.reserved(event, slot: 2, payment: .fresh(), input: input)
            case .released(let event): try model.released(event, slot: 2, transfer: .fresh(), input: input)
            }
        }

        var answers: [String] = []
        var start = 0
        while start < events.count {
            let end = min(start + world.scenario.random.int(in: 1...60), events.count)
            answers += try await books.settle(Array(events[start..<end]), slot: 2).map(name)
            // The whole of what came so far is delivered again: it must say nothing new.
            #expect(try await books.settle(Array(events[..<end]), slot: 2).isEmpty)
            start = end
        }

        #expect(answers == model.answers.map(name))
        #expect(answers.contains { $0.hasSuffix("captured") } && answers.contains { $0.hasSuffix("refunded") })
        let expected = Dictionary(uniqueKeysWithValues: model.addedOrders.map { ($0.id, $0.state) })
        #expect(try await books.states() == expected)
        for buyer in world.buyers {
            #expect(try await books.balance(buyer) == model.ledger[.wallet(buyer, .cny)]?.balance)
        }
        try await books.audit()
        await books.close()
    }

    func name(_ answer: Settlement.Answer) -> String {
        switch answer.event {
        case .captured(let captured): "\(captured.orderId) captured"
        case .failed(let failed): "\(failed.orderId) failed \(failed.reason)"
        case .refunded(let refunded): "\(refunded.orderId) refunded"
        }
    }

    /// Several partitions at once deliver events of the same orders, buyers and brand: none waits for another in a
    /// circle, each effect happens once.
    @Test(arguments: 1...4) func partitionsThatShareWalletsAndOrdersNeitherLockUpNorRepeat(seed: Int) async throws {
        var world = World(seed: UInt64(seed), buyers: 10, orders: 300, balance: 2_000_000)
        let books = try await Books.open(connectionsMax: 6)
        try await world.open(books)
        let deliveries = (0..<6).map { _ in world.orders.shuffled(using: &world.scenario.random) }
        let fixed = world
        let answers = try await withThrowingTaskGroup(of: [String].self) { group in
            for (slot, orders) in deliveries.enumerated() {
                group.addTask {
                    var answers: [String] = []
                    for start in stride(from: 0, to: orders.count, by: 50) {
                        let news = orders[start..<start + 50].flatMap { order in
                            order.id.low % 4 == 0
                                ? [fixed.reserved(order), fixed.released(order)] : [fixed.reserved(order)]
                        }
                        answers += try await books.settle(news, slot: Int32(slot)).map(name)
                    }
                    return answers
                }
            }
            return try await group.reduce(into: []) { $0 += $1 }
        }
        #expect(Set(answers).count == answers.count, "an answer was given twice")
        #expect(try await books.states().count == world.orders.count)
        let captures = try await books.count("SELECT count(*) FROM transfers WHERE kind = 'capture'")
        #expect(captures == answers.count { $0.hasSuffix("captured") } && captures > 0)
        let refunds = try await books.count("SELECT count(*) FROM transfers WHERE kind = 'refund'")
        #expect(refunds == answers.count { $0.hasSuffix("refunded") } && refunds > 0)
        try await books.audit()
        await books.close()
    }

    @Test func aWalletThatIsChargedFromEverywhereAtOnceIsNeverOverdrawn() async throws {
        var scenario = Scenario(seed: 5)
        let books = try await Books.open(connectionsMax: 8)
        let buyer: AccountID = scenario.id()
        // Enough for exactly 7 of the 200.
        try await books.openWallets([buyer], chargedBy: scenario.brand, limit: scenario.price, balance: 1_500_000)
        let orders: [OrderID] = (0..<200).map { _ in scenario.id() }
        let fixed = scenario
        let answers = try await withThrowingTaskGroup(of: [Settlement.Answer].self) { group in
            for slot in 0..<8 {
                group.addTask {
                    var answers: [Settlement.Answer] = []
                    for order in orders[(slot * 25)..<(slot * 25 + 25)] {
                        let news = ReservationNews.reserved(fixed.reserved(order, by: buyer))
                        answers += try await books.settle(
                            [news], slot: Int32(slot))
                    }
                    return answers
                }
            }
            return try await group.reduce(into: []) { $0 += $1 }
        }
        let captured = answers.count { if case .captured = $0.event { true } else { false } }
        #expect(captured == 7 && answers.count == 200)
        #expect(try await books.balance(buyer) == 1_500_000 - 7 * 199_900)
        try await books.audit()
        await books.close()
    }

    @Test func aRefundComesOutOfThePartOfTheProceedsThatTheCaptureWentTo() async throws {
        var scenario = Scenario(seed: 6)
        let books = try await Books.open()
        let buyer: AccountID = scenario.id()
        let order: OrderID = scenario.id()
        try await books.openWallets([buyer], chargedBy: scenario.brand, limit: scenario.price, balance: 200_000)
        try await books.settle(
            [ReservationNews.reserved(scenario.reserved(order, by: buyer))], slot: 4)
        // The release comes by another partition, whose part of the proceeds is empty.
        try await books.settle(
            [ReservationNews.released(scenario.released(order, by: buyer))], slot: 9)
        #expect(try await books.states() == [order: .refunded])
        #expect(try await books.balance(buyer) == 200_000)
        #expect(try await books.balance(scenario.brand, kind: .proceeds) == 0)
        try await books.audit()
        await books.close()
    }

    @Test func manyBrandsAndCurrenciesGoThroughOneBatch() async throws {
        var scenario = Scenario(seed: 7)
        let books = try await Books.open()
        let buyers: [AccountID] = (0..<20).map { _ in scenario.id() }
        let brands: [BrandID] = (0..<5).map { _ in scenario.id() }
        let dollars = try #require(Currency("USD"))
        try await books.openWallets(
            buyers.map { buyer in
                .person(
                    buyer,
                    authorisations: brands.enumerated().map {
                        Account.Authorisation(
                            payeeId: $0.element, limit: $0.offset == 4 ? Money(500, dollars) : Money(500, .cny))
                    })
            })
        try await books.topUp(buyers, 1000)
        var news: [ReservationNews] = []
        for buyer in buyers {
            for (place, brand) in brands.enumerated() {
                let price = place == 4 ? Money(300, dollars) : Money(300, .cny)
                let event = scenario.reserved(scenario.id(), by: buyer, price: price, brand: brand)
                news.append(ReservationNews.reserved(event))
            }
        }
        let answers = try await books.settle(news)
        // Three of the four in yuan fit into a wallet; there is none in dollars.
        #expect(answers.count { if case .captured = $0.event { true } else { false } } == 60)
        let reasons = answers.compactMap { if case .failed(let failed) = $0.event { failed.reason } else { nil } }
        #expect(reasons.count { $0 == .insufficientFunds } == 20 && reasons.count { $0 == .noWallet } == 20)
        for buyer in buyers { #expect(try await books.balance(buyer) == 100) }
        try await books.audit()
        await books.close()
    }
}
