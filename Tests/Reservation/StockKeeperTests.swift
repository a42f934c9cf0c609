// What the keeper does by itself: holds that run out, promotions, the end of a waitlist, sold out; each in its turn.
import Kafka
import Models
import Postgres
import ServiceKit
import Synchronization
import TestSupport
import Testing

@testable import ReservationCore

@Suite(.timeLimit(.minutes(5))) struct StockKeeperTests {
    typealias Service = TestService<ReservationService>

    /// The time of day, until it is moved.
    final class MovedClock: Sendable {
        private let ahead = Atomic<Int64>(0)
        var now: Timestamp { .now().adding(seconds: ahead.load(ordering: .relaxed)) }
        func move(bySeconds seconds: Int64) { ahead.add(seconds, ordering: .relaxed) }
    }

    /// A sale of one variant, and the orders that were placed for it.
    final class Shelf: Sendable {
        let service: Service
        let saleId = SaleID.random()
        let brandId = BrandID.random()

        init(
            _ service: Service, units: Int64, waitlist: Int64, closesAt: Timestamp? = nil
        ) async throws {
            self.service = service
            try await publish(revision: 1, units: units, waitlist: waitlist, closesAt: closesAt)
        }

        func publish(revision: Int64, units: Int64, waitlist: Int64, closesAt: Timestamp? = nil) async throws {
            let sale = Sale(
                saleId: saleId, brandId: brandId, productId: .random(),
                title: try #require(LocalizedText(["en": "Noon"])), revision: revision, holdSeconds: 600,
                waitlistMax: waitlist,
                batches: [
                    Sale.Batch(
                        number: 1, opensAt: .distantPast, closesAt: closesAt,
                        lines: [Sale.Line(variant: "mi3", units: units, price: Money(199_900, .cny))])
                ])
            try await service.publish(.sales, key: saleId, id: "\(revision)", sale)
        }

        /// Places an order and returns it once it is answered.
        @discardableResult
        func order() async throws -> OrderPlaced {
            let order = OrderPlaced(
                orderId: .random(), saleId: saleId, batch: 1, variant: "mi3", buyerId: .random())
            try await service.publish(.orders, key: order.buyerId, id: "\(order.orderId)", order)
            _ = try await service.records(of: Topic.reservations.name) { records in
                records.contains { $0.key?.elementsEqual(order.buyerId.textBytes) == true }
            }
            return order
        }

        func fail(_ order: OrderPlaced) async throws {
            try await service.publish(
                .payments, key: order.buyerId,
                PaymentFailed(
                    orderId: order.orderId, saleId: saleId, buyerId: order.buyerId, brandId: brandId,
                    reason: .insufficientFunds))
        }

        func cancel(_ order: OrderPlaced) async throws {
            try await service.publish(
                .orders, key: order.buyerId,
                OrderCancelled(orderId: order.orderId, saleId: saleId, buyerId: order.buyerId))
        }
    }

    /// Reads until the order has been answered with an event of this type.
    func event<Payload: EventPayload>(
        _ type: Payload.Type, of order: OrderPlaced, _ service: Service, where line: (Payload) -> OrderLine,
        which isIt: (Payload) -> Bool = { _ in true }
    ) async throws -> Payload {
        var count = 1
        while true {
            let events = try await service.events(type, on: .reservations, count: count)
            if let event = events.first(where: { line($0).orderId == order.orderId && isIt($0) }) { return event }
            count = events.count + 1
        }
    }

    func promotion(of order: OrderPlaced, _ service: Service) async throws -> OrderReserved {
        try await event(OrderReserved.self, of: order, service, where: \.line) { $0.promoted }
    }

    func release(of order: OrderPlaced, _ service: Service) async throws -> OrderReleased {
        try await event(OrderReleased.self, of: order, service, where: \.line)
    }

    func state(of order: OrderPlaced, _ postgres: PostgresPool) async throws -> OrderState? {
        try await postgres.query("SELECT state FROM orders WHERE order_id = \(order.orderId)").first?.get(0)
    }

    /// What a batch that begins with this order leaves in the outbox until all of it is acknowledged. Its own row is
    /// waited for to be gone.
    func leaveUnsent(_ order: OrderPlaced, _ postgres: PostgresPool) async throws {
        while try await postgres.execute(
            """
            INSERT INTO outbox (stream, sequence, cluster_id, records)
            SELECT 'orders/orders/' || log_partition, log_offset, 'left behind', '' FROM orders
            WHERE order_id = \(order.orderId) ON CONFLICT DO NOTHING
            """) == 0
        {
            try await Task.sleep(for: .milliseconds(50))
        }
    }

    func sendWhatWasLeft(_ postgres: PostgresPool) async throws {
        try await postgres.execute("DELETE FROM outbox WHERE cluster_id = 'left behind'")
    }

    @Test func everyChangeOfAnOrderIsNumberedOneHigherThanTheOneBefore() async throws {
        let clock = MovedClock()
        let service = try await Service.start(ReservationService.self, now: { clock.now })
        let shelf = try await Shelf(service, units: 1, waitlist: 1)
        let (first, second) = (try await shelf.order(), try await shelf.order())
        clock.move(bySeconds: 606)
        let released = try await release(of: first, service)
        #expect(released.reason == .expired && released.line.orderRevision == 2)
        let promoted = try await promotion(of: second, service)
        #expect(promoted.line.orderRevision == 2)
        // By the service's clock, which a test can move, and not the database's.
        #expect(promoted.holdUntil > Timestamp.now().adding(seconds: 1200))
        clock.move(bySeconds: 606)
        let again = try await release(of: second, service)
        #expect(again.reason == .expired && again.line.orderRevision == 3)
        await service.stop()
    }

    @Test func whatTheKeeperSaysOfAnOrderDoesNotOvertakeItsDecision() async throws {
        let clock = MovedClock()
        let service = try await Service.start(ReservationService.self, now: { clock.now })
        let postgres = try service.database.pool("reservation")
        let held = try await Shelf(service, units: 1, waitlist: 1)
        let other = try await Shelf(service, units: 2, waitlist: 3)
        let others = [try await other.order(), try await other.order()]
        let waiting = [try await other.order(), try await other.order(), try await other.order()]
        // The last of the log: nothing that follows in its partition is held back with it.
        let (first, second) = (try await held.order(), try await held.order())
        try await leaveUnsent(second, postgres)
        try await held.fail(first)
        _ = try await release(of: first, service)
        // Two rounds, one after the other: the second began when the first had looked at everything.
        for (gone, next) in zip(others, waiting) {
            try await other.fail(gone)
            _ = try await promotion(of: next, service)
        }
        #expect(try await state(of: second, postgres) == .waitlisted)
        try await sendWhatWasLeft(postgres)
        _ = try await promotion(of: second, service)

        try await leaveUnsent(second, postgres)
        clock.move(bySeconds: 606)
        // Of the other sale: a hold that ran out in one round, and the one that came of it in a later one.
        _ = try await release(of: waiting[0], service)
        _ = try await promotion(of: waiting[2], service)
        clock.move(bySeconds: 606)
        _ = try await release(of: waiting[2], service)
        #expect(try await state(of: second, postgres) == .reserved)
        try await sendWhatWasLeft(postgres)
        #expect(try await release(of: second, service).reason == .expired)
        await postgres.close()
        await service.stop()
    }

    @Test func aStockThatFailsDoesNotKeepTheOthersWaiting() async throws {
        let service = try await Service.start(ReservationService.self)
        let postgres = try service.database.pool("reservation")
        let shelves = [
            try await Shelf(service, units: 1, waitlist: 1), try await Shelf(service, units: 1, waitlist: 1),
            try await Shelf(service, units: 1, waitlist: 1),
        ]
        var first: [OrderPlaced] = []
        var second: [OrderPlaced] = []
        for shelf in shelves {
            first.append(try await shelf.order())
            second.append(try await shelf.order())
        }
        try await postgres.execute("CREATE TABLE poison (order_id uuid)")
        try await postgres.execute("INSERT INTO poison SELECT unnest(\([second[0].orderId, second[1].orderId]))")
        try await postgres.execute(
            """
            CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
                IF EXISTS (SELECT FROM poison p WHERE p.order_id = NEW.order_id) THEN RAISE EXCEPTION 'poison'; END IF;
                RETURN NEW;
            END $$
            """)
        try await postgres.execute(
            "CREATE TRIGGER fail BEFORE UPDATE ON orders FOR EACH ROW EXECUTE FUNCTION fail()")
        for (shelf, order) in zip(shelves, first) { try await shelf.fail(order) }
        _ = try await promotion(of: second[2], service)
        #expect(try await state(of: second[0], postgres) == .waitlisted)
        #expect(try await state(of: second[1], postgres) == .waitlisted)
        try await postgres.execute("DELETE FROM poison")
        _ = try await promotion(of: second[0], service)
        _ = try await promotion(of: second[1], service)
        await postgres.close()
        await service.stop()
    }

    @Test func aRoundCostsWhatIsOpenAndNotWhatEverWas() async throws {
        let service = try await Service.start(ReservationService.self)
        await service.stopService()
        let postgres = try service.database.pool("reservation")
        try await postgres.execute(
            """
            INSERT INTO stock (sale_id, batch, variant, brand_id, price, currency, hold_seconds, revision, supply, pool,
                places, places_max, sold_out_at, closes_at)
            SELECT gen_random_uuid(), 1, 'mi3', gen_random_uuid(), 1, 'CNY', 600, 1, 10, 0, 0, 0,
                CASE WHEN n % 2 = 0 THEN now() - interval '90 days' END, now() - interval '90 days'
            FROM generate_series(1, 20000) AS n
            """)
        try await postgres.execute(
            """
            INSERT INTO orders (order_id, sale_id, buyer_id, batch, variant, state, log_partition, log_offset,
                ordered_at)
            SELECT gen_random_uuid(), sale_id, gen_random_uuid(), batch, variant, 3 + n % 2, 0, n, now()
            FROM stock, generate_series(1, 3) AS n
            """)
        let open = SaleID.random()
        try await postgres.execute(
            """
            INSERT INTO stock (sale_id, batch, variant, brand_id, price, currency, hold_seconds, revision, supply, pool,
                places, places_max)
            VALUES (\(open), 1, 'mi3', gen_random_uuid(), 1, 'CNY', 600, 1, 10, 0, 0, 0)
            """)
        try await postgres.execute("ANALYZE stock")
        try await postgres.execute("ANALYZE orders")
        await postgres.close()
        // A connection of its own: what the former has read may still be counted there.
        let reader = try service.database.pool("reservation")
        let (found, read) = try await reader.transaction { transaction in
            let found = try StockStatements.keyRow.all(
                try await transaction.query(StockStatements.unattended(at: .now())))
            let read: Int64? = try await transaction.query(
                """
                SELECT sum(seq_tup_read + coalesce(idx_tup_fetch, 0))::bigint FROM pg_stat_xact_user_tables
                WHERE relname IN ('stock', 'orders', 'leases')
                """
            ).first?.get(0)
            return (found, read ?? 0)
        }
        #expect(found.map(\.saleId) == [open])
        #expect(read < 50)
        await reader.close()
        await service.stop()
    }

    @Test func supplyThatIsRaisedAfterSoldOutSellsOutOnceMoreAndThatIsSaidAgain() async throws {
        let service = try await Service.start(ReservationService.self)
        let shelf = try await Shelf(service, units: 1, waitlist: 0)
        try await shelf.order()
        _ = try await service.events(SaleSoldOut.self, on: .reservations, count: 1)
        try await shelf.publish(revision: 2, units: 2, waitlist: 0)
        let token = try service.token(.person)
        while true {
            let line = try await service.call(.get, "/v1/stock/\(shelf.saleId)", token: token)["lines"]?.elements.first
            if line?["free"]?.integer == 1 {
                #expect(line?["soldOutAt"] == nil)
                break
            }
            try await Task.sleep(for: .milliseconds(50))
        }
        try await shelf.order()
        let said = try await service.events(SaleSoldOut.self, on: .reservations, count: 2)
        #expect(said[0].soldOutAt < said[1].soldOutAt)
        await service.stop()
    }

    @Test func whoStillWaitsWhenTheBatchClosesIsToldSoAndIsNeverPromoted() async throws {
        let clock = MovedClock()
        let service = try await Service.start(ReservationService.self, now: { clock.now })
        let postgres = try service.database.pool("reservation")
        let shelf = try await Shelf(service, units: 1, waitlist: 2, closesAt: .now().adding(seconds: 3600))
        let (first, second) = (try await shelf.order(), try await shelf.order())
        // The hold ends in the same round in which the batch has closed.
        clock.move(bySeconds: 3700)
        let ended = try await event(OrderRejected.self, of: second, service, where: \.line)
        #expect(ended.reason == .waitlistEnded && ended.line.orderRevision == 2)
        #expect(try await release(of: first, service).reason == .expired)
        #expect(try await state(of: second, postgres) == .released)
        #expect(try await service.events(OrderReserved.self, on: .reservations, count: 1).count == 1)
        let places: Int64? = try await postgres.query(
            """
            SELECT places + (SELECT sum(l.places) FROM leases l WHERE l.sale_id = s.sale_id)::bigint FROM stock s
            """
        ).first?.get(0)
        #expect(places == 2)
        await postgres.close()
        await service.stop()
    }

    @Test func whoWaitsForASaleThatIsWithdrawnIsToldSo() async throws {
        let service = try await Service.start(ReservationService.self)
        let shelf = try await Shelf(service, units: 1, waitlist: 1)
        let (first, second) = (try await shelf.order(), try await shelf.order())
        var tombstone = RecordBatch()
        tombstone.append(topic: Topic.sales.name, key: shelf.saleId.textBytes, value: nil, headers: [])
        try await service.producer.send(tombstone)
        let ended = try await event(OrderRejected.self, of: second, service, where: \.line)
        #expect(ended.reason == .waitlistEnded)
        // What comes free then is nobody's.
        try await shelf.fail(first)
        #expect(try await release(of: first, service).reason == .paymentFailed)
        #expect(try await service.events(OrderReserved.self, on: .reservations, count: 1).count == 1)
        await service.stop()
    }

    @Test func aPlaceOnTheWaitlistIsFreeAgainWhenItsOrderLeavesIt() async throws {
        let service = try await Service.start(ReservationService.self)
        let shelf = try await Shelf(service, units: 1, waitlist: 1)
        let (first, second) = (try await shelf.order(), try await shelf.order())
        let refused = try await shelf.order()
        #expect(try await event(OrderRejected.self, of: refused, service, where: \.line).reason == .soldOut)
        try await shelf.cancel(second)
        #expect(try await release(of: second, service).reason == .cancelled)
        let third = try await shelf.order()
        _ = try await event(OrderWaitlisted.self, of: third, service, where: \.line)
        try await shelf.fail(first)
        _ = try await promotion(of: third, service)
        let fourth = try await shelf.order()
        _ = try await event(OrderWaitlisted.self, of: fourth, service, where: \.line)
        let fifth = try await shelf.order()
        #expect(try await event(OrderRejected.self, of: fifth, service, where: \.line).reason == .soldOut)
        await service.stop()
    }

    @Test func twoKeepersWhoseConnectionsBreakPromoteEverybodyOnceAndLeaveNothingFree() async throws {
        let service = try await Service.start(ReservationService.self)
        let second = try await RunningService.start(
            ReservationService.self,
            environment: [
                "KAFKA_BOOTSTRAP_SERVERS": service.broker.bootstrapServers,
                "STAMPEDE_POSTGRES_DSN": service.database.dsn("reservation"), "STAMPEDE_INSTANCE": "reservation-2",
                "STAMPEDE_LOG_LEVEL": "error", "STAMPEDE_ROOT_KEYS": try TestRoot.keys(),
                "STAMPEDE_PUBLISHERS": TestPublishers.settings["STAMPEDE_PUBLISHERS"] ?? "",
            ])
        let postgres = try service.database.pool("reservation")
        let shelf = try await Shelf(service, units: 20, waitlist: 60)
        var records = RecordBatch()
        for _ in 0..<80 {
            let order = OrderPlaced(
                orderId: .random(), saleId: shelf.saleId, batch: 1, variant: "mi3", buyerId: .random())
            records.append(event: order, topic: .orders, key: order.buyerId.textBytes, id: "\(order.orderId)")
        }
        try await service.producer.send(records)
        var reserved = try await service.events(OrderReserved.self, on: .reservations, count: 20)
        _ = try await service.events(OrderWaitlisted.self, on: .reservations, count: 60)
        var failed: Set<OrderID> = []
        while reserved.count < 80 {
            for order in reserved where failed.insert(order.line.orderId).inserted {
                try await service.publish(
                    .payments, key: order.line.buyerId,
                    PaymentFailed(
                        orderId: order.line.orderId, saleId: shelf.saleId, buyerId: order.line.buyerId,
                        brandId: shelf.brandId, reason: .insufficientFunds))
            }
            try await killConnections(postgres)
            reserved = try await service.events(OrderReserved.self, on: .reservations, count: reserved.count + 1)
        }
        #expect(Set(reserved.map(\.line.orderId)).count == 80 && reserved.count == 80)
        #expect(reserved.filter(\.promoted).count == 60)
        #expect(reserved.allSatisfy { $0.line.orderRevision == ($0.promoted ? 2 : 1) })
        let numbers = try await postgres.query(
            """
            SELECT (SELECT count(*) FROM orders WHERE state = \(OrderState.waitlisted)), (SELECT max(revision) FROM orders)::bigint,
                s.pool + (SELECT sum(units) FROM leases)::bigint
                    + (SELECT count(*) FROM orders
                        WHERE state IN (\(OrderState.reserved), \(OrderState.confirmed))) - s.supply
            FROM stock s
            """)
        #expect(try numbers.first?.get(0) == Int64(0))
        #expect(try numbers.first?.get(2) == Int64(0))
        await second.stop()
        await postgres.close()
        await service.stop()
    }

    /// Breaks what the instances have under way.
    private func killConnections(_ postgres: PostgresPool) async throws {
        try await postgres.execute(
            """
            SELECT pg_terminate_backend(pid) FROM pg_stat_activity
            WHERE datname = current_database() AND usename = current_user AND pid <> pg_backend_pid()
                AND application_name <> 'test'
            """)
    }
}
