// What a request says besides its body: which state it expects, which command it is, which list it goes on with.
import HTTP
import JSON
import Models
import Postgres
import ServiceKit
import TestSupport
import Testing

@testable import CatalogCore

@Suite(.timeLimit(.minutes(2))) struct ConditionTests {
    private typealias Answer = TestService<CatalogService>.Answer
    private let catalog: Catalog
    private let brand: Catalog.Brand

    init() async throws {
        catalog = try await Catalog.shared()
        brand = try catalog.brand()
    }

    // MARK: Edits

    @Test func anEditOfAnOlderStateIsRefused() async throws {
        let product = try await catalog.product(of: brand)
        let sale = try await catalog.draft(by: brand, Catalog.sale(of: product))
        let read = try await catalog.service.call(.get, "/v1/sales/\(sale)", token: brand.token)
        let tag = try #require(read.headers["ETag"])
        func plan(_ seconds: Int) -> [UInt8] { Catalog.sale(of: product, holdSeconds: seconds) }

        let first = try await catalog.change(sale, to: plan(60), by: brand, ifMatch: tag)
        #expect(first.status == 200)
        let stale = try await catalog.change(sale, to: plan(61), by: brand, ifMatch: tag)
        #expect(stale.status == 412 && stale.problem == "precondition-failed")
        for method in [HTTPMethod.delete, .post] {
            let path = "/v1/sales/\(sale)" + (method == .post ? "/publication" : "")
            let answer = try await catalog.service.call(
                method, path, token: brand.token, headers: [("If-Match", tag)])
            #expect(answer.status == 412, "\(method)")
        }
        let now = try await catalog.service.call(.get, "/v1/sales/\(sale)", token: brand.token)
        #expect(now.body == first.body && now.headers["ETag"] == first.headers["ETag"])

        // What was just answered can be edited on, as the gateway's compression writes it too, and one of several.
        let newer = try #require(first.headers["ETag"])
        #expect(try await catalog.change(sale, to: plan(62), by: brand, ifMatch: "W/\(newer)").status == 200)
        #expect(try await catalog.change(sale, to: plan(63), by: brand, ifMatch: "\(newer), \"3.x\"").status == 200)
        let unsaid = try await catalog.service.call(.put, "/v1/sales/\(sale)", plan(64), token: brand.token)
        #expect(unsaid.status == 428 && unsaid.problem == "precondition-required")
        let nonsense = try await catalog.change(sale, to: plan(64), by: brand, ifMatch: "4")
        #expect(nonsense.status == 400 && nonsense.wrongFields == ["If-Match"])
    }

    /// At once, each with what it read: one is carried out.
    @Test func ofManyEditsOfOneStateOneIsMade() async throws {
        let product = try await catalog.product(of: brand)
        let sale = try await catalog.draft(by: brand, Catalog.sale(of: product))
        let tag = try #require(
            try await catalog.service.call(.get, "/v1/sales/\(sale)", token: brand.token).headers["ETag"])
        let statuses = try await withThrowingTaskGroup(of: Int.self) { group in
            for seconds in 100..<110 {
                group.addTask {
                    try await catalog.change(
                        sale, to: Catalog.sale(of: product, holdSeconds: seconds), by: brand, ifMatch: tag
                    ).status
                }
            }
            return try await group.reduce(into: []) { $0.append($1) }
        }
        #expect(statuses.sorted() == [200] + Array(repeating: 412, count: 9))
    }

    @Test func sellingOutIsNoEdit() async throws {
        let product = try await catalog.product(of: brand)
        let sale = try await catalog.publishedSale(by: brand, Catalog.sale(of: product))
        let before = try await catalog.service.call(.get, "/v1/sales/\(sale)", token: brand.token)
        let time = Timestamp.now()
        try await catalog.soldOut(try #require(SaleID(sale)), brand, at: time)
        try await catalog.untilSoldOut(sale, at: time, token: brand.token)
        let tag = try #require(before.headers["ETag"])
        // Whoever shows it reads it anew; the brand's edit is as good as it was.
        let shown = try await catalog.service.call(
            .get, "/v1/sales/\(sale)", token: brand.token, headers: [("If-None-Match", tag)])
        #expect(shown.status == 200)
        let more = Catalog.sale(of: product, batches: [Catalog.batch(lines: [Catalog.line(units: 150)])])
        #expect(try await catalog.change(sale, to: more, by: brand, ifMatch: tag).status == 200)
    }

    // MARK: Reading again

    @Test func whatHasNotChangedIsNotSentAgain() async throws {
        let sale = try await catalog.publishedSale(by: brand)
        let product = try await catalog.product(of: brand)
        for path in [
            "/v1/sales/\(sale)", "/v1/sales?brandId=\(brand.id)", "/v1/products/\(product)",
            "/v1/products?brandId=\(brand.id)", "/v1/sales/\(sale)/changes",
        ] {
            let first = try await catalog.service.call(.get, path, token: brand.token)
            let tag = try #require(first.headers["ETag"], "\(path)")
            for asked in [tag, "W/\(tag)", "\"other\", \(tag)", "*"] {
                let again = try await catalog.service.call(
                    .get, path, token: brand.token, headers: [("If-None-Match", asked)])
                #expect(again.status == 304 && again.body == .null && again.headers["ETag"] == tag, "\(path) \(asked)")
            }
            let other = try await catalog.service.call(
                .get, path, token: brand.token, headers: [("If-None-Match", "\"other\"")])
            #expect(other.status == 200 && other.body == first.body)
            #expect(first.headers["Cache-Control"] == "private, no-cache")
            // Whether there is something new is told to nobody without a token.
            #expect(try await catalog.service.call(.get, path, headers: [("If-None-Match", tag)]).status == 401)
        }
    }

    // MARK: Commands

    @Test func aCommandWithAKeyIsCarriedOutOnce() async throws {
        let product = try await catalog.product(of: brand)
        for (path, body, other) in [
            ("/v1/products", Catalog.product(), Catalog.product() + [10]),
            ("/v1/sales", Catalog.sale(of: product), Catalog.sale(of: product, holdSeconds: 61)),
        ] {
            func send(_ body: [UInt8], _ key: String, _ token: String) async throws -> Answer {
                try await catalog.service.call(
                    .post, path, body, token: token, headers: [("Idempotency-Key", key + path)])
            }
            let refused = try await send(Array("{}".utf8), "one", brand.token)
            #expect(refused.status == 400)
            let first = try await send(body, "one", brand.token)
            #expect(first.status == 201, "a refusal does not use the key up")
            let again = try await send(body, "one", brand.token)
            #expect(again.status == 201 && again.body == first.body)
            #expect(again.headers["Location"] == first.headers["Location"])
            #expect(again.headers["ETag"] == first.headers["ETag"])
            let reused = try await send(other, "one", brand.token)
            #expect(reused.status == 422 && reused.problem == "idempotency-key-reused")
            #expect(try await send(body, "two", brand.token).body != first.body)
            // The same words for another route are another command.
            if path == "/v1/sales" {
                let elsewhere = try await catalog.service.call(
                    .post, path, body, token: brand.token, headers: [("Idempotency-Key", "one/v1/products")])
                #expect(elsewhere.status == 422 && elsewhere.problem == "idempotency-key-reused")
            }
            for key in ["a b", "é", String(repeating: "x", count: 201)] {
                let answer = try await send(body, key, brand.token)
                #expect(answer.status == 400 && answer.wrongFields == ["Idempotency-Key"], "\(key)")
            }
            // Another's key of the same name is another's.
            let mine = try await catalog.service.call(
                .post, path, path == "/v1/products" ? body : other, token: catalog.brand().token,
                headers: [("Idempotency-Key", "one\(path)")])
            #expect(mine.status == (path == "/v1/products" ? 201 : 422) && mine.problem != "idempotency-key-reused")
        }
    }

    @Test func manyOfOneCommandAtOnceMakeOneThing() async throws {
        let answers = try await withThrowingTaskGroup(of: Answer.self) { group in
            for _ in 0..<20 {
                group.addTask {
                    try await catalog.service.call(
                        .post, "/v1/products", Catalog.product(), token: brand.token,
                        headers: [("Idempotency-Key", "same")])
                }
            }
            return try await group.reduce(into: []) { $0.append($1) }
        }
        #expect(answers.contains { $0.status == 201 })
        for answer in answers where answer.status != 201 {
            #expect(answer.status == 409 && answer.problem == "idempotency-key-in-use")
            #expect(answer.headers["Retry-After"] == "1")
        }
        let list = try await catalog.service.call(.get, "/v1/products?brandId=\(brand.id)", token: brand.token)
        #expect(list.items.count == 1)
    }

    @Test func anAnswerIsKeptForADayAndThenForgotten() async throws {
        let pool = try catalog.service.database.pool("catalog")
        func send(_ key: String) async throws -> Answer {
            try await catalog.service.call(
                .post, "/v1/products", Catalog.product(), token: brand.token, headers: [("Idempotency-Key", key)])
        }
        func age(hours: Int) async throws {
            try await pool.execute(
                """
                UPDATE idempotency_keys SET created_at = now() - make_interval(hours => \(Int32(hours)))
                WHERE owner_id = \(brand.id)
                """)
        }
        let first = try await send("day")
        try await age(hours: 23)
        #expect(try await send("day").body == first.body)
        try await age(hours: 25)
        #expect(try await send("day").body != first.body)
        // Each answer that is kept clears away two that are too old.
        try await age(hours: 25)
        _ = try await send("next")
        let kept = try await pool.query("SELECT key FROM idempotency_keys WHERE owner_id = \(brand.id)")
        #expect(try kept.column(0, as: String.self) == ["next"])
        await pool.close()
    }

    // MARK: Lists

    @Test func aCursorIsOfItsListAlone() async throws {
        for _ in 0..<2 { _ = try await catalog.publishedSale(by: brand) }
        let other = try catalog.brand()
        let lists = [
            "/v1/products?brandId=\(brand.id)", "/v1/products", "/v1/sales?brandId=\(brand.id)",
            "/v1/sales?brandId=\(brand.id)&status=published", "/v1/sales",
        ]
        for list in lists {
            let separator = list.contains("?") ? "&" : "?"
            let slice = try await catalog.service.call(.get, "\(list)\(separator)limit=1", token: brand.token)
            let cursor = try #require(slice["nextCursor"]?.string, "\(list)")
            for place in lists {
                let answer = try await catalog.service.call(
                    .get, "\(place)\(place.contains("?") ? "&" : "?")cursor=\(cursor)", token: brand.token)
                #expect(answer.status == (place == list ? 200 : 400), "\(list) -> \(place)")
                if place != list { #expect(answer.wrongFields == ["cursor"]) }
            }
            if list.hasPrefix("/v1/sales") {
                // Which drafts are in it depends on who reads.
                let path = "\(list)\(separator)cursor=\(cursor)"
                #expect(try await catalog.service.call(.get, path, token: other.token).status == 400)
            }
            for damaged in [String(cursor.dropLast()) + "g", "2" + cursor.dropFirst(), "\(cursor)x", "1..", "%00"] {
                let path = "\(list)\(separator)cursor=\(damaged)"
                #expect(try await catalog.service.call(.get, path, token: brand.token).status == 400, "\(damaged)")
            }
        }
    }

    @Test func aLastSliceThatIsFullHasNoNext() async throws {
        for _ in 0..<2 { _ = try await catalog.product(of: brand) }
        let path = "/v1/products?brandId=\(brand.id)&limit=2"
        let slice = try await catalog.service.call(.get, path, token: brand.token)
        #expect(slice.items.count == 2 && slice["nextCursor"] == nil)
    }
}
