// Who published an order: what a proof is worth, and what is refused without one.
import JSON
import Kafka
import Models
import Security
import ServiceKit
import TestSupport
import Testing

@testable import ReservationCore

extension DecisionRulesTests {
    private static let publishers: [PublisherName?] = [
        nil, .messaging, TestPublishers.partner.name, TestPublishers.other.name,
    ]

    /// Its own publisher and the app, where the buyer signed in.
    private func ends(_ canceller: PublisherName?, _ placer: PublisherName?) -> Bool {
        canceller == placer || canceller == .messaging
    }

    @Test(arguments: publishers, publishers)
    func anOrderIsTakenBackByWhoPlacedItOrByTheAppWheneverThatComes(
        placer: PublisherName?, canceller: PublisherName?
    ) {
        let ends = ends(canceller, placer)
        var order = order(2, by: 2)
        order.publisher = placer
        func cancellation(at offset: Int64) -> CancellationInLog {
            let known = self.cancellation(2, by: 2, offset: offset)
            return CancellationInLog(
                order: OrderOfBuyer(
                    orderId: known.order.orderId, buyerId: known.order.buyerId, publisher: canceller),
                time: known.time, offset: offset)
        }
        for offset in [1, 3] as [Int64] {
            let (decisions, _) = decided([order], two, cancellations: [cancellation(at: offset)])
            #expect(decisions.outcomes == [ends ? .cancelled : .reserved])
            #expect(decisions.early.isEmpty && decisions.ended.isEmpty)
        }
        var history = History()
        history.cancelled = [cancellation(at: 0).order]
        #expect(decided([order], two, history: history).decisions.outcomes == [ends ? .cancelled : .reserved])

        history = History()
        let buyer = SaleBuyer(saleId: sale, buyerId: order.order.buyerId)
        history.decided = [order.order.orderId]
        history.live = [
            order.order.orderId: LiveOrder(buyer: buyer, key: key, hasUnit: true, publisher: placer)
        ]
        let ended = decided([], two, cancellations: [cancellation(at: 3)], history: history).decisions
        #expect(ended.ended == (ends ? [order.order.orderId] : []))
        #expect(ended.early.isEmpty)
    }

    @Test func ofAnOrderThatTwoPublishersClaimTheFirstCounts() {
        var (first, second) = (order(1, by: 7), order(1, by: 7))
        (first.publisher, second.publisher) = (TestPublishers.other.name, TestPublishers.partner.name)
        #expect(decided([first, second], two).decisions.outcomes == [.reserved, .none])
    }
}

extension ReservationServiceTests {
    func place(_ order: OrderPlaced, _ service: Service, as signer: PublisherKey?) async throws {
        try await service.publish(
            .orders, key: order.buyerId, id: order.orderId.description, order, signedBy: signer)
    }

    func cancel(_ order: OrderPlaced, _ service: Service, as signer: PublisherKey?) async throws {
        try await service.publish(
            .orders, key: order.buyerId, id: "\(order.orderId)/cancelled",
            OrderCancelled(orderId: order.orderId, saleId: order.saleId, buyerId: order.buyerId), signedBy: signer)
    }

    @Test func everyAnswerSaysWhoPlacedTheOrderToTheEndOfItsLife() async throws {
        let service = try await Service.start(ReservationService.self)
        let sale = sale(units: 3, waitlist: 1)
        try await service.publish(.sales, key: sale.saleId, sale)
        let signers: [PublisherKey?] = [TestPublishers.messaging, TestPublishers.partner, nil]
        var expected: [OrderID: PublisherName?] = [:]
        var orders: [OrderPlaced] = []
        for signer in signers {
            let order = order(sale)
            expected[order.orderId] = .some(signer?.name)
            orders.append(order)
            try await place(order, service, as: signer)
        }
        let reserved = try await service.events(OrderReserved.self, on: .reservations, count: 3)
        for line in reserved.map(\.line) { #expect(line.publisher == expected[line.orderId]) }
        // One waits, one gets nothing, and what is let go makes the one that waits a new holder.
        let waiting = order(sale)
        try await place(waiting, service, as: TestPublishers.partner)
        let waitlisted = try await service.events(OrderWaitlisted.self, on: .reservations, count: 1)
        #expect(waitlisted.map(\.line.publisher) == [TestPublishers.partner.name])
        let last = order(sale)
        try await place(last, service, as: TestPublishers.other)
        let rejected = try await service.events(OrderRejected.self, on: .reservations, count: 1)
        #expect(rejected.map(\.line.publisher) == [TestPublishers.other.name])
        try await cancel(orders[0], service, as: TestPublishers.messaging)
        let released = try await service.events(OrderReleased.self, on: .reservations, count: 1)
        #expect(released.map(\.line.publisher) == [.messaging])
        let promoted = try await service.events(OrderReserved.self, on: .reservations, count: 4)
        #expect(promoted.filter(\.promoted).map(\.line.publisher) == [TestPublishers.partner.name])
        for order in reserved where order.line.orderId != orders[0].orderId { try await pay(order, service) }
        let confirmed = try await service.events(OrderConfirmed.self, on: .reservations, count: 2)
        for line in confirmed.map(\.line) { #expect(line.publisher == expected[line.orderId]) }
        await service.stop()
    }

    @Test func aClaimThatIsNotProvenIsADeadLetterAndStopsNothing() async throws {
        let service = try await Service.start(ReservationService.self)
        let sale = sale(units: 50)
        try await service.publish(.sales, key: sale.saleId, sale)
        let buyer = AccountID.random()
        let good = order(sale, by: buyer)
        let proof = TestPublishers.partner.proof(
            type: OrderPlaced.type.utf8, id: good.orderId.description.utf8, key: buyer.textBytes,
            value: JSONWriter.document(good))
        func record(_ order: OrderPlaced, _ id: OrderID? = nil, key: AccountID? = nil, proof: [UInt8]) -> RecordBatch {
            var batch = RecordBatch()
            batch.append(
                topic: Topic.orders.name, key: (key ?? order.buyerId).textBytes, value: JSONWriter.document(order),
                headers: [
                    ("ce_specversion", Array("1.0".utf8)), ("ce_id", (id ?? order.orderId).textBytes),
                    ("ce_type", Array(OrderPlaced.type.utf8)), ("content-type", Array("application/json".utf8)),
                    ("\(PublisherKey.header)", proof),
                ])
            return batch
        }
        // Another order and another ID under a proof that was seen, and claims of those who cannot make them.
        try await service.producer.send(record(order(sale, by: buyer), proof: proof))
        try await service.producer.send(record(good, .random(), proof: proof))
        try await service.producer.send(record(good, proof: Array("partner:".utf8)))
        try await service.producer.send(record(good, proof: []))
        for signer in [TestPublishers.unknown, TestPublishers.impostor] {
            try await place(order(sale, by: buyer), service, as: signer)
            try await cancel(order(sale, by: buyer), service, as: signer)
        }
        try await service.producer.send(record(good, proof: proof))
        let reserved = try await service.events(OrderReserved.self, on: .reservations, count: 1)
        #expect(reserved.map(\.line.orderId) == [good.orderId])
        #expect(reserved.map(\.line.publisher) == [TestPublishers.partner.name])
        let dead = try await service.records(of: Topic.orders.deadLetters) { $0.count >= 8 }
        let reasons = dead.map { String(decoding: $0.header("stampede-dead-reason") ?? ByteView([]), as: UTF8.self) }
        #expect(reasons.count == 8 && reasons.allSatisfy { $0.contains("stampede-published-by") }, "\(reasons)")
        await service.stop()
    }

    @Test func nobodyCancelsAnothersOrderBeforeItBehindItOrAfterARestart() async throws {
        let service = try await Service.start(ReservationService.self)
        let sale = sale(units: 9)
        try await service.publish(.sales, key: sale.saleId, sale)
        let strangers: [PublisherKey?] = [nil, TestPublishers.other]
        let (early, late) = (order(sale), order(sale))
        for stranger in strangers { try await cancel(early, service, as: stranger) }
        // Many of them do not put the publisher's own out of mind.
        let own = order(sale, by: early.buyerId)
        try await cancel(own, service, as: TestPublishers.partner)
        for _ in 0..<Int(EarlyCancellationStatements.buyerMax) {
            try await cancel(order(sale, by: early.buyerId), service, as: nil)
        }
        try await until(
            service, "SELECT count(*) FROM early_cancellations WHERE publisher = ''",
            is: EarlyCancellationStatements.buyerMax)
        try await until(service, "SELECT count(*) FROM early_cancellations WHERE publisher <> ''", is: 2)
        try await service.restart()
        try await place(own, service, as: TestPublishers.partner)
        let taken = try await service.events(OrderReleased.self, on: .reservations, count: 1)
        #expect(taken.map(\.line.orderId) == [own.orderId])
        try await place(early, service, as: TestPublishers.partner)
        try await place(late, service, as: TestPublishers.partner)
        let reserved = try await service.events(OrderReserved.self, on: .reservations, count: 2)
        #expect(Set(reserved.map(\.line.orderId)) == [early.orderId, late.orderId])
        // Nor does the keeper, who looks for orders whose cancellations were missed, take strangers at their word.
        try await until(service, "SELECT count(*) FROM early_cancellations WHERE NOT settled", is: 0)
        for stranger in strangers { try await cancel(late, service, as: stranger) }
        // Behind those in their partition: what it says comes after all that they would have said.
        try await cancel(late, service, as: TestPublishers.partner)
        let released = try await service.events(OrderReleased.self, on: .reservations, count: 2)
        #expect(released.map(\.line.orderId).contains(late.orderId))
        #expect(released.first { $0.line.orderId == late.orderId }?.line.orderRevision == 2)
        await service.stop()
    }

    @Test(arguments: [("partner=\(String(repeating: "ab", count: 32))", "messaging"), ("messaging=abc", "64")])
    func publishersThatCannotBeAreAMistakeOfTheConfiguration(text: String, part: String) async throws {
        let error = await #expect(throws: (any Error).self) {
            try await Service.start(ReservationService.self, environment: ["STAMPEDE_PUBLISHERS": text])
        }
        let said = error.map { "\($0)" } ?? ""
        #expect(said.contains("STAMPEDE_PUBLISHERS") && said.contains(part) && !said.contains("abab"), "\(said)")
    }
}
