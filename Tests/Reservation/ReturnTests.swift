// What comes back, and what is over: a line that is to be had again, a sale that is withdrawn, a cancellation that its order
// did not see, what is forgotten, and what all of that costs.
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
    private func until(_ postgres: PostgresPool, _ sql: SQL, is expected: Int64) async throws {
        while try await postgres.query(sql).first?.get(0) != expected { try await Task.sleep(for: .milliseconds(20)) }
    }

    private func withdraw(_ sale: SaleID, _ service: Service) async throws {
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
        try await postgres.execute("UPDATE orders SET state = 4 WHERE ctid = (SELECT min(ctid) FROM orders)")
        try await postgres.execute("UPDATE stock SET pool = 1")
        try await service.restart()
        _ = try await service.events(SaleAvailable.self, on: .reservations, count: 1)
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

    @Test func aCancellationThatItsOrderDidNotSeeEndsItAllTheSame() async throws {
        let service = try await Service.start(ReservationService.self)
        let postgres = try service.database.pool("reservation")
        let shelf = try await Shelf(service, units: 1, waitlist: 0)
        try await until(postgres, "SELECT count(*) FROM stock", is: 1)
        func order() -> OrderPlaced {
            OrderPlaced(orderId: .random(), saleId: shelf.saleId, batch: 1, variant: "mi3", buyerId: .random())
        }
        let (order, later) = (order(), order())
        func looked(at order: OrderPlaced) async throws {
            try await until(
                postgres,
                """
                SELECT count(*) FROM early_cancellations WHERE order_id = \(order.orderId) AND missed_below IS NOT NULL
                """, is: 1)
        }
        // The decision of another partition: it looks for cancellations, one is put down, it keeps what it decided.
        try await postgres.transaction { transaction in
            _ = try await transaction.query(EarlyCancellations.beginDecision)
            try await shelf.cancel(order)
            try await looked(at: order)
            // Looked at a second time, too.
            try await shelf.cancel(later)
            try await looked(at: later)
            _ = try await transaction.pipeline([
                """
                INSERT INTO orders (order_id, sale_id, buyer_id, batch, variant, state, log_partition, log_offset,
                    ordered_at, hold_until)
                VALUES (\(order.orderId), \(shelf.saleId), \(order.buyerId), 1, 'mi3', 1, 99, 1, now(),
                    now() + interval '1 hour')
                """,
                "UPDATE stock SET pool = pool - 1",
            ])
        }
        let released = try await release(of: order, service)
        #expect(released.reason == .cancelled && released.line.orderRevision == 2)
        try await until(postgres, "SELECT pool FROM stock", is: 1)
        try await until(postgres, "SELECT count(*) FROM early_cancellations WHERE NOT settled", is: 0)
        #expect(try await state(of: order, postgres) == OrderState.released)
        await postgres.close()
        await service.stop()
    }

    @Test func aCancellationIsNotSettledBeforeADecisionHasEndedThatBeganBesideIt() async throws {
        let service = try await Service.start(ReservationService.self)
        // Nobody else gives numbers to this database's transactions.
        await service.stopService()
        let postgres = try service.database.pool("reservation")
        let early = EarlyCancellations()
        let cancellation = CancellationInLog(
            order: OrderOfBuyer(orderId: .random(), buyerId: .random()), time: .now(), offset: 0)
        let open: SQL = "SELECT count(*) FROM early_cancellations WHERE NOT settled"
        try await postgres.transaction { decision in
            try await postgres.transaction { other in
                _ = try await other.query(EarlyCancellations.beginDecision)
                // Its number is the next, so it runs on beyond all that have ended.
                _ = try await decision.query(EarlyCancellations.beginDecision)
                other.finish(early.keep([cancellation], came: []))
            }
            for _ in 0..<3 { _ = try await early.settle(postgres) }
            #expect(try await postgres.query(open).first?.get(0) == 1 as Int64)
        }
        while try await postgres.query(open).first?.get(0) != 0 as Int64 { _ = try await early.settle(postgres) }
        await postgres.close()
        await service.stop()
    }

    @Test func whoeverEndsOrdersLocksThemByTheirIDs() async throws {
        let service = try await Service.start(ReservationService.self)
        let postgres = try service.database.pool("reservation")
        let shelf = try await Shelf(service, units: 2, waitlist: 0)
        let ids = [try await shelf.order(), try await shelf.order()].map(\.orderId).sorted()
        _ = try await postgres.transaction { transaction in
            _ = try await transaction.query("SELECT FROM orders WHERE order_id = \(ids[0]) FOR UPDATE")
            let other = Task {
                try await postgres.transaction { other in
                    try await SettlementStorage().lock([ids[1], ids[0]], other).count
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

    @Test func ordersOfAWithdrawnSaleAreRejectedAsClosedAndWhatItSoldStaysSold() async throws {
        let service = try await Service.start(ReservationService.self)
        let postgres = try service.database.pool("reservation")
        let shelf = try await Shelf(service, units: 2, waitlist: 0)
        let held = try await shelf.order()
        try await withdraw(shelf.saleId, service)
        try await until(postgres, "SELECT count(*) FROM stock WHERE closes_at < 'infinity'", is: 1)
        func isClosed(_ order: OrderPlaced) async throws -> Bool {
            try await event(OrderRejected.self, of: order, service, where: \.line).reason == .closed
        }
        #expect(try await isClosed(shelf.order()))
        // Published and withdrawn while nobody was here, and one whose tombstone is gone from the topic as well.
        await service.stopService()
        let unseen = try await Shelf(service, units: 1, waitlist: 0)
        try await withdraw(unseen.saleId, service)
        let forgotten = SaleID.random()
        try await postgres.execute(
            """
            INSERT INTO stock (sale_id, batch, variant, brand_id, price, currency, hold_seconds, revision, supply, pool,
                places, places_max)
            VALUES (\(forgotten), 1, 'mi3', gen_random_uuid(), 1, 'CNY', 600, 1, 10, 10, 0, 0)
            """)
        try await service.restart()
        #expect(try await isClosed(shelf.order()))
        #expect(try await isClosed(unseen.order()))
        let order = OrderPlaced(orderId: .random(), saleId: forgotten, batch: 1, variant: "mi3", buyerId: .random())
        try await service.publish(.orders, key: order.buyerId, id: "\(order.orderId)", order)
        #expect(try await isClosed(order))
        // Taken back after the end: its unit is there again, and not to be had.
        try await shelf.cancel(held)
        #expect(try await release(of: held, service).reason == .cancelled)
        try await until(
            postgres,
            """
            SELECT s.pool + (SELECT sum(units) FROM leases l WHERE l.sale_id = s.sale_id)::bigint FROM stock s
            WHERE sale_id = \(shelf.saleId)
            """, is: 2)
        // Published again as it was: open as before.
        try await shelf.publish(revision: 1, units: 2, waitlist: 0)
        try await until(
            postgres, "SELECT count(*) FROM stock WHERE sale_id = \(shelf.saleId) AND closes_at = 'infinity'", is: 1)
        _ = try await event(OrderReserved.self, of: shelf.order(), service, where: \.line)
        let dead = try await KafkaAdmin(service.kafka).describe(topics: [Topic.orders.deadLetters])
        #expect(dead.flatMap(\.partitions).allSatisfy { $0.highWatermark == 0 })
        await postgres.close()
        await service.stop()
    }

    @Test func aBatchCostsTheSameHoweverManySalesCameBefore() async throws {
        let service = try await Service.start(ReservationService.self)
        await service.stopService()
        let postgres = try service.database.pool("reservation", connectionsMax: 1)
        // Of version 4: none is greater than all that came before.
        let orders = (0..<500).map { _ in OrderID(high: .random(in: 0...UInt64.max), low: .random(in: 0...UInt64.max)) }
        let key = StockKey(saleId: .random(), batch: 1, variant: "mi3")
        func read() async throws -> Int64 {
            try await postgres.transaction { transaction in
                // What earlier transactions of the connection have read may still be counted there.
                func counted() async throws -> Int64 {
                    try await transaction.query(
                        """
                        SELECT sum(seq_tup_read + coalesce(idx_tup_fetch, 0))::bigint FROM pg_stat_xact_user_tables
                        WHERE relname IN ('orders', 'refusals', 'early_cancellations', 'stock', 'leases')
                        """
                    ).first?.get(0) ?? 0
                }
                let before = try await counted()
                let situation = try await DecisionStorage().begin(
                    [key], partition: 1, orders: orders, cancellations: [], transaction)
                #expect(situation.decided.isEmpty)
                return try await counted() - before
            }
        }
        // Planned while there was nothing, as before a first noon.
        for _ in 0..<8 { _ = try await read() }
        try await postgres.execute(
            """
            INSERT INTO orders (order_id, sale_id, buyer_id, batch, variant, state, log_partition, log_offset,
                ordered_at)
            SELECT gen_random_uuid(), gen_random_uuid(), gen_random_uuid(), 1, 'mi3', 3 + n % 2, 1, n, now()
            FROM generate_series(1, 20000) AS n
            """)
        try await postgres.execute(
            """
            INSERT INTO refusals (sale_id, batch, variant, log_partition, first_offset, last_offset, reason, order_ids,
                order_id_min, order_id_max)
            SELECT gen_random_uuid(), 1, 'mi3', 1, n, n, 'soldOut', decode(repeat('00', 1600), 'hex'),
                '00000000-0000-0000-0000-000000000000', 'ffffffff-ffff-ffff-ffff-ffffffffffff'
            FROM generate_series(1, 3000) AS n
            """)
        #expect(try await read() < 50)
        // Read once by whoever takes the partition over, however many there are.
        let refused = try await postgres.transaction { try await DecisionStorage().refused(1, $0).count }
        #expect((RefusedMemory.countMin..<RefusedMemory.countMin + 100).contains(refused))
        await postgres.close()
        await service.stop()
    }

    @Test func whatIsLongOverIsForgottenAndWhatWasSoldIsNot() async throws {
        let service = try await Service.start(ReservationService.self)
        let postgres = try service.database.pool("reservation")
        await service.stopService()
        try await postgres.execute(
            """
            INSERT INTO orders (order_id, sale_id, buyer_id, batch, variant, state, log_partition, log_offset,
                ordered_at)
            SELECT gen_random_uuid(), gen_random_uuid(), gen_random_uuid(), 1, 'mi3', state, 1, 1,
                now() - make_interval(days => days)
            FROM unnest(ARRAY[3, 4]) AS state, unnest(ARRAY[89, 91]) AS days
            """)
        try await postgres.execute(
            """
            INSERT INTO refusals (sale_id, batch, variant, log_partition, first_offset, last_offset, reason, order_ids,
                order_id_min, order_id_max, refused_at)
            SELECT gen_random_uuid(), 1, 'mi3', 1, 1, 1, 'soldOut', '', gen_random_uuid(), gen_random_uuid(),
                now() - make_interval(days => days)
            FROM unnest(ARRAY[89, 91]) AS days
            """)
        try await service.restart()
        try await until(postgres, "SELECT count(*) FROM refusals", is: 1)
        try await until(postgres, "SELECT count(*) FROM orders", is: 3)
        #expect(try await postgres.query("SELECT count(*) FROM orders WHERE state = 3").first?.get(0) == Int64(2))
        await postgres.close()
        await service.stop()
    }
}
