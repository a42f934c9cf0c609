// One order from its decision to its end: what is said of it, in which order, and when its hold begins.
import JSON
import Kafka
import Models
import Postgres
import ServiceKit
import Synchronization
import TestSupport
import Testing

@testable import ReservationCore

extension ReservationServiceTests {
    func cancel(_ order: OrderPlaced, _ service: Service) async throws {
        try await service.publish(
            .orders, key: order.buyerId,
            OrderCancelled(orderId: order.orderId, saleId: order.saleId, buyerId: order.buyerId))
    }

    @Test func aHoldBeginsWithTheDecisionHoweverLongTheOrderWaited() async throws {
        // Decided a hundred seconds after the broker got it.
        let service = try await Service.start(ReservationService.self, now: { Timestamp.now().adding(seconds: 100) })
        let sale = sale(units: 1, holdSeconds: 600)
        try await service.publish(.sales, key: sale.saleId, sale)
        try await place([order(sale)], service)
        let reserved = try await service.events(OrderReserved.self, on: .reservations, count: 1)
        #expect(reserved[0].holdUntil > Timestamp.now().adding(seconds: 650))
        await service.stop()
    }

    @Test func theEventsOfAnOrderBearTheirPlaceInItsLife() async throws {
        let service = try await Service.start(ReservationService.self)
        let sale = sale(units: 2)
        try await service.publish(.sales, key: sale.saleId, sale)
        let paid = order(sale)
        let unpaid = order(sale)
        try await place([paid, unpaid], service)
        let reserved = try await service.events(OrderReserved.self, on: .reservations, count: 2)
        #expect(reserved.map(\.line.orderRevision) == [1, 1])
        for order in reserved where order.line.orderId == paid.orderId { try await pay(order, service) }
        let confirmed = try await service.events(OrderConfirmed.self, on: .reservations, count: 1)
        #expect(confirmed.map(\.line.orderRevision) == [2])
        try await cancel(paid, service)
        try await cancel(unpaid, service)
        let released = try await service.events(OrderReleased.self, on: .reservations, count: 2)
        #expect(released.first { $0.line.orderId == paid.orderId }?.line.orderRevision == 3)
        #expect(released.first { $0.line.orderId == unpaid.orderId }?.line.orderRevision == 2)
        await service.stop()
    }

    @Test func aPaymentThatIsTooLateIsAnsweredOnceAndOneThatGoesBackAnywayNotAtAll() async throws {
        let service = try await Service.start(ReservationService.self)
        let (sale, other) = (sale(units: 2), sale(units: 2))
        for sale in [sale, other] { try await service.publish(.sales, key: sale.saleId, sale) }
        let (late, refunded) = (order(sale), order(sale))
        let markers = [order(other, by: late.buyerId), order(other, by: refunded.buyerId)]
        try await place([late, refunded] + markers, service)
        let reserved = try await service.events(OrderReserved.self, on: .reservations, count: 4).filter {
            $0.line.saleId == sale.saleId
        }
        for order in reserved where order.line.orderId == refunded.orderId { try await pay(order, service) }
        _ = try await service.events(OrderConfirmed.self, on: .reservations, count: 1)
        try await cancel(late, service)
        try await cancel(refunded, service)
        _ = try await service.events(OrderReleased.self, on: .reservations, count: 2)
        for _ in 0..<2 { for order in reserved { try await pay(order, service) } }
        // Behind them in their partitions: what is said of these comes after all that is said of those.
        for marker in markers {
            try await service.publish(
                .payments, key: marker.buyerId,
                PaymentFailed(
                    orderId: marker.orderId, saleId: other.saleId, buyerId: marker.buyerId, brandId: brand,
                    reason: .insufficientFunds))
        }
        func released(_ records: [ConsumedRecord]) throws -> [OrderReleased] {
            try records.filter { $0.header("ce_type")?.elementsEqual(OrderReleased.type.utf8) == true }.map {
                try JSONParser.parse(Array($0.value ?? ByteView([])), OrderReleased.init(json:))
            }
        }
        let records = try await service.records(of: Topic.reservations.name) {
            (try? released($0).count { $0.reason == .paymentFailed }) == 2
        }
        let tooLate = try released(records).filter { $0.reason == .paidTooLate }
        #expect(tooLate.map(\.line.orderId) == [late.orderId])
        #expect(tooLate.map(\.line.orderRevision) == [3])
        await service.stop()
    }

    @Test func anOrderWhoseCancellationCameFirstEndsWithoutAUnitEvenAfterARestart() async throws {
        let service = try await Service.start(ReservationService.self)
        let sale = sale(units: 1)
        try await service.publish(.sales, key: sale.saleId, sale)
        let (early, other) = (order(sale), order(sale))
        try await cancel(early, service)
        // Not the buyer's own: it says nothing.
        try await service.publish(
            .orders, key: early.buyerId,
            OrderCancelled(orderId: other.orderId, saleId: sale.saleId, buyerId: early.buyerId))
        try await until(service, "SELECT count(*) FROM early_cancellations", is: 2)
        try await service.restart()
        try await place([early, early], service)
        let released = try await service.events(OrderReleased.self, on: .reservations, count: 1)
        #expect(released.map(\.line.orderId) == [early.orderId] && released[0].reason == .cancelled)
        #expect(released[0].line.orderRevision == 1)
        try await place([other], service)
        let reserved = try await service.events(OrderReserved.self, on: .reservations, count: 1)
        #expect(reserved.map(\.line.orderId) == [other.orderId])
        try await until(service, "SELECT count(*) FROM early_cancellations", is: 1)
        await service.stop()
    }

    @Test func aBuyerWhoTakesTheLastUnitBackAndOrdersAnewGetsItThoughAllComesInOneBatch() async throws {
        let service = try await Service.start(ReservationService.self)
        let sale = sale(units: 1)
        try await service.publish(.sales, key: sale.saleId, sale)
        let first = order(sale)
        try await place([first], service)
        _ = try await service.events(OrderReserved.self, on: .reservations, count: 1)
        let (anew, other) = (order(sale, by: first.buyerId), order(sale))
        let cancelled = OrderCancelled(orderId: first.orderId, saleId: sale.saleId, buyerId: first.buyerId)
        var records = RecordBatch()
        func add(_ type: String, _ buyer: AccountID, _ id: String, _ body: [UInt8]) {
            records.append(
                topic: Topic.orders.name, key: buyer.textBytes, value: body,
                headers: [("ce_type", Array(type.utf8)), ("ce_id", Array(id.utf8))], partition: 3)
        }
        add(OrderCancelled.type, first.buyerId, "cancelled", JSONWriter.document(cancelled))
        for order in [anew, other] {
            add(OrderPlaced.type, order.buyerId, "\(order.orderId)", JSONWriter.document(order))
        }
        try await service.producer.send(records)
        let reserved = try await service.events(OrderReserved.self, on: .reservations, count: 2)
        #expect(reserved.last?.line.orderId == anew.orderId)
        let rejected = try await service.events(OrderRejected.self, on: .reservations, count: 1)
        #expect(rejected.map(\.line.orderId) == [other.orderId])
        await service.stop()
    }

    @Test func earlyCancellationsAreBoundedPerBuyerAndInTime() async throws {
        let service = try await Service.start(ReservationService.self)
        let pool = try service.database.pool("reservation")
        try await pool.execute(
            "INSERT INTO early_cancellations SELECT gen_random_uuid(), gen_random_uuid(), now() - interval '8 days'")
        try await service.restart()
        let buyer = AccountID.random()
        let sale = SaleID.random()
        var records = RecordBatch()
        let ids = (0..<150).map { _ in OrderID.random() }
        for id in ids {
            records.append(
                event: OrderCancelled(orderId: id, saleId: sale, buyerId: buyer), topic: .orders, key: buyer.textBytes,
                id: "\(id)/cancelled")
        }
        try await service.producer.send(records)
        // All are applied. Which of those that came in the same millisecond are kept is not said.
        try await until(
            service,
            """
            SELECT coalesce(sum(greatest(next_offset, 0)), 0)::bigint FROM consumer_offsets WHERE processor = 'orders'
            """, is: 150)
        try await until(service, "SELECT count(*) FROM early_cancellations", is: 100)
        await pool.close()
        await service.stop()
    }

    @Test func aBatchOfOrdersAndCancellationsIsOneTransaction() async throws {
        let service = try await Service.start(ReservationService.self)
        let sale = sale(units: 3000, waitlist: 100)
        try await service.publish(.sales, key: sale.saleId, sale)
        let buyer = AccountID.random()
        let first = order(sale, by: buyer)
        try await place([first], service)
        _ = try await service.events(OrderReserved.self, on: .reservations, count: 1)
        await service.stopService()
        // One partition: the buyer's. Taken back and ordered anew; ordered and taken back, a thousand times.
        var records = RecordBatch()
        var buyers: [AccountID] = []
        func append(_ order: OrderPlaced) {
            records.append(event: order, topic: .orders, key: order.buyerId.textBytes, id: "\(order.orderId)")
        }
        func append(cancelled order: OrderPlaced) {
            records.append(
                event: OrderCancelled(orderId: order.orderId, saleId: order.saleId, buyerId: order.buyerId),
                topic: .orders, key: order.buyerId.textBytes, id: "\(order.orderId)/cancelled")
        }
        append(cancelled: first)
        let anew = order(sale, by: buyer)
        append(anew)
        for _ in 0..<1000 {
            let order = order(sale)
            buyers.append(order.buyerId)
            append(order)
            append(cancelled: order)
        }
        try await service.producer.send(records)
        try await service.restart()
        let reserved = try await service.events(OrderReserved.self, on: .reservations, count: 2)
        #expect(reserved.map(\.line.orderId).contains(anew.orderId))
        let released = try await service.events(OrderReleased.self, on: .reservations, count: 1001)
        let firstReleased = released.first { $0.line.orderId == first.orderId }
        #expect(firstReleased?.line.orderRevision == 2)
        #expect(Set(released.map(\.line.buyerId)) == Set(buyers + [buyer]))
        let line = try await line(service, sale) { $0["free"]?.integer == 2999 }
        #expect(line["reserved"]?.integer == 1)
        await service.stop()
    }

    @Test func anOrderThatWasRefusedIsNotDecidedAgainWhateverItSaysAndWhoeverDecides() async throws {
        let service = try await Service.start(ReservationService.self)
        let (full, other) = (sale(units: 1), sale(units: 10))
        for sale in [full, other] { try await service.publish(.sales, key: sale.saleId, sale) }
        try await place([order(full)], service)
        _ = try await service.events(OrderReserved.self, on: .reservations, count: 1)
        let refused = order(full)
        try await place([refused], service)
        _ = try await service.events(OrderRejected.self, on: .reservations, count: 1)
        // The same again, and the same ID for another sale; then by a program that has to read what was refused.
        for turn in 2...3 {
            try await place([refused, order(other, by: refused.buyerId, id: refused.orderId)], service)
            // Behind it in the same partition.
            let marker = order(other, by: refused.buyerId)
            try await place([marker], service)
            let reserved = try await service.events(OrderReserved.self, on: .reservations, count: turn)
            #expect(!reserved.contains { $0.line.orderId == refused.orderId })
            #expect(reserved.contains { $0.line.orderId == marker.orderId })
            try await cancel(marker, service)
            _ = try await service.events(OrderReleased.self, on: .reservations, count: turn - 1)
            try await service.restart()
        }
        func isRefusal(_ record: ConsumedRecord) -> Bool {
            record.header("ce_id")?.elementsEqual("\(refused.orderId)/rejected".utf8) == true
        }
        func isRelease(_ record: ConsumedRecord) -> Bool {
            record.header("ce_type")?.elementsEqual(OrderReleased.type.utf8) == true
        }
        // The last that was answered, and so all before it.
        let answers = try await service.records(of: Topic.reservations.name) { records in
            records.contains(where: isRefusal) && records.filter(isRelease).count == 2
        }
        #expect(answers.filter(isRefusal).count == 1)
        // A cancellation of what was refused is nothing to remember.
        try await cancel(refused, service)
        let last = order(other, by: refused.buyerId)
        try await place([last], service)
        _ = try await service.events(OrderReserved.self, on: .reservations, count: 4)
        try await until(service, "SELECT count(*) FROM early_cancellations", is: 0)
        await service.stop()
    }

    @Test func anOrderOfASaleThatIsPublishedRightBehindOneThatNobodyKnowsIsDecided() async throws {
        let service = try await Service.start(ReservationService.self)
        let buyer = AccountID.random()
        let sale = sale(units: 5)
        let unknown = OrderPlaced(orderId: .random(), saleId: .random(), batch: 1, variant: "mi3", buyerId: buyer)
        try await place([unknown], service)
        _ = try await service.records(of: Topic.orders.deadLetters) { $0.count >= 1 }
        try await service.publish(.sales, key: sale.saleId, sale)
        try await place([order(sale, by: buyer)], service)
        _ = try await service.events(OrderReserved.self, on: .reservations, count: 1)
        await service.stop()
    }

    @Test func moneyForAnOrderThatNeverGotAUnitIsPutAside() async throws {
        let service = try await Service.start(ReservationService.self)
        let sale = sale(units: 1)
        try await service.publish(.sales, key: sale.saleId, sale)
        try await place([order(sale)], service)
        let reserved = try await service.events(OrderReserved.self, on: .reservations, count: 1)[0]
        let line = OrderLine(
            orderId: .random(), saleId: sale.saleId, batch: 1, variant: "mi3", buyerId: reserved.line.buyerId,
            brandId: brand)
        try await pay(OrderReserved(line: line, price: reserved.price, holdUntil: .now(), promoted: false), service)
        try await pay(reserved, service)
        let dead = try await service.records(of: Topic.payments.deadLetters) { $0.count >= 1 }
        #expect(
            dead[0].header("stampede-dead-reason").map { String(decoding: $0, as: UTF8.self) }
                == "orderId: expected an order that got a unit")
        _ = try await service.events(OrderConfirmed.self, on: .reservations, count: 1)
        await service.stop()
    }

    /// Returns when a query gives that number.
    func until(_ service: Service, _ sql: SQL, is expected: Int64) async throws {
        let pool = try service.database.pool("reservation", connectionsMax: 1)
        while try await pool.query(sql).one(Int64.self) != expected { try await Task.sleep(for: .milliseconds(20)) }
        await pool.close()
    }
}

@Suite struct SaleSearchTests {
    @Test func theBrokerIsAskedOnceForAllThatWait() async throws {
        let asked = Mutex(0)
        let search = SaleSearch(now: { Timestamp(seconds: 1000) }) { asked.withLock { $0 += 1 } }
        #expect(!search.isComplete(for: 5, of: 1, at: Timestamp(seconds: 900)))
        try await search.complete(before: 6, of: 1)
        #expect(search.isComplete(for: 5, of: 1, at: Timestamp(seconds: 2000)))
        #expect(!search.isComplete(for: 6, of: 1, at: Timestamp(seconds: 1000)))
        // Older than the question by more than clocks differ: wherever it is.
        #expect(search.isComplete(for: 900, of: 7, at: Timestamp(seconds: 998)))
        try await withThrowingTaskGroup(of: Void.self) { group in
            for partition in 1...8 as ClosedRange<Int32> {
                group.addTask { try await search.complete(before: 100, of: partition) }
            }
            try await group.waitForAll()
        }
        #expect((1...8).allSatisfy { search.isComplete(for: 99, of: $0, at: Timestamp(seconds: 2000)) })
        // The eight share one question; whoever comes while it is asked may need one more.
        #expect((2...3).contains(asked.withLock { $0 }))
    }

    @Test func whatFailsIsAskedAgain() async throws {
        let fails = Mutex(true)
        let search = SaleSearch(now: { Timestamp(seconds: 1000) }) {
            if fails.withLock({ $0 }) { throw Failure() }
        }
        await #expect(throws: Failure.self) { try await search.complete(before: 6, of: 1) }
        #expect(!search.isComplete(for: 5, of: 1, at: Timestamp(seconds: 1000)))
        fails.withLock { $0 = false }
        try await search.complete(before: 6, of: 1)
        #expect(search.isComplete(for: 5, of: 1, at: Timestamp(seconds: 1000)))
    }

    private struct Failure: Error {}
}
