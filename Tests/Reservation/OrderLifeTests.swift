// One order from its decision to its end: what is said of it, in which order, and when its hold begins.
import JSON
import Kafka
import Models
import Postgres
import ServiceKit
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
}
