// Wrong input on every route: the right problem, nothing stored, never a 500.
import Foundation
import HTTP
import Models
import Postgres
import TestSupport
import Testing

@testable import PaymentCore

@Suite(.timeLimit(.minutes(5))) struct HostileInputTests {
    @Test func theDocumentAndTheRoutesAreTheSame() async throws {
        let document = try OpenAPIDocument(service: PaymentService.name)
        #expect(document.problems == [])
        let service = try await TestService.start(PaymentService.self)
        #expect(service.routeProblems == [])
        #expect(document.bodyLimits == service.bodyLimits(of: document.bodyLimits.keys))
        await service.stop()
    }

    @Test func everyRouteNeedsAValidTokenOfTheRightKind() async throws {
        let service = try await TestService.start(PaymentService.self)
        let id = AccountID.random()
        let person = try service.token(.person)
        let `operator` = try service.token(.operator)
        for route in try #require(service.service).endpoints {
            let path = route.pattern.replacing("{payeeId}", with: "\(id)").replacing("{id}", with: "\(id)")
            for token in [nil] + (try service.badTokens()) {
                #expect(try await service.call(route.method, path, token: token).status == 401, "\(route.pattern)")
            }
            let foreign = route.pattern.contains("operator") ? person : `operator`
            #expect(try await service.call(route.method, path, token: foreign).status == 403, "\(route.pattern)")
        }
        await service.stop()
    }

    @Test func aWrongBodyIsNamedFieldByFieldAndStoresNothing() async throws {
        let shop = try await Shop.open()
        let buyer = try await shop.openWallet(holding: 500_000)
        let order = OrderID.random()
        try await shop.reserve(order, for: buyer)
        try await shop.settled(buyer)
        let books = try shop.books()
        let before = try await fingerprint(books)

        let person = try shop.service.token(.person, of: buyer)
        let `operator` = try shop.service.token(.operator)
        let id = "\(buyer)"
        let authorisation = "/v1/wallet/authorisations/\(shop.brand)"
        let item = #"{"accountId":"\#(id)","amount":{"amount":1,"currency":"CNY"}}"#
        let tooMany = Array(repeating: item, count: 1001).joined(separator: ",")
        let cases: [(HTTPMethod, String, String, status: Int, field: String?)] = [
            (.post, "/v1/payments", "", 400, nil),
            (.post, "/v1/payments", "{", 400, nil),
            (.post, "/v1/payments", "\u{0}", 400, nil),
            (.post, "/v1/payments", "[]", 400, nil),
            (.post, "/v1/payments", "null", 400, nil),
            (.post, "/v1/payments", "{}", 400, "orderId"),
            (.post, "/v1/payments", #"{"orderId":1}"#, 400, "orderId"),
            (.post, "/v1/payments", #"{"orderId":"x"}"#, 400, "orderId"),
            (.post, "/v1/payments", #"{"orderId":"\#(order)","amount":1}"#, 400, "amount"),
            (
                .post, "/v1/payments", #"{"orderId":"\#(order)","x":"\#(String(repeating: "x", count: 5000))"}"#, 413,
                nil
            ),
            (.put, authorisation, "{}", 400, "limit"),
            (.put, authorisation, #"{"limit":5}"#, 400, "limit"),
            (.put, authorisation, #"{"limit":{"amount":-1,"currency":"CNY"}}"#, 400, "limit.amount"),
            (.put, authorisation, #"{"limit":{"amount":1.5,"currency":"CNY"}}"#, 400, "limit.amount"),
            (.put, authorisation, #"{"limit":{"amount":99999999999999999999,"currency":"CNY"}}"#, 400, nil),
            (.put, authorisation, #"{"limit":{"amount":1,"currency":"yuan"}}"#, 400, "limit.currency"),
            (.put, authorisation, #"{"limit":{"amount":1,"currency":"XTS"}}"#, 400, "limit.currency"),
            (.put, authorisation, #"{"limit":{"amount":1,"currency":"\u212aRW"}}"#, 400, "limit.currency"),
            (.put, authorisation, #"{"limit":{"amount":1,"amount":2,"currency":"CNY"}}"#, 400, "amount"),
            (.post, "/v1/payments", #"{"orderId":"\#(order)","orderId":"\#(order)"}"#, 400, "orderId"),
            (
                .post, "/v1/operator/topups",
                #"{"items":[{"accountId":"\#(id)","amount":{"amount":1,"currency":"XDR"}}]}"#, 400,
                "items[0].amount.currency"
            ),
            (
                .post, "/v1/operator/topups",
                #"{"items":[{"accountId":"\#(id)","amount":{"amount":1.5,"currency":"CNY"}}]}"#, 400,
                "items[0].amount.amount"
            ),
            (
                .post, "/v1/operator/topups",
                #"{"items":[\#(Array(repeating: item.replacing(":1,", with: ":10000000000000,"), count: 901).joined(separator: ","))]}"#,
                422, "items[900].amount"
            ),
            (.put, authorisation, #"{"limit":{"amount":1,"currency":"CNY","per":"day"}}"#, 400, "limit.per"),
            (.put, authorisation, #"{"limit":{"amount":1,"currency":"CNY"},"until":"x"}"#, 400, "until"),
            (.put, authorisation, #"{"limit":{"amount":1,"currency":"CNY"},"publisher":"Rush"}"#, 400, "publisher"),
            (.put, authorisation, #"{"limit":{"amount":1,"currency":"CNY"},"publisher":""}"#, 400, "publisher"),
            (.put, authorisation, #"{"limit":{"amount":1,"currency":"CNY"},"publisher":7}"#, 400, "publisher"),
            (.put, authorisation, #"{"limit":{"amount":1,"currency":"CNY"},"publisher":"\u212a"}"#, 400, "publisher"),
            (.put, "/v1/wallet/authorisations/x", #"{"limit":{"amount":1,"currency":"CNY"}}"#, 404, nil),
            (.post, "/v1/operator/topups", "{}", 400, "items"),
            (.post, "/v1/operator/topups", #"{"items":[]}"#, 400, "items"),
            (.post, "/v1/operator/topups", #"{"items":{}}"#, 400, "items"),
            (.post, "/v1/operator/topups", #"{"items":[7]}"#, 400, "items[0]"),
            (
                .post, "/v1/operator/topups",
                #"{"items":[{"accountId":"\#(id)","amount":{"amount":0,"currency":"CNY"}}]}"#, 400,
                "items[0].amount.amount"
            ),
            (
                .post, "/v1/operator/topups",
                #"{"items":[{"accountId":"\#(id)","amount":{"amount":1,"currency":"CNY"},"note":"x"}]}"#, 400,
                "items[0].note"
            ),
            (.post, "/v1/operator/topups", #"{"items":[\#(tooMany)]}"#, 400, "items"),
        ]
        for (method, path, body, status, field) in cases {
            let answer = try await shop.service.call(
                method, path, Array(body.utf8), token: path.contains("operator") ? `operator` : person,
                headers: [("Idempotency-Key", UUID().uuidString)])
            #expect(answer.status == status, "\(path) \(body.prefix(100))")
            if let field {
                #expect(answer.wrongFields.contains { $0.hasPrefix(field) }, "\(answer.body) for \(body.prefix(100))")
            }
        }

        let body = Array(#"{"orderId":"\#(order)"}"#.utf8)
        for key in [nil, "", "with space", "ключ", String(repeating: "k", count: 201)] {
            let answer = try await shop.service.call(
                .post, "/v1/payments", body, token: person, headers: key.map { [("Idempotency-Key", $0)] } ?? [])
            #expect(answer.status == 400 && answer.wrongFields == ["Idempotency-Key"])
        }
        let text = try await shop.service.call(
            .post, "/v1/payments", body, token: person, contentType: "text/plain",
            headers: [("Idempotency-Key", "text")])
        #expect(text.status == 415)
        for query in ["limit=0", "limit=101", "limit=x", "cursor=x", "cursor=\(id).x", "cursor=.1"] {
            let answer = try await shop.service.call(.get, "/v1/wallet/entries?\(query)", token: person)
            #expect(answer.status == 400 && answer.wrongFields == [String(query.prefix { $0 != "=" })])
        }
        for path in ["/v1/payments/x", "/v1/payments/\(OrderID.random())", "/v1/wallet/authorisations/x"] {
            #expect(try await shop.service.call(.get, path, token: person).status == 404)
        }
        let stranger = try shop.service.token(.person)
        #expect(try await shop.service.call(.get, "/v1/wallet", token: stranger).status == 404)

        #expect(try await fingerprint(books) == before)
        await books.close()
        await shop.close()
    }

    /// All that the schema holds, in one value.
    private func fingerprint(_ books: Books) async throws -> String {
        try await books.pool.query(
            """
            SELECT (SELECT string_agg(a::text, ' ' ORDER BY a::text) FROM accounts a)
                || coalesce((SELECT string_agg(t::text, ' ' ORDER BY t::text) FROM transfers t), '')
                || coalesce((SELECT string_agg(o::text, ' ' ORDER BY o::text) FROM orders o), '')
                || coalesce((SELECT string_agg(n::text, ' ' ORDER BY n::text) FROM authorisations n), '')
                || coalesce((SELECT string_agg(key, ' ' ORDER BY key) FROM idempotency_keys), '')
            """)[0].get(0, as: String.self)
    }
}
