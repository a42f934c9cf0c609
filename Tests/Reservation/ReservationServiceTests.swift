// The whole service on a real database and broker: what comes in by the topics, what goes out, and where the units are.
import HTTP
import JSON
import Kafka
import Models
import Postgres
import ServiceKit
import TestSupport
import Testing

@testable import ReservationCore

@Suite(.timeLimit(.minutes(5))) struct ReservationServiceTests {
    typealias Service = TestService<ReservationService>
    let brand = BrandID.random()

    /// A sale that is open.
    func sale(units: Int64, waitlist: Int64 = 0, holdSeconds: Int64 = 600, opensAt: Timestamp = .distantPast) -> Sale {
        Sale(
            saleId: .random(), brandId: brand, productId: .random(), title: text("Noon"), revision: 1,
            holdSeconds: holdSeconds, waitlistMax: waitlist,
            batches: [
                Sale.Batch(
                    number: 1, opensAt: opensAt, closesAt: nil,
                    lines: [Sale.Line(variant: "mi3", units: units, price: Money(199_900, .cny))])
            ])
    }

    func text(_ english: String) -> LocalizedText {
        guard let text = LocalizedText(["en": english]) else { preconditionFailure("a text in one language") }
        return text
    }

    func order(_ sale: Sale, by buyer: AccountID = .random(), id: OrderID = .random()) -> OrderPlaced {
        OrderPlaced(orderId: id, saleId: sale.saleId, batch: 1, variant: "mi3", buyerId: buyer)
    }

    func place(_ orders: [OrderPlaced], _ service: Service) async throws {
        for order in orders {
            try await service.publish(.orders, key: order.buyerId, id: order.orderId.description, order)
        }
    }

    func line(_ service: Service, _ sale: Sale, where condition: (DocumentTree) -> Bool) async throws -> DocumentTree {
        let token = try service.token(.person)
        while true {
            let answer = try await service.call(.get, "/v1/stock/\(sale.saleId)", token: token)
            if answer.status == 200, let line = answer["lines"]?.elements.first, condition(line) { return line }
            try await Task.sleep(for: .milliseconds(50))
        }
    }

    func pay(_ reserved: OrderReserved, _ service: Service) async throws {
        let line = reserved.line
        try await service.publish(
            .payments, key: line.buyerId, id: "\(line.orderId)/captured",
            PaymentCaptured(
                paymentId: .random(), orderId: line.orderId, saleId: line.saleId, buyerId: line.buyerId,
                brandId: line.brandId, amount: reserved.price))
    }

    @Test func aSaleSellsEveryUnitOnceSaysSoldOutOnceAndConfirmsWhatIsPaid() async throws {
        let service = try await Service.start(ReservationService.self)
        let sale = sale(units: 30, waitlist: 5)
        try await service.publish(.sales, key: sale.saleId, sale)
        let orders = (0..<100).map { _ in order(sale) }
        try await place(orders + orders.prefix(40), service)
        let reserved = try await service.events(OrderReserved.self, on: .reservations, count: 30)
        let waitlisted = try await service.events(OrderWaitlisted.self, on: .reservations, count: 5)
        let rejected = try await service.events(OrderRejected.self, on: .reservations, count: 65)
        let soldOut = try await service.events(SaleSoldOut.self, on: .reservations, count: 1)
        #expect(reserved.count == 30 && waitlisted.count == 5 && soldOut.count == 1)
        #expect(Set(rejected.map(\.line.orderId)).count == 65)
        #expect(rejected.allSatisfy { $0.reason == .soldOut || $0.reason == .limitReached })
        let answered = reserved.map(\.line.orderId) + waitlisted.map(\.line.orderId) + rejected.map(\.line.orderId)
        #expect(Set(answered) == Set(orders.map(\.orderId)))
        for order in reserved { try await pay(order, service) }
        let line = try await line(service, sale) { $0["sold"]?.integer == 30 }
        #expect(line["free"]?.integer == 0 && line["reserved"]?.integer == 0 && line["waiting"]?.integer == 5)
        #expect(line["soldOutAt"]?.string != nil)
        #expect(try await service.events(OrderConfirmed.self, on: .reservations, count: 30).count == 30)
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

    @Test func supplyThatIsAddedGoesToWhoWaitsFirst() async throws {
        let service = try await Service.start(ReservationService.self)
        let small = sale(units: 1, waitlist: 1)
        try await service.publish(.sales, key: small.saleId, small)
        try await place([order(small)], service)
        _ = try await service.events(OrderReserved.self, on: .reservations, count: 1)
        let waiting = order(small)
        try await place([waiting], service)
        _ = try await service.events(OrderWaitlisted.self, on: .reservations, count: 1)
        let more = Sale(
            saleId: small.saleId, brandId: brand, productId: small.productId, title: small.title, revision: 2,
            holdSeconds: 600, waitlistMax: 1,
            batches: [
                Sale.Batch(
                    number: 1, opensAt: .distantPast, closesAt: nil,
                    lines: [Sale.Line(variant: "mi3", units: 3, price: Money(199_900, .cny))])
            ])
        try await service.publish(.sales, key: more.saleId, id: "2", more)
        let reserved = try await service.events(OrderReserved.self, on: .reservations, count: 2)
        #expect(reserved.contains { $0.promoted && $0.line.orderId == waiting.orderId })
        let line = try await line(service, more) { $0["supply"]?.integer == 3 }
        #expect(line["free"]?.integer == 1)
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

    @Test func theDocumentSaysWhatTheServiceServesAndWhoMayAsk() async throws {
        let service = try await Service.start(ReservationService.self)
        let document = try OpenAPIDocument(service: "reservation")
        #expect(document.problems == [])
        #expect(service.routeProblems == [])
        let path = "/v1/stock/\(SaleID.random())"
        #expect(try await service.call(.get, path).status == 401)
        for token in try service.badTokens() { #expect(try await service.call(.get, path, token: token).status == 401) }
        let token = try service.token(.person)
        #expect(try await service.call(.get, path, token: token).status == 404)
        let wrong = try await service.call(.get, "/v1/stock/x", token: token)
        #expect(wrong.status == 400 && wrong.wrongFields == ["saleId"])
        #expect(try await service.call(.get, "/v1/stock/%00%ff", token: token).status < 500)
        await service.stop()
    }
}
