// What comes back into a stock: a line that is to be had again, and places on the waitlist.
import JSON
import Kafka
import Models
import Postgres
import ServiceKit
import TestSupport
import Testing

@testable import ReservationCore

extension StockKeeperTests {
    /// Returns when a query gives that number.
    func until(_ postgres: PostgresPool, _ sql: SQL, is expected: Int64) async throws {
        while try await postgres.query(sql).first?.get(0) != expected { try await Task.sleep(for: .milliseconds(20)) }
    }

    func withdraw(_ sale: SaleID, _ service: Service) async throws {
        var tombstone = RecordBatch()
        tombstone.append(topic: Topic.sales.name, key: sale.textBytes, value: nil, headers: [])
        try await service.producer.send(tombstone)
    }

    @Test func whateverComesBackAfterSoldOutIsSaidAndSoIsItsEnd() async throws {
        let clock = MovedClock()
        let service = try await Service.start(ReservationService.self, now: { clock.now })
        var shelves: [Shelf] = []
        for _ in 0..<5 { shelves.append(try await Shelf(service, units: 1, waitlist: 0)) }
        _ = try await shelves[0].order()
        // What comes back before it was said to be sold out is not said to be available either.
        _ = try await service.events(SaleSoldOut.self, on: .reservations, count: 1)
        clock.move(bySeconds: 606)
        _ = try await service.events(SaleAvailable.self, on: .reservations, count: 1)
        var orders: [OrderPlaced] = []
        for shelf in shelves.dropFirst() { orders.append(try await shelf.order()) }
        _ = try await service.events(SaleSoldOut.self, on: .reservations, count: 5)
        try await shelves[1].fail(orders[0])
        try await shelves[2].cancel(orders[1])
        try await service.publish(
            .payments, key: orders[2].buyerId,
            PaymentCaptured(
                paymentId: .random(), orderId: orders[2].orderId, saleId: shelves[3].saleId,
                buyerId: orders[2].buyerId, brandId: shelves[3].brandId, amount: Money(199_900, .cny)))
        _ = try await service.events(OrderConfirmed.self, on: .reservations, count: 1)
        try await shelves[3].cancel(orders[2])
        try await shelves[4].publish(revision: 2, units: 2, waitlist: 0)
        let available = try await service.events(SaleAvailable.self, on: .reservations, count: 5)
        #expect(Set(available.map(\.saleId)) == Set(shelves.map(\.saleId)))
        #expect(available.allSatisfy { $0.lineRevision == 2 && $0.batch == 1 && $0.variant == "mi3" })
        for shelf in shelves { try await shelf.order() }
        let soldOut = try await service.events(SaleSoldOut.self, on: .reservations, count: 10)
        #expect(soldOut.count == 10)
        for (index, shelf) in shelves.enumerated() {
            let said = soldOut.filter { $0.saleId == shelf.saleId }
            #expect(Set(said.map(\.lineRevision)) == [1, 3])
            #expect(Set(said.map(\.units)) == (index == 4 ? [1, 2] : [1]))
        }
        await service.stop()
    }

    @Test func whatComesBackForWhoWaitsIsNotSaidToBeAvailable() async throws {
        let service = try await Service.start(ReservationService.self)
        let postgres = try service.database.pool("reservation")
        let shelf = try await Shelf(service, units: 1, waitlist: 1)
        let (first, second) = (try await shelf.order(), try await shelf.order())
        _ = try await service.events(SaleSoldOut.self, on: .reservations, count: 1)
        try await shelf.fail(first)
        _ = try await promotion(of: second, service)
        // Looked at, and nothing was left.
        try await until(postgres, "SELECT count(*) FROM stock WHERE NOT returned AND sold_out_at IS NOT NULL", is: 1)
        try await shelf.fail(second)
        let available = try await service.events(SaleAvailable.self, on: .reservations, count: 1)
        #expect(available.map(\.lineRevision) == [2])
        #expect(try await service.events(SaleSoldOut.self, on: .reservations, count: 1).count == 1)
        await postgres.close()
        await service.stop()
    }

    @Test func whatAnOlderVersionTookBackIsFoundAtTheStart() async throws {
        let service = try await Service.start(ReservationService.self)
        let postgres = try service.database.pool("reservation")
        let shelf = try await Shelf(service, units: 2, waitlist: 0)
        for _ in 0..<2 { try await shelf.order() }
        _ = try await service.events(SaleSoldOut.self, on: .reservations, count: 1)
        await service.stopService()
        try await postgres.execute(
            "UPDATE orders SET state = \(OrderState.released) WHERE ctid = (SELECT min(ctid) FROM orders)")
        try await postgres.execute("UPDATE stock SET pool = 1")
        try await service.restart()
        _ = try await service.events(SaleAvailable.self, on: .reservations, count: 1)
        await postgres.close()
        await service.stop()
    }

    @Test func aCancellationIsNotSettledBeforeADecisionHasEndedThatBeganBesideIt() async throws {
        let service = try await Service.start(ReservationService.self)
        // Nobody else gives numbers to this database's transactions.
        await service.stopService()
        let postgres = try service.database.pool("reservation")
        let cancellation = CancellationInLog(
            order: OrderOfBuyer(orderId: .random(), buyerId: .random()), time: .now(), offset: 0)
        let open: SQL = "SELECT count(*) FROM early_cancellations WHERE NOT settled"
        try await postgres.transaction { decision in
            try await postgres.transaction { other in
                _ = try await other.query(EarlyCancellationStatements.beginDecision)
                // Its number is the next, so it runs on beyond all that have ended.
                _ = try await decision.query(EarlyCancellationStatements.beginDecision)
                other.finish(EarlyCancellationStatements.remember([cancellation]))
            }
            for _ in 0..<3 { _ = try await postgres.execute(EarlyCancellationStatements.settle) }
            #expect(try await postgres.query(open).first?.get(0) == 1 as Int64)
        }
        while try await postgres.query(open).first?.get(0) != 0 as Int64 {
            _ = try await postgres.execute(EarlyCancellationStatements.settle)
        }
        await postgres.close()
        await service.stop()
    }

    @Test func placesFollowWhoLeavesThemAndTheLimitOfTheSale() async throws {
        let service = try await Service.start(ReservationService.self)
        let postgres = try service.database.pool("reservation")
        let shelf = try await Shelf(service, units: 1, waitlist: 5)
        // Made shorter before anybody came.
        try await shelf.publish(revision: 2, units: 1, waitlist: 1)
        try await until(postgres, "SELECT places FROM stock WHERE revision = 2", is: 1)
        let (_, second) = (try await shelf.order(), try await shelf.order())
        _ = try await event(OrderWaitlisted.self, of: second, service, where: \.line)
        // Who waits leaves, the next takes the place, and there is none for the one after: all in one batch.
        let next = [AccountID.random(), .random()].map {
            OrderPlaced(orderId: .random(), saleId: shelf.saleId, batch: 1, variant: "mi3", buyerId: $0)
        }
        var records = RecordBatch()
        func add(_ event: some EventPayload, _ type: String, _ buyer: AccountID, _ id: String) {
            records.append(
                topic: Topic.orders.name, key: buyer.textBytes, value: JSONWriter.document(event),
                headers: [("ce_type", Array(type.utf8)), ("ce_id", Array(id.utf8))], partition: 5)
        }
        add(
            OrderCancelled(orderId: second.orderId, saleId: shelf.saleId, buyerId: second.buyerId),
            OrderCancelled.type, second.buyerId, "\(second.orderId)/cancelled")
        for order in next { add(order, OrderPlaced.type, order.buyerId, "\(order.orderId)") }
        try await service.producer.send(records)
        _ = try await event(OrderWaitlisted.self, of: next[0], service, where: \.line)
        #expect(try await event(OrderRejected.self, of: next[1], service, where: \.line).reason == .soldOut)
        try await shelf.publish(revision: 3, units: 1, waitlist: 2)
        try await until(postgres, "SELECT revision FROM stock", is: 3)
        let last = try await shelf.order()
        _ = try await event(OrderWaitlisted.self, of: last, service, where: \.line)
        await postgres.close()
        await service.stop()
    }
}
