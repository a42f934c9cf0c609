// From a reservation on the topic to a payment on the topic, through the running service.
import Foundation
import Kafka
import Models
import TestSupport
import Testing

@testable import PaymentCore

@Suite(.timeLimit(.minutes(5))) struct PaymentEventTests {
    @Test func anAuthorisedOrderIsPaidWhenItIsReserved() async throws {
        let shop = try await Shop.open()
        let buyer = try await shop.openWallet(limit: shop.price, holding: 200_000)
        let order = OrderID.random()
        try await shop.reserve(order, for: buyer)
        let captured = try #require(
            try await shop.service.events(PaymentCaptured.self, on: .payments, count: 1).first)
        #expect(captured.orderId == order && captured.buyerId == buyer && captured.brandId == shop.brand)
        #expect(captured.amount == shop.price && captured.saleId == shop.sale)

        #expect(try await shop.balance(buyer) == 100)
        #expect(try await shop.balance(shop.brand, in: "proceeds") == 199_900)
        for reader in [buyer, shop.brand] {
            let answer = try await shop.service.call(
                .get, "/v1/payments/\(captured.paymentId)", token: shop.service.token(.person, of: reader))
            #expect(answer.status == 200 && answer["state"]?.string == "captured")
            #expect(answer["orderId"]?.string == "\(order)")
        }
        let stranger = try await shop.service.call(
            .get, "/v1/payments/\(captured.paymentId)", token: shop.service.token(.person))
        #expect(stranger.status == 404)
        try await shop.audit()
        await shop.close()
    }

    /// Accounts and reservations are topics of their own: either may be read first.
    @Test func aBrandThatIsPaidBeforeItsAccountIsKnownSeesItsProceeds() async throws {
        let shop = Shop(service: try await TestService.start(PaymentService.self))
        let buyer = try await shop.openWallet(limit: shop.price, holding: 200_000)
        try await shop.reserve(OrderID.random(), for: buyer)
        _ = try await shop.service.events(PaymentCaptured.self, on: .payments, count: 1)
        #expect(try await shop.balance(shop.brand, in: "proceeds") == 199_900)
        #expect(try await shop.balance(shop.brand) == nil)
        await shop.close()
    }

    @Test func eachRecordSaysWhoseItIsAndCanBeRecognisedWhenRepeated() async throws {
        let shop = try await Shop.open()
        let buyer = try await shop.openWallet(limit: shop.price, holding: 200_000)
        let order = OrderID.random()
        try await shop.reserve(order, for: buyer)
        try await shop.release(order, for: buyer, .paidTooLate)
        let records = try await shop.service.records(of: "payments") { $0.count >= 2 }
        #expect(records.allSatisfy { $0.key.map { Array($0) } == buyer.textBytes })
        let ids = records.map { $0.header("ce_id").map { String(decoding: $0, as: UTF8.self) } }
        #expect(ids == ["\(order)/captured", "\(order)/refunded"])
        await shop.close()
    }

    @Test func aCapturedOrderThatIsReleasedIsPaidBack() async throws {
        let shop = try await Shop.open()
        let buyer = try await shop.openWallet(limit: shop.price, holding: 200_000)
        let order = OrderID.random()
        try await shop.reserve(order, for: buyer)
        try await shop.release(order, for: buyer, .paidTooLate)
        let refunded = try #require(
            try await shop.service.events(PaymentRefunded.self, on: .payments, count: 1).first)
        #expect(refunded.orderId == order && refunded.amount == shop.price && refunded.reason == .paidTooLate)
        #expect(try await shop.balance(buyer) == 200_000)
        #expect(try await shop.balance(shop.brand, in: "proceeds") == 0)
        try await shop.audit()
        await shop.close()
    }

    @Test func aWalletThatCannotPayIsSaidToHaveFailed() async throws {
        let shop = try await Shop.open()
        let poor = try await shop.openWallet(limit: shop.price, holding: 199_899)
        try await shop.reserve(.random(), for: poor)
        let failed = try await shop.service.events(PaymentFailed.self, on: .payments, count: 1)
        #expect(failed.first { $0.buyerId == poor }?.reason == .insufficientFunds)
        #expect(try await shop.balance(poor) == 199_899)
        await shop.close()
    }

    @Test func whoAuthorisedThePaymentIsNotLateWhenTheEventIs() async throws {
        let shop = try await Shop.open()
        let buyer = try await shop.openWallet(limit: shop.price, holding: 500_000)
        try await shop.reserve(.random(), for: buyer, heldSeconds: -1)
        let captured = try await shop.service.events(PaymentCaptured.self, on: .payments, count: 1)
        #expect(captured.first?.buyerId == buyer)
        #expect(captured.first?.orderRevision == 1)
        await shop.close()
    }

    @Test func whatTheLedgerCannotDoGoesToTheDeadLettersAndStopsNothing() async throws {
        let shop = try await Shop.open()
        let buyer = try await shop.openWallet(limit: shop.price, holding: 500_000)
        let (order, next) = (OrderID.random(), OrderID.random())
        try await shop.reserve(order, for: buyer)
        _ = try await shop.service.events(PaymentCaptured.self, on: .payments, count: 1)
        // The brand's proceeds have gone elsewhere: nothing is left to pay back from.
        let books = try shop.books()
        _ = try await books.pool.execute(
            """
            INSERT INTO transfers (transfer_id, kind, debit_account, credit_account, amount, currency)
            SELECT gen_random_uuid(), 'topup', p.ledger_account_id, w.ledger_account_id, p.balance, 'CNY'
            FROM accounts p, accounts w
            WHERE p.owner_id = \(shop.brand) AND p.kind = 'proceeds' AND p.balance > 0
                AND w.owner_id = \(shop.brand) AND w.kind = 'wallet'
            """)
        await books.close()
        try await shop.release(order, for: buyer)
        try await shop.reserve(next, for: buyer)
        let captured = try await shop.service.events(PaymentCaptured.self, on: .payments, count: 2)
        #expect(captured.map(\.orderId) == [order, next])
        let dead = try await shop.service.records(of: Topic.reservations.deadLetters) { !$0.isEmpty }
        let reason = dead.first?.header("stampede-dead-reason").map { String(decoding: $0, as: UTF8.self) } ?? ""
        #expect(reason.hasPrefix("expected an account that holds the amount"))
        #expect(dead.count == 1)
        await shop.close()
    }

    @Test func whatIsDeliveredManyTimesHappensOnce() async throws {
        let shop = try await Shop.open()
        let buyer = try await shop.openWallet(limit: shop.price, holding: 1_000_000)
        let (kept, returned, never) = (OrderID.random(), OrderID.random(), OrderID.random())
        try await shop.release(never, for: buyer, .cancelled)
        for _ in 0..<5 {
            for order in [kept, returned, never] { try await shop.reserve(order, for: buyer) }
            try await shop.release(returned, for: buyer)
        }
        // The service starts anew in the middle, and reads on from where it was.
        try await shop.service.restart()
        for _ in 0..<5 {
            for order in [kept, returned, never] { try await shop.reserve(order, for: buyer) }
            try await shop.release(returned, for: buyer)
        }
        try await shop.settled(buyer)
        let books = try shop.books()
        let states = try await books.states()
        #expect(states[kept] == .captured && states[returned] == .refunded && states[never] == .released)
        #expect(try await books.balance(buyer) == 1_000_000 - 199_900)
        await books.close()
        let answers = try await shop.service.records(of: "payments") { $0.count >= 3 }
        #expect(
            Set(answers.compactMap { $0.header("ce_id").map { String(decoding: $0, as: UTF8.self) } })
                == ["\(kept)/captured", "\(returned)/captured", "\(returned)/refunded"])
        try await shop.audit()
        await shop.close()
    }

    @Test func aBrokenReservationGoesToTheDeadLettersAndStopsNothing() async throws {
        let shop = try await Shop.open()
        let buyer = try await shop.openWallet(limit: shop.price, holding: 200_000)
        var broken = RecordBatch()
        for body in ["not json", "{}", #"{"orderId":"x"}"#] {
            broken.append(topic: "reservations", key: buyer.textBytes, value: Array(body.utf8)) { headers in
                headers.add("ce_id", UUID().uuidString.utf8)
                headers.add("ce_type", OrderReserved.type.utf8)
            }
        }
        try await shop.service.producer.send(broken)
        try await shop.reserve(.random(), for: buyer)
        let captured = try await shop.service.events(PaymentCaptured.self, on: .payments, count: 1)
        #expect(captured.count == 1)
        let dead = try await shop.service.records(of: "reservations.dead") { $0.count >= 3 }
        #expect(dead.count == 3)
        #expect(dead.allSatisfy { $0.header("stampede-dead-reason") != nil })
        await shop.close()
    }

    @Test func aWalletOpensOnceAndKeepsWhatItsOwnerChanged() async throws {
        let shop = try await Shop.open()
        let buyer = try await shop.openWallet(limit: shop.price, holding: 1)
        let token = try shop.service.token(.person, of: buyer)
        let path = "/v1/wallet/authorisations/\(shop.brand)"
        #expect(try await shop.service.call(.get, path, token: token).status == 200)
        #expect(try await shop.service.call(.delete, path, token: token).status == 204)
        // The account changes its language; its event carries the authorisation still.
        let authorisations = [Account.Authorisation(payeeId: shop.brand, limit: shop.price)]
        try await shop.service.publish(.accounts, key: buyer, Account.person(buyer, authorisations: authorisations))
        // Accounts are read in order within a partition: this one comes after, under the same key.
        let other = AccountID.random()
        try await shop.service.publish(.accounts, key: buyer.textBytes, id: "other", Account.person(other))
        try await until { try await shop.balance(other) == 0 }
        #expect(try await shop.service.call(.get, path, token: token).status == 404)
        #expect(try await shop.balance(buyer) == 1)
        await shop.close()
    }

    @Test func nobodyMayTakeFromTheWalletOfADeletedAccountAndWhatIsInItStays() async throws {
        let shop = try await Shop.open()
        let buyer = try await shop.openWallet(limit: shop.price, holding: 7)
        let token = try shop.service.token(.person, of: buyer)
        let path = "/v1/wallet/authorisations/\(shop.brand)"
        #expect(try await shop.service.call(.get, path, token: token).status == 200)
        // Somebody who came and went within one batch, and the other.
        let brief = AccountID.random()
        let authorisations = [Account.Authorisation(payeeId: shop.brand, limit: shop.price)]
        try await shop.service.publish(
            .accounts, key: buyer.textBytes, id: "came", Account.person(brief, authorisations: authorisations))
        for gone in [brief, buyer] {
            try await shop.service.publish(
                .accounts, key: buyer.textBytes, id: "\(gone)/2",
                AccountDeleted(accountId: gone, deletedAt: .now(), revision: 2))
        }
        try await until { try await shop.service.call(.get, path, token: token).status == 404 }
        let other = try shop.service.token(.person, of: brief)
        #expect(try await shop.service.call(.get, path, token: other).status == 404)
        #expect(try await shop.balance(buyer) == 7)
        await shop.close()
    }
}
