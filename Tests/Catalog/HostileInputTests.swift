// What must not get in, and what must survive.
import HTTP
import JSON
import Models
import Postgres
import TestSupport
import Testing

@testable import CatalogCore

@Suite(.timeLimit(.minutes(2))) struct HostileInputTests {
    /// Every route with each kind of bad token: 401, whatever else is wrong.
    @Test func nobodyGetsInWithoutAGenuineToken() async throws {
        let service = try await Catalog.shared().service
        for route in service.service?.endpoints ?? [] {
            let path = route.pattern.replacing("{id}", with: "\(SaleID.random())")
            for token in [nil] + (try service.badTokens().map(Optional.some)) {
                let answer = try await service.call(route.method, path, Array("{".utf8), token: token)
                #expect(answer.status == 401, "\(route.method.rawValue) \(path)")
                #expect(answer.problem == "unauthorized")
            }
        }
    }

    @Test func whatIsNotInTheCatalogIsNotFound() async throws {
        let catalog = try await Catalog.shared()
        let brand = try catalog.brand()
        let plan = Catalog.sale(of: try await catalog.product(of: brand))
        for route in catalog.service.service?.endpoints ?? [] where route.pattern.contains("{id}") {
            for id in ["\(SaleID.random())", "0", "%00", "null", "01a21ce0-6e00-7c3a-9f51-0242ac12000g", "%F0%9F"] {
                let path = route.pattern.replacing("{id}", with: id)
                let answer = try await catalog.service.call(
                    route.method, path, route.method == .put ? plan : [], token: brand.token)
                // What is no path at all is refused before any route.
                #expect(answer.status == 404 || (id.contains("%") && answer.status == 400), "\(path)")
            }
        }
    }

    @Test func queriesAreChecked() async throws {
        let catalog = try await Catalog.shared()
        let token = try catalog.service.token(.person)
        for (query, field) in [
            ("limit=0", "limit"), ("limit=101", "limit"), ("limit=x", "limit"), ("cursor=x", "cursor"),
            ("brandId=x", "brandId"), ("status=gone", "status"), ("productId=1", "productId"),
        ] {
            let answer = try await catalog.service.call(.get, "/v1/sales?\(query)", token: token)
            #expect(answer.status == 400)
            #expect(answer.wrongFields == [field])
        }
    }

    /// Every body that is not what the route reads: refused with the field named, nothing stored, nothing published.
    @Test func aBodyThatIsNotWhatItShouldBeChangesNothing() async throws {
        let service = try await TestService.start(CatalogService.self)
        let catalog = Catalog(service)
        let brand = try catalog.brand()
        let product = try await catalog.product(of: brand)
        let draft = try await catalog.draft(by: brand, Catalog.sale(of: product))
        let pool = try service.database.pool("catalog")
        let before = try await Self.contents(pool)

        let good = try DocumentTree(json: Catalog.sale(of: product))
        let goodProduct = try DocumentTree(json: Catalog.product())
        for (method, path, body) in [
            (HTTPMethod.post, "/v1/products", goodProduct), (.post, "/v1/sales", good),
            (.put, "/v1/sales/\(draft)", good),
        ] {
            for damage in body.damages {
                let answer = try await service.call(
                    method, path, damage.bytes, token: brand.token, headers: method == .put ? [("If-Match", "*")] : [])
                let text = String(decoding: damage.bytes.prefix(300), as: UTF8.self)
                #expect([400, 422].contains(answer.status), "\(text)")
                if let field = damage.field { #expect(answer.body.mentions(field), "\(field): \(answer.body)") }
            }
            let large = Array(repeating: UInt8(ascii: " "), count: CatalogRoutes.bodyBytesMax + 1)
            #expect(try await service.call(method, path, large, token: brand.token).status == 413)
            let text = try await service.call(method, path, body.json, token: brand.token, contentType: "text/plain")
            #expect(text.status == 415)
        }
        #expect(try await Self.contents(pool) == before)
        await pool.close()
        await service.stop()
    }

    @Test func whatIsAnsweredIsStoredAndPublishedAlthoughTheBrokerIsAway() async throws {
        let service = try await TestService.start(
            CatalogService.self, environment: ["STAMPEDE_DRAIN_SECONDS": "1"])
        let catalog = Catalog(service)
        let brand = try catalog.brand()
        let draft = try await catalog.draft(by: brand)
        try service.broker.setDown(true)
        let answer = try await service.call(.post, "/v1/sales/\(draft)/publication", token: brand.token)
        #expect(answer.status == 200)
        // The service ends with its record unsent; the next one finds it in the outbox.
        await service.stopService()
        try service.broker.setDown(false)
        try await service.restart()
        let read = try await service.call(.get, "/v1/sales/\(draft)", token: brand.token)
        #expect(read.body == answer.body)
        #expect(try await catalog.newest(of: draft, on: .sales) != nil)
        await service.stop()
    }

    private static func contents(_ pool: PostgresPool) async throws -> [Int64] {
        try await pool.query(
            """
            SELECT (SELECT count(*) FROM products), (SELECT count(*) FROM sales), (SELECT count(*) FROM sale_changes),
                (SELECT sum(revision)::bigint FROM sales), (SELECT count(*) FROM outbox WHERE stream LIKE 'processor/%')
            """
        ).map { row in try (0..<5).map { try row.get($0, as: Int64.self) } }[0]
    }
}

extension DocumentTree {
    /// Whether a problem names the field, or something within or around it.
    fileprivate func mentions(_ field: String) -> Bool {
        let named = self["fields"]?.elements.compactMap { $0["field"]?.string } ?? []
        return named.contains { $0.hasPrefix(field) || field.hasPrefix($0) }
    }
}
