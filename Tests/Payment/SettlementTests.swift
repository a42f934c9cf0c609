import Models
import TestSupport
import Testing

@testable import PaymentCore

@Suite struct SettlementTests {
    var scenario = Scenario()
    let buyer: AccountID
    let order: OrderID
    let payment: PaymentID

    init() {
        buyer = scenario.id()
        order = scenario.id()
        payment = scenario.id()
    }

    /// Applies one reservation to a wallet.
    func reserve(
        holding balance: Int64, limit: Money?, price: Money? = nil
    ) throws -> Settlement {
        var settlement = Settlement(
            orders: [], accounts: scenario.accounts(buyer, holding: balance),
            authorisations: limit.map { scenario.authorisation(buyer, $0) } ?? [:])
        try settlement.reserved(
            scenario.reserved(order, by: buyer, price: price), slot: 3, payment: payment,
            input: 0)
        return settlement
    }

    @Test func anAuthorisedOrderIsCapturedAtOnce() throws {
        let settlement = try reserve(holding: 200_000, limit: scenario.price)
        #expect(
            settlement.answers.map(\.event) == [
                .captured(
                    PaymentCaptured(
                        paymentId: payment, orderId: order, saleId: scenario.sale, buyerId: buyer,
                        brandId: scenario.brand, amount: scenario.price, orderRevision: 1))
            ])
        #expect(settlement.ledger[.wallet(buyer, .cny)]?.balance == 100)
        #expect(settlement.ledger[.proceeds(scenario.brand, .cny, slot: 3)]?.balance == 199_900)
        #expect(settlement.addedOrders.map(\.state) == [.captured])
        #expect(settlement.addedOrders.first?.payment == payment)
    }

    @Test func everyAnswerBearsTheRevisionOfWhatItAnswers() throws {
        func line(_ revision: Int?) -> OrderLine {
            OrderLine(
                orderId: order, saleId: scenario.sale, batch: 1, variant: "mi3-silver-16", buyerId: buyer,
                brandId: scenario.brand, orderRevision: revision, publisher: .messaging)
        }
        func revisions(_ settlement: Settlement) -> [Int?] {
            settlement.answers.map { answer in
                switch answer.event {
                case .captured(let event): event.orderRevision
                case .failed(let event): event.orderRevision
                case .refunded(let event): event.orderRevision
                }
            }
        }
        // Promoted, paid by hand, confirmed by reservation and cancelled.
        let promoted = OrderReserved(
            line: line(2), price: scenario.price, holdUntil: scenario.holdUntil, promoted: true)
        var settlement = Settlement(orders: [], accounts: scenario.accounts(buyer, holding: 200_000))
        try settlement.reserved(promoted, slot: 3, payment: payment, input: 0)
        _ = try settlement.pay(order, by: buyer, at: scenario.noon, payment: payment, input: 1)
        try settlement.released(
            OrderReleased(line: line(4), reason: .cancelled), slot: 3, transfer: TransferID(high: 1, low: 1), input: 2)
        #expect(settlement.summary == ["captured", "refunded cancelled"])
        #expect(revisions(settlement) == [2, 4])
        // What was reserved before it was released is old when it comes after.
        try settlement.reserved(promoted, slot: 3, payment: payment, input: 3)
        #expect(settlement.answers.count == 2)
        // A version that did not number events came before.
        var unnumbered = Settlement(
            orders: [], accounts: scenario.accounts(buyer, holding: 0), authorisations: scenario.authorisation(buyer))
        try unnumbered.reserved(
            OrderReserved(line: line(nil), price: scenario.price, holdUntil: scenario.holdUntil, promoted: false),
            slot: 3, payment: payment, input: 0)
        #expect(unnumbered.summary == ["failed insufficientFunds"])
        #expect(revisions(unnumbered) == [nil])
    }

    @Test func anOrderWithoutAnAuthorisationThatCoversItWaitsForItsBuyer() throws {
        let dollars = try #require(Currency("USD"))
        for limit in [nil, Money(199_899, .cny), Money(199_900, dollars)] {
            let settlement = try reserve(holding: 1_000_000, limit: limit)
            #expect(settlement.answers.isEmpty && settlement.ledger.transfers.isEmpty)
            #expect(settlement.addedOrders.map(\.state) == [.payable])
        }
    }

    /// Placed by nobody who proved it, by the owner in the app, by two publishers; named: nobody or one of the two.
    @Test(arguments: [nil, .messaging, TestPublishers.partner.name, TestPublishers.other.name] as [PublisherName?])
    func anAuthorisationHoldsForTheOwnersOrdersAndForThePublisherThatItNames(placer: PublisherName?) throws {
        for named: PublisherName? in [nil, .messaging, TestPublishers.partner.name] {
            var settlement = Settlement(
                orders: [], accounts: scenario.accounts(buyer, holding: 200_000),
                authorisations: scenario.authorisation(buyer, for: named))
            try settlement.reserved(
                scenario.reserved(order, by: buyer, publisher: placer), slot: 3, payment: payment, input: 0)
            let pays = placer == .messaging || placer != nil && placer == named
            #expect(settlement.summary == (pays ? ["captured"] : []))
            #expect(
                settlement.addedOrders.map(\.authorised)
                    == [pays ? PaymentOrder.Authorised(publisher: named) : nil])
            // The buyer's own hand pays what nobody vouches for.
            if !pays {
                _ = try settlement.pay(order, by: buyer, at: scenario.noon, payment: payment, input: 1)
                #expect(settlement.addedOrders.map(\.authorised) == [nil])
            }
        }
    }

    @Test func anAuthorisedOrderOfAPoorWalletFails() throws {
        let settlement = try reserve(holding: 199_899, limit: scenario.price)
        #expect(settlement.summary == ["failed insufficientFunds"])
        #expect(settlement.ledger.transfers.isEmpty)
        #expect(settlement.addedOrders.map(\.state) == [.failed])
    }

    @Test func anAuthorisedOrderInACurrencyWithoutAWalletFails() throws {
        let euros = Money(100, try #require(Currency("EUR")))
        let settlement = try reserve(holding: 1_000_000, limit: euros, price: euros)
        #expect(settlement.summary == ["failed noWallet"])
    }

    /// The event of a hold may come after its end, because Kafka was away: no lateness of whoever paid beforehand.
    @Test func anAuthorisedOrderIsPaidHoweverLateItsEventComesAndPaidBackWhereItWasReleased() throws {
        var settlement = try reserve(holding: 200_000, limit: scenario.price)
        try settlement.released(
            scenario.released(order, by: buyer), slot: 3, transfer: TransferID(high: 1, low: 1), input: 1)
        #expect(settlement.summary == ["captured", "refunded expired"])
        #expect(settlement.ledger[.wallet(buyer, .cny)]?.balance == 200_000)
        // The same where the release is heard of first.
        var released = Settlement(
            orders: [], accounts: scenario.accounts(buyer, holding: 200_000),
            authorisations: scenario.authorisation(buyer))
        try released.released(
            scenario.released(order, by: buyer), slot: 3, transfer: TransferID(high: 1, low: 1), input: 0)
        try released.reserved(scenario.reserved(order, by: buyer), slot: 3, payment: payment, input: 1)
        #expect(released.summary.isEmpty && released.ledger.transfers.isEmpty)
    }

    @Test func aRepeatedReservationChangesNothing() throws {
        var settlement = try reserve(holding: 1_000_000, limit: scenario.price)
        try settlement.reserved(
            scenario.reserved(order, by: buyer), slot: 3, payment: PaymentID(high: 1, low: 1),
            input: 1)
        #expect(settlement.summary == ["captured"])
        #expect(settlement.ledger.transfers.count == 1)
    }

    @Test func aCapturedOrderThatIsReleasedIsRefundedOnce() throws {
        var settlement = try reserve(holding: 200_000, limit: scenario.price)
        for input in 1...3 {
            try settlement.released(
                scenario.released(order, by: buyer, .paidTooLate), slot: 5, transfer: scenario.transfer(input),
                input: input)
        }
        #expect(settlement.summary == ["captured", "refunded paidTooLate"])
        #expect(settlement.ledger[.wallet(buyer, .cny)]?.balance == 200_000)
        #expect(settlement.ledger[.proceeds(scenario.brand, .cny, slot: 3)]?.balance == 0)
        #expect(settlement.addedOrders.map(\.state) == [.refunded])
    }

    @Test func aReleaseThatComesBeforeItsReservationIsRespected() throws {
        var settlement = Settlement(
            orders: [], accounts: scenario.accounts(buyer, holding: 1_000_000),
            authorisations: scenario.authorisation(buyer))
        try settlement.released(
            scenario.released(order, by: buyer, .cancelled), slot: 3, transfer: scenario.transfer(0), input: 0)
        try settlement.reserved(
            scenario.reserved(order, by: buyer), slot: 3, payment: payment, input: 1)
        #expect(settlement.answers.isEmpty && settlement.ledger.transfers.isEmpty)
        #expect(settlement.addedOrders.map(\.state) == [.released])
        #expect(throws: Settlement.Refusal.holdOver) {
            try settlement.pay(order, by: buyer, at: scenario.noon, payment: payment, input: 2)
        }
    }

    @Test func anOrderIsPaidByHandOnceWithinItsHold() throws {
        var settlement = try reserve(holding: 500_000, limit: nil)
        let paid = try settlement.pay(order, by: buyer, at: scenario.noon, payment: payment, input: 1)
        #expect(paid.state == .captured && paid.payment == payment)
        #expect(settlement.summary == ["captured"])
        #expect(throws: Settlement.Refusal.alreadyPaid) {
            try settlement.pay(order, by: buyer, at: scenario.noon, payment: scenario.payment(9), input: 2)
        }
        #expect(settlement.ledger[.wallet(buyer, .cny)]?.balance == 300_100)
    }

    @Test func payingByHandAtTheEndOfTheHoldIsTooLate() throws {
        var settlement = try reserve(holding: 500_000, limit: nil)
        #expect(throws: Settlement.Refusal.holdOver) {
            try settlement.pay(order, by: buyer, at: scenario.holdUntil, payment: payment, input: 1)
        }
        #expect(settlement.changedOrders.isEmpty && settlement.ledger.transfers.isEmpty)
        let last = Timestamp(microseconds: scenario.holdUntil.microseconds - 1)
        _ = try settlement.pay(order, by: buyer, at: last, payment: payment, input: 1)
    }

    @Test func nobodyPaysAnothersOrder() throws {
        var settlement = try reserve(holding: 500_000, limit: nil)
        #expect(throws: Settlement.Refusal.unknownOrder) {
            try settlement.pay(order, by: scenario.brand, at: scenario.noon, payment: payment, input: 1)
        }
    }

    @Test func aPoorWalletPaysAnotherOrderAfterARefusal() throws {
        var settlement = try reserve(holding: 150, limit: nil)
        #expect(throws: Settlement.Refusal.insufficientFunds) {
            try settlement.pay(order, by: buyer, at: scenario.noon, payment: payment, input: 1)
        }
        let cheap = OrderID(high: 3, low: 3)
        try settlement.reserved(
            scenario.reserved(cheap, by: buyer, price: Money(150, .cny)), slot: 3,
            payment: scenario.payment(2), input: 2)
        _ = try settlement.pay(cheap, by: buyer, at: scenario.noon, payment: scenario.payment(3), input: 3)
        #expect(settlement.ledger[.wallet(buyer, .cny)]?.balance == 0)
    }

    /// The same events give the same answers and balances, be they applied in one transaction or in many.
    @Test(arguments: 1...30) func theAnswersDoNotDependOnHowTheEventsAreCut(seed: Int) throws {
        var scenario = Scenario(seed: UInt64(seed))
        let buyers: [AccountID] = (0..<4).map { _ in scenario.id() }
        let orders: [(OrderID, AccountID)] = (0..<25).map { _ in (scenario.id(), scenario.random.pick(buyers)) }
        let authorisations = Dictionary(
            uniqueKeysWithValues: buyers.dropLast().map {
                (
                    AuthorisationKey(owner: $0, payee: scenario.brand),
                    Authority(limit: scenario.price, publisher: nil)
                )
            })
        let accounts =
            buyers.enumerated().map {
                LedgerAccount(
                    number: Int64($0.offset), key: .wallet($0.element, .cny),
                    balance: Int64(scenario.random.int(in: 200_000...900_000)))
            } + [LedgerAccount(number: 100, key: .proceeds(scenario.brand, .cny, slot: 3), balance: 0)]
        let events: [(OrderID, AccountID, isRelease: Bool)] = (0..<100).map { _ in
            let (order, buyer) = scenario.random.pick(orders)
            return (order, buyer, scenario.random.bool())
        }
        func apply(_ index: Int, to settlement: inout Settlement) throws {
            let (order, buyer, isRelease) = events[index]
            if isRelease {
                try settlement.released(
                    scenario.released(order, by: buyer), slot: 3, transfer: scenario.transfer(index), input: index)
            } else {
                try settlement.reserved(
                    scenario.reserved(order, by: buyer), slot: 3, payment: scenario.payment(index),
                    input: index)
            }
        }

        var whole = Settlement(orders: [], accounts: accounts, authorisations: authorisations)
        for index in events.indices { try apply(index, to: &whole) }

        var answers: [Settlement.Answer] = []
        var stored: [OrderID: PaymentOrder] = [:]
        var balances = Dictionary(uniqueKeysWithValues: accounts.map { ($0.key, $0) })
        var index = 0
        while index < events.count {
            var part = Settlement(
                orders: Array(stored.values), accounts: Array(balances.values), authorisations: authorisations)
            for _ in 0..<min(scenario.random.int(in: 1...9), events.count - index) {
                try apply(index, to: &part)
                index += 1
            }
            answers += part.answers
            for order in part.addedOrders { #expect(stored.updateValue(order, forKey: order.id) == nil) }
            for order in part.changedOrders { #expect(stored.updateValue(order, forKey: order.id) != nil) }
            for key in balances.keys { balances[key] = part.ledger[key] }
        }

        #expect(answers == whole.answers)
        #expect(whole.summary.contains("captured") && whole.summary.contains("refunded expired"))
        #expect(Array(stored.values).sorted { $0.id < $1.id } == whole.addedOrders)
        for (key, account) in balances {
            #expect(account == whole.ledger[key])
            #expect(account.balance >= 0)
        }
    }
}

extension Scenario {
    func transfer(_ number: Int) -> TransferID { TransferID(high: 100, low: UInt64(number)) }
    func payment(_ number: Int) -> PaymentID { PaymentID(high: 200, low: UInt64(number)) }
}
