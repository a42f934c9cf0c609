import Foundation
import HTTP
import JSON
import Kafka
import Models
import Postgres
import Security
import TestSupport
import Testing

@testable import MessagingCore

@Suite struct OrderTests {
    private func line(_ order: String, _ sale: Sale, _ buyer: AccountID) throws -> OrderLine {
        OrderLine(
            orderId: try #require(OrderID(order)), saleId: sale.saleId, batch: 1, variant: "mi3-silver-16",
            buyerId: buyer, brandId: sale.brandId)
    }

    @Test func anOrderIsTakenInStoredAndPublished() async throws {
        let chat = try await Chat.shared()
        let (brand, alice) = (try await chat.brand(), try await chat.person("alice"))
        let sale = try await chat.sale(of: brand.id)
        let placed = try await chat.call(.post, "/v1/orders", chat.order(sale.saleId), token: alice.token)
        #expect(placed.status == 202)
        #expect(placed["status"]?.string == "accepted")
        #expect(placed["batch"]?.integer == 1)
        let id = try #require(placed["orderId"]?.string)
        #expect(placed.headers["Location"] == "/v1/orders/\(id)")
        let event = try await chat.find(.orders, OrderPlaced.self) { order, record in
            order.orderId.description == id && record.key.map { Array($0) } == alice.id.textBytes
        }
        #expect(event.buyerId == alice.id)
        #expect(event.variant == "mi3-silver-16")
        // Both prove that the app published them.
        let cancelled = try await chat.call(.post, "/v1/orders/\(id)/cancellation", token: alice.token)
        #expect(cancelled.status == 202)
        let keys = PublisherKeys([TestPublishers.messaging])
        func isProven(_ record: ConsumedRecord) -> Bool {
            record.header(PublisherKey.header).flatMap {
                keys.publisher(
                    proof: $0, type: record.header("ce_type"), id: record.header("ce_id"), key: record.key,
                    value: record.value)
            } == .messaging
        }
        _ = try await chat.find(.orders, OrderPlaced.self) { $0.orderId.description == id && isProven($1) }
        _ = try await chat.find(.orders, OrderCancelled.self) { $0.orderId.description == id && isProven($1) }
        let read = try await chat.call(.get, "/v1/orders/\(id)", token: alice.token)
        #expect(read.body == cancelled.body)
        #expect(try await chat.call(.get, "/v1/orders/\(id)", token: brand.token).status == 200)
        let eve = try await chat.person("eve")
        #expect(try await chat.call(.get, "/v1/orders/\(id)", token: eve.token).status == 404)
    }

    @Test func aVariantIsComparedByItsBytesAndAnIntegerIsOneHoweverItIsWritten() async throws {
        let chat = try await Chat.shared()
        let (brand, alice) = (try await chat.brand(), try await chat.person("alice"))
        let sale = Sale(
            saleId: .random(), brandId: brand.id, productId: .random(),
            title: try #require(LocalizedText(["en": "Noon"])),
            revision: 1, holdSeconds: 120, waitlistMax: 10,
            batches: [
                Sale.Batch(
                    number: 1, opensAt: .distantPast, closesAt: nil,
                    lines: [Sale.Line(variant: "K30-black", units: 10, price: Money(1, .cny))])
            ])
        try await chat.publish(.sales, sale.saleId, sale)
        try await eventually("the sale is known") {
            try await chat.call(.post, "/v1/orders", chat.order(sale.saleId, variant: "none"), token: alice.token)
                .problem
                != "sale-not-found"
        }
        let good = String(
            chat.order(sale.saleId, variant: "K30-black", client: String(repeating: "订", count: 64)).dropLast())
        for (body, field) in [
            (chat.order(sale.saleId, variant: "\u{212a}30-black"), "variant"),
            (chat.order(sale.saleId, variant: #"\u212a30-black"#), "variant"),
            (good + #","batch":1.5}"#, "batch"), (good + #","batch":1,"batch":1}"#, "batch"),
            (good.replacing("订", with: "订单") + "}", "clientOrderId"),
        ] {
            let answer = try await chat.call(.post, "/v1/orders", body, token: alice.token)
            #expect(answer.status == 400 && answer.wrongFields == [field], "\(answer.body)")
        }
        for batch in ["1", "1.0", "1e0", "10E-1"] {
            let answer = try await chat.call(.post, "/v1/orders", good + #","batch":\#(batch)}"#, token: alice.token)
            #expect(answer.status == 202 && answer["batch"]?.integer == 1, "\(answer.body)")
        }
    }

    @Test func theDocumentHasEveryReason() throws {
        let schema = try Repository.yaml("docs/openapi/messaging.yaml").resolve("#/components/schemas/Order")
        let documented = schema?["properties"]?["reason"]?["enum"]?.elements.compactMap(\.string) ?? []
        let said = OrderRejected.Reason.allCases.map(\.rawValue) + OrderReleased.Reason.allCases.map(\.rawValue)
        #expect(Set(documented) == Set(said) && documented.count == Set(said).count)
    }

    @Test func theSameClientOrderIDIsTheSameOrderHoweverOftenItComes() async throws {
        let chat = try await Chat.shared()
        let (brand, alice, bob) = (
            try await chat.brand(), try await chat.person("alice"), try await chat.person("bob")
        )
        let sale = try await chat.sale(of: brand.id)
        let body = chat.order(sale.saleId, client: "mine")
        let answers = try await withThrowingTaskGroup(of: Chat.Answer.self) { group in
            for _ in 0..<20 { group.addTask { try await chat.call(.post, "/v1/orders", body, token: alice.token) } }
            return try await group.reduce(into: []) { $0.append($1) }
        }
        #expect(answers.allSatisfy { $0.status == 202 })
        #expect(Set(answers.compactMap { $0["orderId"]?.string }).count == 1)
        let pool = try chat.pool()
        #expect(try await pool.query("SELECT 1 FROM orders WHERE buyer_id = \(alice.id)").count == 1)
        await pool.close()
        let another = try await chat.call(.post, "/v1/orders", body, token: bob.token)
        #expect(another.status == 202)
        #expect(another["orderId"] != answers[0]["orderId"])
        let other = try await chat.sale(of: brand.id)
        let reused = try await chat.call(
            .post, "/v1/orders", chat.order(other.saleId, client: "mine"), token: alice.token)
        #expect(reused.status == 422)
        #expect(reused.problem == "client-order-id-reused")
    }

    @Test func aSaleThatHasNotOpenedSaysWhen() async throws {
        let chat = try await Chat.shared()
        let (brand, alice) = (try await chat.brand(), try await chat.person("alice"))
        let sale = try await chat.sale(of: brand.id, opensIn: 3600)
        let early = try await chat.call(.post, "/v1/orders", chat.order(sale.saleId), token: alice.token)
        #expect(early.status == 409)
        #expect(early.problem == "sale-not-open")
        #expect(early["opensAt"]?.string == sale.batches[0].opensAt.description)
        let unknown = try await chat.call(.post, "/v1/orders", chat.order(.random()), token: alice.token)
        #expect(unknown.status == 404)
        #expect(unknown.problem == "sale-not-found")
    }

    @Test func anOrderPlacedInTimeIsStillItsAnswerAfterTheSaleIsWithdrawn() async throws {
        let chat = try await Chat.shared()
        let (brand, alice, bob) = (
            try await chat.brand(), try await chat.person("alice"), try await chat.person("bob")
        )
        let sale = try await chat.sale(of: brand.id)
        let body = chat.order(sale.saleId)
        let placed = try await chat.call(.post, "/v1/orders", body, token: alice.token)
        try await chat.withdraw(sale.saleId)
        try await eventually("the sale is withdrawn") {
            try await chat.call(.post, "/v1/orders", chat.order(sale.saleId), token: bob.token).status == 404
        }
        let again = try await chat.call(.post, "/v1/orders", body, token: alice.token)
        #expect(again.status == 202)
        #expect(again["orderId"] == placed["orderId"])
    }

    @Test func anOrderShowsWhatBecameOfIt() async throws {
        let chat = try await Chat.shared()
        let (brand, alice) = (try await chat.brand(), try await chat.person("alice"))
        let sale = try await chat.sale(of: brand.id)
        let placed = try await chat.call(.post, "/v1/orders", chat.order(sale.saleId), token: alice.token)
        let id = try #require(placed["orderId"]?.string)
        let line = try line(id, sale, alice.id)
        func becomes(_ status: String) async throws {
            try await eventually("the order is \(status)") {
                try await chat.call(.get, "/v1/orders/\(id)", token: alice.token)["status"]?.string == status
            }
        }
        try await chat.publish(.reservations, alice.id, OrderWaitlisted(line: line))
        try await becomes("waitlisted")
        let holdUntil = Timestamp.now().adding(seconds: 60)
        try await chat.publish(
            .reservations, alice.id,
            OrderReserved(line: line, price: Money(1, .cny), holdUntil: holdUntil, promoted: true))
        try await becomes("reserved")
        let reserved = try await chat.call(.get, "/v1/orders/\(id)", token: alice.token)
        #expect(reserved["holdUntil"]?.string == holdUntil.description)
        try await chat.publish(.reservations, alice.id, OrderConfirmed(line: line))
        try await becomes("confirmed")
        // What comes late changes nothing; what lies further does.
        try await chat.publish(.reservations, alice.id, OrderWaitlisted(line: line))
        try await chat.publish(.reservations, alice.id, OrderReleased(line: line, reason: .cancelled))
        try await becomes("released")
        try await chat.publish(
            .payments, alice.id,
            PaymentRefunded(
                paymentId: .random(), orderId: line.orderId, saleId: sale.saleId, buyerId: alice.id,
                brandId: brand.id, amount: Money(1, .cny), reason: .cancelled))
        try await becomes("refunded")
        let list = try await chat.call(.get, "/v1/orders", token: alice.token)
        #expect(list.items.compactMap { $0["orderId"]?.string } == [id])
    }

    @Test func ordersFromOutsideAppearOnceTheyHoldSomething() async throws {
        let chat = try await Chat.shared()
        let (brand, alice) = (try await chat.brand(), try await chat.person("alice"))
        let sale = try await chat.sale(of: brand.id)
        let (won, lost) = (OrderID.random(), OrderID.random())
        try await chat.publish(
            .reservations, alice.id, OrderRejected(line: try line(lost.description, sale, alice.id), reason: .soldOut))
        try await chat.publish(
            .reservations, alice.id,
            OrderReserved(
                line: try line(won.description, sale, alice.id), price: Money(1, .cny), holdUntil: .now(),
                promoted: false))
        try await eventually("the order appears") {
            try await chat.call(.get, "/v1/orders/\(won)", token: alice.token).status == 200
        }
        // Same partition, published before: it has been read by now.
        #expect(try await chat.call(.get, "/v1/orders/\(lost)", token: alice.token).status == 404)
    }

    @Test func aRejectionReachesTheOrderThatWasPlacedHere() async throws {
        let chat = try await Chat.shared()
        let (brand, alice) = (try await chat.brand(), try await chat.person("alice"))
        let sale = try await chat.sale(of: brand.id)
        let placed = try await chat.call(.post, "/v1/orders", chat.order(sale.saleId), token: alice.token)
        let id = try #require(placed["orderId"]?.string)
        try await chat.publish(
            .reservations, alice.id, OrderRejected(line: try line(id, sale, alice.id), reason: .soldOut))
        try await eventually("the order is rejected") {
            let order = try await chat.call(.get, "/v1/orders/\(id)", token: alice.token)
            return order["status"]?.string == "rejected" && order["reason"]?.string == "soldOut"
        }
        let late = try await chat.call(.post, "/v1/orders/\(id)/cancellation", token: alice.token)
        #expect(late.status == 409)
        #expect(late.problem == "order-ended")
    }

    @Test func anEventOfAnothersOrderDoesNotTouchIt() async throws {
        let chat = try await Chat.shared()
        let (brand, alice, eve) = (
            try await chat.brand(), try await chat.person("alice"), try await chat.person("eve")
        )
        let sale = try await chat.sale(of: brand.id)
        let placed = try await chat.call(.post, "/v1/orders", chat.order(sale.saleId), token: alice.token)
        let id = try #require(placed["orderId"]?.string)
        try await chat.publish(
            .reservations, alice.id, OrderReleased(line: try line(id, sale, eve.id), reason: .expired))
        try await chat.publish(
            .reservations, alice.id, OrderWaitlisted(line: try line(id, sale, alice.id)))
        try await eventually("the order is waitlisted") {
            try await chat.call(.get, "/v1/orders/\(id)", token: alice.token)["status"]?.string == "waitlisted"
        }
        #expect(try await chat.call(.get, "/v1/orders/\(id)", token: eve.token).status == 404)
    }

    @Test func anOrderIsCancelledOnce() async throws {
        let chat = try await Chat.shared()
        let (brand, alice, eve) = (
            try await chat.brand(), try await chat.person("alice"), try await chat.person("eve")
        )
        let sale = try await chat.sale(of: brand.id)
        let placed = try await chat.call(.post, "/v1/orders", chat.order(sale.saleId), token: alice.token)
        let id = try #require(placed["orderId"]?.string)
        let path = "/v1/orders/\(id)/cancellation"
        #expect(try await chat.call(.post, path, token: eve.token).status == 404)
        let first = try await chat.call(.post, path, token: alice.token)
        #expect(first.status == 202)
        #expect(first["cancellationRequestedAt"]?.string != nil)
        let second = try await chat.call(.post, path, token: alice.token)
        #expect(second["cancellationRequestedAt"] == first["cancellationRequestedAt"])
        let event = try await chat.find(.orders, OrderCancelled.self) { order, _ in order.orderId.description == id }
        #expect(event.buyerId == alice.id)
    }

    @Test func ordersAreListedPageByPageFromTheLast() async throws {
        let chat = try await Chat.shared()
        let (brand, alice) = (try await chat.brand(), try await chat.person("alice"))
        let sale = try await chat.sale(of: brand.id)
        var ids: [String] = []
        for _ in 0..<5 {
            let placed = try await chat.call(.post, "/v1/orders", chat.order(sale.saleId), token: alice.token)
            ids.append(try #require(placed["orderId"]?.string))
        }
        var read: [String] = []
        var cursor = ""
        while true {
            let page = try await chat.call(.get, "/v1/orders?limit=2\(cursor)", token: alice.token)
            read += page.items.compactMap { $0["orderId"]?.string }
            guard let next = page["nextCursor"]?.string else { break }
            cursor = "&cursor=\(next)"
        }
        #expect(read == ids.reversed())
    }
}
