// Payments by hand and top-ups over HTTP.
import Foundation
import HTTP
import Models
import ServiceKit
import TestSupport
import Testing

@testable import PaymentCore

@Suite(.timeLimit(.minutes(5))) struct PaymentRouteTests {
    @Test func anOrderIsPaidByHandWithinItsHoldOnce() async throws {
        let shop = try await Shop.open()
        let buyer = try await shop.openWallet(holding: 500_000)
        let order = OrderID.random()
        try await shop.reserve(order, for: buyer)
        try await shop.settled(buyer)

        let paid = try await shop.pay(order, by: buyer, key: "first")
        #expect(paid.status == 201 && paid["state"]?.string == "captured")
        let location = try #require(paid.headers["Location"])
        let read = try await shop.service.call(.get, location, token: shop.service.token(.person, of: buyer))
        #expect(read.status == 200 && read.body == paid.body)
        #expect(try await shop.balance(buyer) == 300_100)
        let captured = try await shop.service.events(PaymentCaptured.self, on: .payments, count: 1)
        #expect(captured.map(\.orderId) == [order])

        let again = try await shop.pay(order, by: buyer, key: "first")
        #expect(again.status == 201 && again.body == paid.body && again.headers["Location"] == location)
        let other = try await shop.pay(.random(), by: buyer, key: "first")
        #expect(other.status == 422 && other.problem == "idempotency-key-reused")
        let second = try await shop.pay(order, by: buyer, key: "second")
        #expect(second.status == 409 && second.problem == "already-paid")
        #expect(try await shop.balance(buyer) == 300_100)

        // The answer is kept where a restart finds it.
        try await shop.service.restart()
        #expect(try await shop.pay(order, by: buyer, key: "first").body == paid.body)
        try await shop.audit()
        await shop.close()
    }

    @Test func aPaymentThatCannotBeIsRefusedAndChangesNothing() async throws {
        let shop = try await Shop.open()
        let buyer = try await shop.openWallet(holding: 199_899)
        let (dear, late, released) = (OrderID.random(), OrderID.random(), OrderID.random())
        try await shop.reserve(dear, for: buyer)
        try await shop.reserve(late, for: buyer, price: Money(1, .cny), heldSeconds: 0)
        try await shop.reserve(released, for: buyer, price: Money(1, .cny))
        try await shop.release(released, for: buyer, .cancelled)
        try await shop.settled(buyer)

        for (order, problem) in [(dear, "insufficient-funds"), (late, "hold-over"), (released, "hold-over")] {
            let answer = try await shop.pay(order, by: buyer)
            #expect(answer.status == 409 && answer.problem == problem)
        }
        #expect(try await shop.pay(.random(), by: buyer).status == 404)
        #expect(try await shop.pay(dear, by: .random()).status == 404)
        #expect(try await shop.balance(buyer) == 199_899)

        // The refusal did not use its key up: with one more minor unit the same command goes through.
        #expect(try await shop.pay(dear, by: buyer, key: "dear").status == 409)
        let more = try await shop.service.call(
            .post, "/v1/operator/topups", shop.topUp([(buyer, Money(1, .cny))]), token: shop.service.token(.operator),
            headers: [("Idempotency-Key", "one")])
        #expect(more.status == 201)
        #expect(try await shop.pay(dear, by: buyer, key: "dear").status == 201)
        #expect(try await shop.balance(buyer) == 0)
        try await shop.audit()
        await shop.close()
    }

    @Test func aThousandPaymentsOfOneWalletAtOnceNeverOverdrawIt() async throws {
        let shop = try await Shop.open()
        // Enough for 400 and a half.
        let buyer = try await shop.openWallet(holding: 400_500)
        let orders = (0..<1000).map { _ in OrderID.random() }
        try await shop.reserve(orders, for: buyer, price: Money(1000, .cny))
        try await shop.settled(buyer)
        let statuses = try await withThrowingTaskGroup(of: String.self) { group in
            for order in orders {
                group.addTask {
                    let answer = try await shop.pay(order, by: buyer)
                    return "\(answer.status) \(answer.problem ?? "")"
                }
            }
            return try await group.reduce(into: [:]) { $0[$1, default: 0] += 1 }
        }
        #expect(statuses == ["201 ": 400, "409 insufficient-funds": 600])
        #expect(try await shop.balance(buyer) == 500)
        #expect(try await shop.balance(shop.brand, in: "proceeds") == 400_000)
        let captured = try await shop.service.events(PaymentCaptured.self, on: .payments, count: 400)
        #expect(Set(captured.map(\.orderId)).count == 400)
        try await shop.audit()
        await shop.close()
    }

    @Test func oneCommandSentManyTimesAtOnceIsCarriedOutOnce() async throws {
        let shop = try await Shop.open()
        let buyer = try await shop.openWallet(holding: 1_000_000)
        let order = OrderID.random()
        try await shop.reserve(order, for: buyer)
        try await shop.settled(buyer)
        let answers = try await withThrowingTaskGroup(of: TestService<PaymentService>.Answer.self) { group in
            for _ in 0..<50 { group.addTask { try await shop.pay(order, by: buyer, key: "same") } }
            return try await group.reduce(into: []) { $0.append($1) }
        }
        let done = answers.filter { $0.status == 201 }
        #expect(!done.isEmpty && done.allSatisfy { $0.body == done[0].body })
        #expect(answers.allSatisfy { $0.status == 201 || $0.problem == "idempotency-key-in-use" })
        #expect(try await shop.balance(buyer) == 800_100)
        try await shop.audit()
        await shop.close()
    }

    @Test func aCommandWhoseKeyAnotherTransactionHoldsIsToldToWait() async throws {
        let shop = try await Shop.open()
        let buyer = try await shop.openWallet(holding: 1_000_000)
        let order = OrderID.random()
        try await shop.reserve(order, for: buyer)
        try await shop.settled(buyer)
        let books = try shop.books()
        let key = IdempotencyKey(owner: buyer, key: "held")
        try await books.pool.transaction { transaction in
            // Another instance of the service is at it.
            #expect(try await transaction.query(IdempotencyStatements.claim([key])).column(0) == [true])
            let answer = try await shop.pay(order, by: buyer, key: "held")
            #expect(answer.status == 409 && answer.problem == "idempotency-key-in-use")
            #expect(answer.headers["Retry-After"] == "1")
        }
        #expect(try await shop.pay(order, by: buyer, key: "held").status == 201)
        await books.close()
        await shop.close()
    }

    // MARK: Top-ups

    @Test func topUpsAreAllDoneOrNone() async throws {
        let shop = try await Shop.open()
        let known = try await shop.openWallet(holding: 5)
        let token = try shop.service.token(.operator)
        func topUp(_ items: [(AccountID, Money)], key: String) async throws -> TestService<PaymentService>.Answer {
            try await shop.service.call(
                .post, "/v1/operator/topups", shop.topUp(items), token: token, headers: [("Idempotency-Key", key)])
        }

        let refused = try await topUp([(known, Money(10, .cny)), (.random(), Money(10, .cny))], key: "a")
        #expect(refused.status == 422 && refused.wrongFields == ["items[1].accountId"])
        #expect(try await shop.balance(known) == 5)

        let items = [(known, Money(10, .cny)), (known, Money(7, .cny))]
        let done = try await topUp(items, key: "a")
        #expect(done.status == 201 && done.items.count == 2)
        #expect(try await shop.balance(known) == 22)
        #expect(try await topUp(items, key: "a").body == done.body)
        #expect(try await topUp([(known, Money(11, .cny))], key: "a").status == 422)
        #expect(try await shop.balance(known) == 22)

        // The same key of a payment is another sender's, and the operator's own for payments is refused anyway.
        let dollars = try #require(Currency("USD"))
        #expect(try await topUp([(known, Money(3, dollars))], key: "b").status == 201)
        let wallet = try await shop.service.call(
            .get, "/v1/wallet", token: shop.service.token(.person, of: known))
        #expect(
            wallet["balances"]?.elements.map { "\($0["amount"]?.integer ?? -1) \($0["currency"]?.string ?? "")" }
                == ["22 CNY", "3 USD"])
        try await shop.audit()
        await shop.close()
    }

    @Test func topUpsOfTheSameWalletsInOppositeOrdersDoNotLockUp() async throws {
        let shop = try await Shop.open()
        let buyers = (0..<50).map { _ in AccountID.random() }
        try await shop.openWallets(buyers, holding: 1)
        let token = try shop.service.token(.operator)
        try await withThrowingTaskGroup(of: Void.self) { group in
            for round in 0..<20 {
                group.addTask {
                    let order = round.isMultiple(of: 2) ? buyers : buyers.reversed()
                    let answer = try await shop.service.call(
                        .post, "/v1/operator/topups", shop.topUp(order.map { ($0, Money(1, .cny)) }), token: token,
                        headers: [("Idempotency-Key", "round-\(round)")])
                    #expect(answer.status == 201)
                }
            }
            try await group.waitForAll()
        }
        for buyer in buyers { #expect(try await shop.balance(buyer) == 21) }
        try await shop.audit()
        await shop.close()
    }

    // MARK: Wallet

    @Test func everyEntryIsOnOnePageOfTheList() async throws {
        let shop = try await Shop.open()
        let buyer = try await shop.openWallet(limit: shop.price, holding: 10_000_000)
        let orders = (0..<25).map { _ in OrderID.random() }
        try await shop.reserve(orders, for: buyer)
        for order in orders.prefix(5) { try await shop.release(order, for: buyer) }
        try await shop.settled(buyer)

        for (owner, count, sum): (AccountID, Int, Int64) in [
            (buyer, 31, 10_000_000 - 20 * 199_900), (shop.brand, 30, 20 * 199_900),
        ] {
            var entries: [DocumentTree] = []
            var cursor: String? = ""
            while let here = cursor {
                let answer = try await shop.service.call(
                    .get, "/v1/wallet/entries?limit=7" + (here.isEmpty ? "" : "&cursor=\(here)"),
                    token: shop.service.token(.person, of: owner))
                #expect(answer.status == 200 && answer.items.count <= 7)
                entries += answer.items
                cursor = answer["nextCursor"]?.string
            }
            #expect(entries.count == count)
            // A slice that is just full is the last, and another's cursor is another's.
            let all = "/v1/wallet/entries?limit=\(count)"
            let whole = try await shop.service.call(.get, all, token: shop.service.token(.person, of: owner))
            #expect(whole.items.count == count && whole["nextCursor"] == nil)
            #expect(whole.headers["Cache-Control"] == "no-store")
            let cut = try await shop.service.call(
                .get, "/v1/wallet/entries?limit=1", token: shop.service.token(.person, of: owner))
            let theirs = try #require(cut["nextCursor"]?.string)
            let stranger = try shop.service.token(.person)
            let taken = try await shop.service.call(.get, "/v1/wallet/entries?cursor=\(theirs)", token: stranger)
            #expect(taken.status == 400 && taken.wrongFields == ["cursor"])
            #expect(Set(entries.compactMap { $0["transferId"]?.string }).count == count)
            #expect(entries.compactMap { $0["amount"]?["amount"]?.integer }.reduce(0, +) == sum)
        }
        await shop.close()
    }

    @Test func authorisationsAreGivenReadAndWithdrawn() async throws {
        let shop = try await Shop.open()
        let buyer = try await shop.openWallet(holding: 500_000)
        let token = try shop.service.token(.person, of: buyer)
        let path = "/v1/wallet/authorisations/\(shop.brand)"
        // The brand's account is read beside the buyer's.
        try await until { try await shop.balance(shop.brand, in: "proceeds") != nil }
        #expect(try await shop.service.call(.get, path, token: token).status == 404)
        for limit: Int64 in [1, 199_900] {
            let body = Array(#"{"limit":{"amount":\#(limit),"currency":"CNY"}}"#.utf8)
            let answer = try await shop.service.call(.put, path, body, token: token)
            #expect(answer.status == 200 && answer["limit"]?["amount"]?.integer == limit)
        }
        #expect(try await shop.service.call(.get, path, token: token)["limit"]?["amount"]?.integer == 199_900)
        #expect(
            try await shop.service.call(.get, "/v1/wallet/authorisations", token: token).items.count == 1)
        // Nobody but a brand can be let in, and only a wallet's owner lets in.
        let body = Array(#"{"limit":{"amount":1,"currency":"CNY"}}"#.utf8)
        let nobody = "/v1/wallet/authorisations/\(AccountID.random())"
        #expect(try await shop.service.call(.put, nobody, body, token: token).status == 404)
        let stranger = try shop.service.token(.person)
        #expect(try await shop.service.call(.put, path, body, token: stranger).status == 404)

        // What is authorised is charged.
        let order = OrderID.random()
        try await shop.reserve(order, for: buyer)
        #expect(
            try await shop.service.events(PaymentCaptured.self, on: .payments, count: 1).map(\.orderId) == [order])

        // So is what a publisher placed whom the owner names, until he names nobody any more.
        let named = Array(#"{"limit":{"amount":199900,"currency":"CNY"},"publisher":"partner"}"#.utf8)
        let answer = try await shop.service.call(.put, path, named, token: token)
        #expect(answer.status == 200 && answer["publisher"]?.string == "partner")
        #expect(try await shop.service.call(.get, path, token: token)["publisher"]?.string == "partner")
        let list = try await shop.service.call(.get, "/v1/wallet/authorisations", token: token)
        #expect(list.items.map { $0["publisher"]?.string } == ["partner"])
        let partners = OrderID.random()
        try await shop.reserve([partners], for: buyer, by: TestPublishers.partner.name)
        #expect(
            try await shop.service.events(PaymentCaptured.self, on: .payments, count: 2).map(\.orderId)
                == [order, partners])
        let plain = Array(#"{"limit":{"amount":199900,"currency":"CNY"}}"#.utf8)
        #expect(try await shop.service.call(.put, path, plain, token: token)["publisher"] == nil)
        var unpaid = [OrderID.random(), .random(), .random()]
        for (order, publisher) in zip(
            unpaid, [TestPublishers.partner.name, TestPublishers.other.name, nil] as [PublisherName?])
        {
            try await shop.reserve([order], for: buyer, by: publisher)
        }
        try await shop.settled(buyer)

        // What was changed meanwhile is neither changed nor withdrawn by whoever has read something else.
        let read = try await shop.service.call(.get, path, token: token)
        let tag = try #require(read.headers["ETag"])
        func authorise(_ limit: Int64, _ headers: [(String, String)]) async throws -> Int {
            let body = Array(#"{"limit":{"amount":\#(limit),"currency":"CNY"}}"#.utf8)
            return try await shop.service.call(.put, path, body, token: token, headers: headers).status
        }
        #expect(try await authorise(5, [("If-None-Match", "*")]) == 412)
        #expect(try await authorise(5, [("If-Match", tag)]) == 200)
        #expect(try await authorise(6, [("If-Match", tag)]) == 412)
        let stale = try await shop.service.call(.delete, path, token: token, headers: [("If-Match", tag)])
        #expect(stale.status == 412 && stale.problem == "precondition-failed")
        #expect(try await shop.service.call(.get, path, token: token)["limit"]?["amount"]?.integer == 5)

        #expect(try await shop.service.call(.delete, path, token: token).status == 204)
        #expect(try await shop.service.call(.delete, path, token: token).status == 404)
        #expect(try await authorise(7, [("If-Match", tag)]) == 412)
        #expect(try await authorise(7, [("If-None-Match", "*")]) == 200)
        #expect(try await shop.service.call(.delete, path, token: token).status == 204)
        unpaid.append(.random())
        try await shop.reserve(unpaid[3], for: buyer)
        try await shop.settled(buyer)
        let books = try shop.books()
        let states = try await books.states()
        #expect(unpaid.map { states[$0] } == Array(repeating: .payable, count: 4))
        await books.close()
        await shop.close()
    }
}
