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
        #expect(try await service.call(.get, "/v1/stock/x", token: token).status == 404)
        #expect(try await service.call(.get, "/v1/stock/%00%ff", token: token).status < 500)
        await service.stop()
    }
}
