// Orders and cancellations on their topic, and what is answered.
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

    /// Returns when a query gives that number.
    func until(_ service: Service, _ sql: SQL, is expected: Int64) async throws {
        let pool = try service.database.pool("reservation", connectionsMax: 1)
        while try await pool.query(sql).one(Int64.self) != expected { try await Task.sleep(for: .milliseconds(20)) }
        await pool.close()
    }

    @Test func theSameBuyerGetsOneUnitThoughTheOrdersComeByDifferentPartitions() async throws {
        let service = try await Service.start(ReservationService.self)
        let sale = sale(units: 50)
        try await service.publish(.sales, key: sale.saleId, sale)
        let buyer = AccountID.random()
        var records = RecordBatch()
        for partition in 0..<Topic.orders.partitions {
            let order = order(sale, by: buyer)
            records.append(
                topic: Topic.orders.name, key: buyer.textBytes, value: JSONWriter.document(order),
                headers: [("ce_type", Array(OrderPlaced.type.utf8)), ("ce_id", Array("\(order.orderId)".utf8))],
                partition: partition)
        }
        try await service.producer.send(records)
        let rejected = try await service.events(OrderRejected.self, on: .reservations, count: 11)
        #expect(rejected.allSatisfy { $0.reason == .limitReached })
        #expect(try await service.events(OrderReserved.self, on: .reservations, count: 1).count == 1)
        await service.stop()
    }

    @Test func ordersBeforeNoonAreRefusedAndStayRefusedWhenTheyComeAgain() async throws {
        let service = try await Service.start(ReservationService.self)
        let noon = Timestamp.now().adding(seconds: 4)
        let sale = sale(units: 5, opensAt: noon)
        try await service.publish(.sales, key: sale.saleId, sale)
        let early = order(sale)
        try await place([early], service)
        let rejected = try await service.events(OrderRejected.self, on: .reservations, count: 1)
        #expect(rejected.map(\.reason) == [.notOpen])
        while Timestamp.now() <= noon.adding(milliseconds: 10) { try await Task.sleep(for: .milliseconds(50)) }
        try await place([early], service)
        let other = order(sale)
        try await place([other], service)
        let reserved = try await service.events(OrderReserved.self, on: .reservations, count: 1)
        #expect(reserved.map(\.line.orderId) == [other.orderId])
        await service.stop()
    }

    @Test func whatIsNoOrderOfASaleGoesToTheDeadLetters() async throws {
        let service = try await Service.start(ReservationService.self)
        let sale = sale(units: 5)
        try await service.publish(.sales, key: sale.saleId, sale)
        let good = order(sale)
        let unknownSale = OrderPlaced(
            orderId: .random(), saleId: .random(), batch: 1, variant: "mi3", buyerId: .random())
        let unknownVariant = OrderPlaced(
            orderId: .random(), saleId: sale.saleId, batch: 1, variant: "mi4", buyerId: .random())
        let nameless = order(sale, id: OrderID(high: 0, low: 0))
        try await place([unknownSale, unknownVariant, nameless], service)
        try await service.publish(.orders, key: AccountID.random(), good)
        try await place([order(sale)], service)
        let dead = try await service.records(of: Topic.orders.deadLetters) { $0.count >= 4 }
        let reasons = dead.map { record in
            record.header("stampede-dead-reason").map { String(decoding: $0, as: UTF8.self) } ?? ""
        }
        #expect(reasons.contains { $0.contains("published sale") })
        #expect(reasons.contains { $0.contains("variant that the sale offers") })
        #expect(reasons.contains { $0.contains("buyer's ID as the key") })
        #expect(reasons.contains { $0.contains("orderId: expected a UUID that is not nil") })
        _ = try await service.events(OrderReserved.self, on: .reservations, count: 1)
        await service.stop()
    }

    /// As partners spell orders: what is right is decided, what is wrong goes to the dead letters, and the partition goes on.
    @Test func everySpellingOfAnOrderIsDecidedOrDeadAndThePartitionGoesOn() async throws {
        let service = try await Service.start(ReservationService.self)
        let sale = Sale(
            saleId: .random(), brandId: brand, productId: .random(), title: text("Noon"), revision: 1, holdSeconds: 600,
            waitlistMax: 0,
            batches: [
                Sale.Batch(
                    number: 1, opensAt: .distantPast, closesAt: nil,
                    lines: [Sale.Line(variant: "K30-black", units: 50, price: Money(199_900, .cny))])
            ])
        try await service.publish(.sales, key: sale.saleId, sale)
        let right = [
            #""batch":1,"variant":"K30-black""#, #""batch":1.0,"variant":"K30-black""#,
            #""batch":10e-1,"variant":"\u004b30-black""#,
            #""batch":1,"variant":"K30-black","partnerRef":123456789012345678901234567890"#,
            #""batch":1,"variant":"K30-black","note":"thanks \ud83d","deep":[[[{"a":1e999}]]]"#,
        ]
        let wrong = [
            (#""batch":1,"variant":"\u212a30-black""#, "variant: expected 1 to 64 letters"),
            (#""batch":1,"variant":"K30-black\ud83d""#, "variant: expected"),
            (#""batch":1.5,"variant":"K30-black""#, "batch: expected an integer"),
            (#""batch":1,"batch":1,"variant":"K30-black""#, "batch: expected one member of this name"),
            (#""batch":1,"variant":"K30-black","note":1,"note":2"#, "note: expected one member of this name"),
            (#""batch":123456789012345678901234567890,"variant":"K30-black""#, "batch: expected an integer"),
        ]
        // All of them in one partition, the wrong ones first.
        var records = RecordBatch()
        var expected: Set<OrderID> = []
        var reasons: [AccountID: String] = [:]
        for (members, reason) in wrong.map({ ($0, Optional($1)) }) + right.map({ ($0, nil) }) {
            let (id, buyer) = (OrderID.random(), AccountID.random())
            if let reason { reasons[buyer] = reason } else { expected.insert(id) }
            let body = #"{"orderId":"\#(id)","saleId":"\#(sale.saleId)","buyerId":"\#(buyer)",\#(members)}"#
            records.append(
                topic: Topic.orders.name, key: buyer.textBytes, value: Array(body.utf8),
                headers: [("ce_type", Array(OrderPlaced.type.utf8)), ("ce_id", Array("\(id)".utf8))], partition: 0)
        }
        try await service.producer.send(records)
        let reserved = try await service.events(OrderReserved.self, on: .reservations, count: right.count)
        #expect(Set(reserved.map(\.line.orderId)) == expected)
        #expect(reserved.allSatisfy { $0.line.variant.utf8.elementsEqual("K30-black".utf8) && $0.line.batch == 1 })
        let dead = try await service.records(of: Topic.orders.deadLetters) { $0.count >= wrong.count }
        for record in dead {
            let reason = record.header("stampede-dead-reason").map { String(decoding: $0, as: UTF8.self) } ?? ""
            let expected = try #require(
                record.key.flatMap { AccountID(text: $0) }.flatMap { reasons.removeValue(forKey: $0) })
            #expect(reason.hasPrefix(expected), "\(reason)")
        }
        #expect(reasons.isEmpty)
        await service.stop()
    }
}

extension StockKeeperTests {
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
            _ = try await transaction.query(EarlyCancellationStatements.beginDecision)
            try await shelf.cancel(order)
            try await looked(at: order)
            // Looked at a second time, too.
            try await shelf.cancel(later)
            try await looked(at: later)
            _ = try await transaction.pipeline([
                """
                INSERT INTO orders (order_id, sale_id, buyer_id, batch, variant, state, log_partition, log_offset,
                    ordered_at, hold_until)
                VALUES (\(order.orderId), \(shelf.saleId), \(order.buyerId), 1, 'mi3', \(OrderState.reserved), 99, 1,
                    now(), now() + interval '1 hour')
                """,
                "UPDATE stock SET pool = pool - 1",
            ])
        }
        let released = try await release(of: order, service)
        #expect(released.reason == .cancelled && released.line.orderRevision == 2)
        try await until(postgres, "SELECT pool FROM stock", is: 1)
        try await until(postgres, "SELECT count(*) FROM early_cancellations WHERE NOT settled", is: 0)
        #expect(try await state(of: order, postgres) == .released)
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
        // Plans as the service does, whatever the server learns of its tables.
        var options = TestDatabase.patientOptions
        options.findsByIndex = true
        let postgres = try service.database.pool("reservation", connectionsMax: 1, options: options)
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
                let situation = try await Situation(
                    of: [key], partition: 1, orders: orders, cancellations: [], transaction)
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
            SELECT gen_random_uuid(), gen_random_uuid(), gen_random_uuid(), 1, 'mi3',
                CASE n % 2 WHEN 0 THEN \(OrderState.confirmed) ELSE \(OrderState.released) END, 1, n, now()
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
        for table in ["orders", "refusals"] { try await postgres.execute("ANALYZE \(identifier: table)") }
        #expect(try await read() < 50)
        // Read once by whoever takes the partition over, however many there are.
        let refused = try RefusalStatements.runRow.all(try await postgres.query(RefusalStatements.last(of: 1)))
            .joined().count
        #expect((RefusedMemory.countMin..<RefusedMemory.countMin + 100).contains(refused))
        await postgres.close()
        await service.stop()
    }
}
