// The audit's rules: evidence of a good sale passes, and each way of breaking a rule is found by its rule.
import Models
import Testing

@testable import StampedeCore

@Suite struct AuditTests {
    private static let line = Evidence.StockLine(sale: SaleID(high: 1, low: 1), batch: 1, variant: "silver")

    private static func id(_ number: UInt64) -> OrderID { OrderID(high: 7, low: number) }
    private static func notification(_ number: UInt64) -> NotificationID { NotificationID(high: 8, low: number) }

    /// Two phones, one confirmed and one held; one order waits, one was refused; one was refunded and released.
    static func goodSale() -> Evidence {
        var evidence = Evidence()
        evidence.orders.add([.ordered, .accepted, .shownConfirmed], to: id(1))
        evidence.orders.addDecision(.confirmed, to: id(1))
        evidence.orders.add([.saidReserved, .saidConfirmed, .captured], to: id(1))
        evidence.orders.addTold(.toldReserved, to: id(1))
        evidence.orders.addTold(.toldPaid, to: id(1))

        evidence.orders.add([.ordered, .accepted, .shownReserved, .saidReserved], to: id(2))
        evidence.orders.addDecision(.held, to: id(2))
        evidence.orders.addTold(.toldReserved, to: id(2))

        evidence.orders.add([.ordered, .accepted, .shownWaitlisted, .saidWaitlisted], to: id(3))
        evidence.orders.addDecision(.waiting, to: id(3))
        evidence.orders.addTold(.toldWaitlisted, to: id(3))

        evidence.orders.add([.ordered, .accepted, .shownRejected, .saidRejected], to: id(4))
        evidence.orders.addDecision(.refused, to: id(4))

        evidence.orders.add([.ordered, .shownReleased, .saidReserved, .saidReleased, .refunded], to: id(5))
        evidence.orders.addDecision(.released, to: id(5))
        for told: OrderFacts in [.toldReserved, .toldPaid, .toldRefunded] { evidence.orders.addTold(told, to: id(5)) }

        let lives: [(UInt64, [OrderFacts])] = [
            (1, [.saidReserved, .saidConfirmed]), (2, [.saidReserved]), (3, [.saidWaitlisted]), (4, [.saidRejected]),
            (5, [.saidReserved, .saidReleased]),
        ]
        for (number, events) in lives {
            // The last one first: events may arrive in another order than theirs, and twice.
            for (index, fact) in (Array(events.enumerated()).reversed() + Array(events.enumerated())) {
                evidence.lives.add(id(number), index + 1, fact, print: UInt64(index))
            }
        }
        evidence.shortestHoldMicroseconds = [line: 120_000_000]
        evidence.noWallet = 1
        evidence.authorised = 2
        evidence.publishers = [.messaging: 4, nil: 1]

        evidence.ordersLog.records = 5
        evidence.reservationsLog.records = 8
        evidence.stock = [stock()]
        evidence.offered = [line: 2]
        evidence.soldOutSaid = [line: 1]
        evidence.lastNews = [line: .init(revision: 1, isSoldOut: true)]
        evidence.shownSoldOut = [line]
        evidence.liveOrders = 3
        evidence.awaitingPayment = 1
        evidence.ledger = [.init(currency: "CNY", sum: 0, transfers: 3)]
        evidence.accounts = 4
        evidence.capturedAmount = 199_900
        evidence.confirmedAmount = 199_900
        evidence.proceedsAmount = 199_900
        for number in 1...7 as ClosedRange<UInt64> {
            evidence.told.add(notification(number))
            evidence.messages.add(notification(8 - number))
        }
        evidence.outstanding = ["reservation: batches to publish": 0]
        return evidence
    }

    private static func stock(
        supply: Int64 = 2, pool: Int64 = 0, waiting: Int64 = 1, soldOutCount: Int = 1, isSoldOut: Bool = true
    ) -> Evidence.Stock {
        .init(
            line: line, supply: supply, pool: pool, leased: 0, held: 1, waiting: waiting, confirmed: 1,
            soldOutCount: soldOutCount, isSoldOut: isSoldOut, isClosed: false, holdSeconds: 120)
    }

    @Test func aGoodSaleIsClean() {
        for finding in Checks.findings(Self.goodSale()) { #expect(finding.wrong == 0, "\(finding)") }
    }

    struct Breach: Sendable, CustomTestStringConvertible {
        let testDescription: String
        let check: String
        let breakIt: @Sendable (inout Evidence) -> Void

        init(_ description: String, _ check: String, _ breakIt: @escaping @Sendable (inout Evidence) -> Void) {
            testDescription = description
            self.check = check
            self.breakIt = breakIt
        }
    }

    static let breaches: [Breach] = [
        Breach("an order without a decision", "decided") { $0.orders.add(.ordered, to: id(9)) },
        Breach("an accepted order that never reached the log", "decided") { $0.orders.add(.accepted, to: id(9)) },
        Breach("an order decided twice", "decided") { $0.orders.addDecision(.refused, to: id(1)) },
        Breach("a decision without an order", "decided") { $0.orders.addDecision(.refused, to: id(9)) },
        Breach("an unreadable record that is no dead letter", "decided") { $0.unreadable = 1 },
        Breach("a decision that was never said", "answered") {
            $0.orders.addDecision(.refused, to: id(9))
            $0.orders.add(.ordered, to: id(9))
        },
        Breach("an order that ended and of which nothing was said", "answered") {
            $0.orders.add(.ordered, to: id(9))
            $0.orders.addDecision(.released, to: id(9))
        },
        Breach("two answers to one order", "answered") { $0.orders.add(.saidRejected, to: id(1)) },
        Breach("an answer that differs from the schema", "answered") {
            $0.orders.add([.ordered, .saidReserved], to: id(9))
            $0.orders.addDecision(.refused, to: id(9))
        },
        Breach("two events of one number that differ", "lives") {
            $0.lives.add(id(1), 2, .saidConfirmed, print: 99)
        },
        Breach("an event that is missing", "lives") { $0.lives.add(id(1), 4, .saidConfirmed, print: 3) },
        Breach("a last word that is not so", "lives") { $0.lives.add(id(2), 2, .saidReleased, print: 1) },
        Breach("an order of the topic alone", "lives") { $0.lives.add(id(9), 1, .saidReserved, print: 1) },
        Breach("an authorisation that paid an order of somebody else", "authorised") { $0.unauthorised = [id(1)] },
        Breach("a hold that began before its decision", "hold times") {
            $0.shortestHoldMicroseconds = [line: 3_000_000]
        },
        Breach("no wallet where there was one", "wallets") { $0.noWalletWithWallet = 1 },
        Breach("an order that shows nothing", "shown") {
            $0.orders.add([.ordered, .accepted, .shownUndecided, .saidRejected], to: id(9))
            $0.orders.addDecision(.refused, to: id(9))
        },
        Breach("a phone too many", "supply") { $0.stock = [stock(supply: 1)] },
        Breach("a phone lost", "supply") { $0.stock = [stock(supply: 3)] },
        Breach("more counted than offered", "supply") { $0.offered = [line: 1] },
        Breach("a free phone while somebody waits", "unsold") { $0.stock = [stock(supply: 3, pool: 1)] },
        Breach("sold out and never said", "sold out") { $0.soldOutSaid = [:] },
        Breach("said to be sold out, and not so", "sold out") { $0.stock = [stock(soldOutCount: 0)] },
        Breach("said twice", "sold out") { $0.soldOutSaid = [line: 2] },
        Breach("sold out by its last news, and not so", "sold out") {
            $0.stock = [stock(isSoldOut: false)]
            $0.shownSoldOut = []
        },
        Breach("to be had by its last news, and sold out", "sold out") {
            $0.lastNews = [line: .init(revision: 2, isSoldOut: false)]
        },
        Breach("sold out and not shown so", "sold out") { $0.shownSoldOut = [] },
        Breach("sold out while a phone is free", "sold out") { $0.stock = [stock(supply: 3, pool: 1, waiting: 0)] },
        Breach("a buyer with two phones", "limit") { $0.buyersOverLimit = 1 },
        Breach("a hold that never ended", "holds") { $0.overdue = 1 },
        Breach("money taken without a phone", "paid") { $0.orders.add(.captured, to: id(4)) },
        Breach("a phone that nobody paid", "paid") {
            $0.orders.add([.ordered, .saidReserved, .saidConfirmed], to: id(9))
            $0.orders.addDecision(.confirmed, to: id(9))
        },
        Breach("a wrong price", "paid") { $0.orders.add(.wrongAmount, to: id(1)) },
        Breach("a phone kept and refunded", "paid") { $0.orders.add(.refunded, to: id(1)) },
        Breach("a ledger that does not sum to zero", "ledger") {
            $0.ledger = [.init(currency: "CNY", sum: 1, transfers: 3)]
        },
        Breach("a transfer out of balance", "ledger") { $0.transfersUnbalanced = 1 },
        Breach("a balance that is not its postings", "balances") { $0.balancesWrong = 1 },
        Breach("a wallet below zero", "balances") { $0.balancesBelowZero = 1 },
        Breach("money that does not match the phones", "money") { $0.confirmedAmount = 399_800 },
        Breach("money that a brand never got", "money") { $0.proceedsAmount = 0 },
        Breach("a winner who was not told", "told") {
            $0.orders.add([.ordered, .saidReserved], to: id(9))
            $0.orders.addDecision(.held, to: id(9))
        },
        Breach("a winner told twice", "told") { $0.orders.addTold(.toldReserved, to: id(1)) },
        Breach("a loser told that he won", "told") { $0.orders.addTold(.toldReserved, to: id(4)) },
        Breach("a notification that is no message", "delivered") { $0.told.add(notification(99)) },
        Breach("an older word behind a newer one", "delivered") { $0.olderWords = 1 },
        Breach("another message than the notification", "delivered") {
            $0.told.add(notification(99))
            $0.messages.add(notification(98))
        },
        Breach("a broadcast that was never posted", "delivered") { $0.broadcasts.add(notification(1)) },
        Breach("work that was left over", "settled") { $0.outstanding["payment: batches to publish"] = 2 },
    ]

    @Test(arguments: breaches)
    func everyBreachIsFoundByItsRule(breach: Breach) throws {
        var evidence = Self.goodSale()
        breach.breakIt(&evidence)
        let finding = try #require(Checks.findings(evidence).first { $0.name == breach.check })
        #expect(finding.wrong > 0)
    }

    @Test func theEndOfAnOrderThatWasCancelledBeforeItsDecisionIsItsAnswer() {
        var evidence = Self.goodSale()
        evidence.orders.add([.ordered, .saidReleased], to: Self.id(9))
        evidence.orders.addDecision(.released, to: Self.id(9))
        evidence.orders.addTold(.toldReleased, to: Self.id(9))
        for finding in Checks.findings(evidence) where !["told", "delivered"].contains(finding.name) {
            #expect(finding.wrong == 0, "\(finding)")
        }
    }

    @Test func whatANewerWordOvertookIsSaidAndIsNotWrong() throws {
        var evidence = Self.goodSale()
        evidence.overtaken = 2
        let finding = try #require(Checks.findings(evidence).first { $0.name == "delivered" })
        #expect((finding.examined, finding.wrong) == (9, 0))
        #expect(finding.note.hasSuffix("2 overtaken"))
    }

    @Test func deadLettersAreShownAndAreNotWrong() throws {
        var evidence = Self.goodSale()
        evidence.dead = ["orders": 3]
        let finding = try #require(Checks.findings(evidence).first { $0.name == "dead letters" })
        #expect((finding.examined, finding.wrong, finding.note) == (3, 0, "orders: 3"))
    }

    @Test func whatAForgetfulBrokerNoLongerHoldsIsNoBreach() {
        var evidence = Self.goodSale()
        evidence.ordersLog.isWhole = false
        evidence.reservationsLog.isWhole = false
        evidence.orders.add(.shownRejected, to: Self.id(9))
        evidence.orders.addDecision(.refused, to: Self.id(9))
        for finding in Checks.findings(evidence) { #expect(finding.wrong == 0, "\(finding)") }
    }

    @Test func whatIsForgottenInPartIsNoBreach() {
        var evidence = Self.goodSale()
        evidence.ordersLog.isWhole = false
        evidence.reservationsLog.isWhole = false
        evidence.orders.add([.accepted, .refunded, .shownReleased, .past], to: Self.id(9))
        for finding in Checks.findings(evidence) { #expect(finding.wrong == 0, "\(finding)") }
    }

    @Test func aLogThatIsKeptForLongerThanTheSchemaRemembersIsNoBreach() {
        var evidence = Self.goodSale()
        evidence.orders.add([.accepted, .saidRejected, .shownRejected, .past], to: Self.id(9))
        evidence.lives.add(Self.id(9), 1, .saidRejected, print: 1)
        for finding in Checks.findings(evidence) { #expect(finding.wrong == 0, "\(finding)") }
    }

    @Test func theVerdictSaysWhatIsWrongAndWhere() {
        var evidence = Self.goodSale()
        evidence.orders.add(.ordered, to: Self.id(9))
        let text = AuditCommand.text(Checks.findings(evidence), evidence)
        #expect(text.contains("NOT CLEAN: 1 of"))
        #expect(text.contains(Self.id(9).description))
    }

    @Test func anOrderThatIsRefusedAgainIsOneRefusal() {
        var table = OrderTable()
        for _ in 0..<2 { table.addDecision(.refused, to: Self.id(1)) }
        #expect(table.facts(of: Self.id(1)) == .refused)
        table.addDecision(.held, to: Self.id(1))
        #expect(table.facts(of: Self.id(1))?.contains(.decidedTwice) == true)
        for _ in 0..<2 { table.addDecision(.held, to: Self.id(2)) }
        #expect(table.facts(of: Self.id(2))?.contains(.decidedTwice) == true)
    }

    @Test func theTableOfOrdersKeepsEveryFact() {
        var table = OrderTable()
        for number in 0..<5000 as Range<UInt64> { table.add(.ordered, to: Self.id(number)) }
        for number in 0..<5000 as Range<UInt64> where number % 2 == 0 { table.add(.accepted, to: Self.id(number)) }
        #expect(table.count == 5000)
        #expect(table.facts(of: Self.id(42)) == [.ordered, .accepted])
        #expect(table.facts(of: Self.id(43)) == .ordered)
        #expect(table.facts(of: Self.id(5000)) == nil)
    }

    @Test func setsOfIdentifiersAreComparedWhateverTheirOrder() {
        var (left, right) = (IdentifierSum(), IdentifierSum())
        for number in 0..<100 as Range<UInt64> {
            left.add(Self.id(number))
            right.add(Self.id(99 - number))
        }
        #expect(left == right)
        right.add(Self.id(100))
        left.add(Self.id(101))
        #expect(left.count == right.count && left != right)
    }
}
