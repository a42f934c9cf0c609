// What a rush keeps: its buyers, and what happened to every order.
import Foundation
import Kafka
import Models
import Testing

@testable import StampedeCore

@Suite struct RushTests {
    @Test func buyersAreFoundByTheirAccount() {
        var buyers = Buyers(capacity: 5000)
        // IDs that differ in few bits as well as random ones.
        let ids = (0..<5000).map { AccountID(high: UInt64($0 % 7), low: UInt64($0)) }
        for id in ids { buyers.append(id) }
        #expect(buyers.count == 5000)
        for (number, id) in ids.enumerated() { #expect(buyers.number(of: id) == number) }
        #expect(buyers.number(of: AccountID(high: 99, low: 99)) == nil)
    }

    private func journal(_ orders: Int) -> Journal { Journal(orders: orders, noon: Timestamp(seconds: 1000)) }
    private func at(_ milliseconds: Int64) -> Timestamp { Timestamp(seconds: 1000).adding(milliseconds: milliseconds) }

    @Test func timesRunFromTheMomentWhenTheOrderWasSent() {
        let journal = journal(2)
        journal.record([
            .init(order: 0, sentAt: at(10), answeredAt: at(15)),
            .init(order: 1, sentAt: at(20), answeredAt: at(21), refusal: 503),
        ])
        journal.record([.decided(order: 0, .reserved)], at: at(40))
        journal.record([.told(order: 0)], at: at(50))
        journal.record([.told(order: 0)], at: at(90))
        let times = journal.times()
        #expect(times.orderToAccepted == [5000])
        #expect(times.orderToDecision == [30_000])
        #expect(times.orderToTold == [40_000])
        #expect(times.orderToLastTold == [80_000])
        #expect(times.lastTold == 90_000)
        let counts = journal.counts
        #expect((counts.sent, counts.accepted, counts.refused, counts.reserved, counts.told) == (2, 1, 1, 1, 2))
    }

    @Test func anOlderWordBehindANewerOneNeedNotBeSaid() {
        let journal = journal(2)
        func place(_ revision: Int, _ isOfPayment: Bool) -> OrderPlace {
            OrderPlace(revision: revision, isOfPayment: isOfPayment)
        }
        journal.record(
            [
                .notified(order: 0, place: place(1, true)), .notified(order: 1, place: place(1, false)),
                .notified(order: 0, place: place(1, false)), .notified(order: 1, place: nil),
                .notified(order: 1, place: place(1, true)),
            ], at: at(1))
        #expect((journal.counts.notified, journal.counts.overtaken) == (5, 1))
    }

    @Test func aSecondDecisionIsCountedAndChangesNothing() {
        let journal = journal(1)
        journal.record([.decided(order: 0, .reserved)], at: at(1))
        journal.record([.decided(order: 0, .rejected)], at: at(2))
        #expect(journal.counts.decidedTwice == 1)
        #expect(journal.counts.rejected == 0)
        #expect(journal.counts.decided == 1)
    }

    @Test func anEventThatIsPublishedTwiceCountsOnce() {
        let journal = journal(1)
        func heard(_ fact: Journal.Fact, _ id: String) -> Journal.Heard {
            Journal.Heard(fact, topic: .reservations, id: ByteView(Array(id.utf8)))
        }
        journal.record([heard(.decided(order: 0, .reserved), "a"), heard(.promoted, "b")], at: at(1))
        journal.record([heard(.promoted, "b"), heard(.decided(order: 0, .reserved), "a")], at: at(2))
        #expect(journal.counts.decidedTwice == 0)
        #expect(journal.counts.promoted == 1)
        journal.record([heard(.decided(order: 0, .reserved), "c")], at: at(3))
        #expect(journal.counts.decidedTwice == 1)
    }

    @Test func theEndOfAWaitIsNoSecondDecision() {
        let journal = journal(1)
        journal.record([.decided(order: 0, .waitlisted), .decided(order: 0, .rejected)], at: at(1))
        #expect(journal.counts.decidedTwice == 0)
    }

    @Test func aDecisionThatOvertakesItsAnswerIsKept() {
        let journal = journal(1)
        journal.record([.decided(order: 0, .rejected)], at: at(3))
        journal.record([.init(order: 0, sentAt: at(5), answeredAt: at(6))])
        #expect(journal.times().orderToDecision == [0])
    }

    @Test func aFewBuyersArePoorInEveryRunTheSame() {
        var plan = RushPlan(
            orders: 100_000, units: 1, via: .http, waitlistMax: 0, holdSeconds: 1, poorPerMille: 10, listeners: 0,
            connections: 1, threads: 1, noonSeconds: 1, inFlightMax: nil, timeoutSeconds: 1)
        let poor = (0..<plan.orders).filter(plan.isPoor)
        #expect((800...1200).contains(poor.count))
        plan.poorPerMille = 0
        #expect(!(0..<plan.orders).contains(where: plan.isPoor))
    }

    @Test func thisProcessIsMeasured() throws {
        let use = try #require(ProcessMeter(folder: nil).read().first { $0.name.hasPrefix("stampede") })
        #expect(use.memoryPeakBytes > 1 << 20)
        #expect(use.processorSeconds >= 0)
        #expect(ProcessMeter.use(ofProcess: Int32.max, name: "none") == nil)
    }
}
