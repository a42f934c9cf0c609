// Payments on their topic, holds that run out, and how an order ends.
import JSON
import Kafka
import Models
import Postgres
import TestSupport
import Testing

@testable import ReservationCore

extension ReservationServiceTests {
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

    @Test func aHoldThatRunsOutIsReleasedAndAPaymentThatComesLaterGoesBack() async throws {
        let service = try await Service.start(ReservationService.self)
        let sale = sale(units: 1, holdSeconds: 1)
        try await service.publish(.sales, key: sale.saleId, sale)
        try await place([order(sale)], service)
        let reserved = try await service.events(OrderReserved.self, on: .reservations, count: 1)
        let released = try await service.events(OrderReleased.self, on: .reservations, count: 1)
        #expect(released.map(\.reason) == [.expired])
        try await pay(reserved[0], service)
        let late = try await service.events(OrderReleased.self, on: .reservations, count: 2)
        #expect(late.map(\.reason).contains(.paidTooLate))
        #expect(late.map(\.line.orderRevision) == [2, 3])
        // The unit is free again, for one more.
        try await place([order(sale)], service)
        _ = try await service.events(OrderReserved.self, on: .reservations, count: 2)
        await service.stop()
    }

    @Test func whatIsNotPaidGoesToWhoeverHasWaitedLongest() async throws {
        let service = try await Service.start(ReservationService.self)
        let sale = sale(units: 1, waitlist: 2)
        try await service.publish(.sales, key: sale.saleId, sale)
        let (first, second, third) = (order(sale), order(sale), order(sale))
        try await place([first], service)
        _ = try await service.events(OrderReserved.self, on: .reservations, count: 1)
        try await place([second], service)
        _ = try await service.events(OrderWaitlisted.self, on: .reservations, count: 1)
        try await place([third], service)
        _ = try await service.events(OrderWaitlisted.self, on: .reservations, count: 2)
        try await service.publish(
            .payments, key: first.buyerId,
            PaymentFailed(
                orderId: first.orderId, saleId: sale.saleId, buyerId: first.buyerId, brandId: brand,
                reason: .insufficientFunds))
        let reserved = try await service.events(OrderReserved.self, on: .reservations, count: 2)
        #expect(reserved.first { $0.promoted }?.line.orderId == second.orderId)
        let released = try await service.events(OrderReleased.self, on: .reservations, count: 1)
        #expect(released.map(\.reason) == [.paymentFailed])
        // The second takes the order back: the third is next.
        try await service.publish(
            .orders, key: second.buyerId,
            OrderCancelled(orderId: second.orderId, saleId: sale.saleId, buyerId: second.buyerId))
        let all = try await service.events(OrderReserved.self, on: .reservations, count: 3)
        #expect(all.contains { $0.promoted && $0.line.orderId == third.orderId })
        await service.stop()
    }
}

extension StockKeeperTests {
    @Test func whoeverEndsOrdersLocksThemByTheirIDs() async throws {
        let service = try await Service.start(ReservationService.self)
        let postgres = try service.database.pool("reservation")
        let shelf = try await Shelf(service, units: 2, waitlist: 0)
        let ids = [try await shelf.order(), try await shelf.order()].map(\.orderId).sorted()
        _ = try await postgres.transaction { transaction in
            _ = try await transaction.query("SELECT FROM orders WHERE order_id = \(ids[0]) FOR UPDATE")
            let other = Task {
                try await postgres.transaction { other in
                    try await other.query(SettlementStatements.lock([ids[1], ids[0]])).count
                }
            }
            try await until(
                postgres,
                """
                SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'
                """, is: 1)
            // It waits for the first and does not hold the second.
            _ = try await transaction.query("SELECT FROM orders WHERE order_id = \(ids[1]) FOR UPDATE NOWAIT")
            return other
        }.value
        await postgres.close()
        await service.stop()
    }
}
