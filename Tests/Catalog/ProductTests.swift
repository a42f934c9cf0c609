// Products as brands and buyers meet them: over HTTP and on their topic.
import HTTP
import JSON
import Models
import TestSupport
import Testing

@testable import CatalogCore

@Suite(.timeLimit(.minutes(2))) struct ProductTests {
    private let catalog: Catalog

    init() async throws { catalog = try await Catalog.shared() }

    @Test func aProductIsStoredPublishedAndListed() async throws {
        let brand = try catalog.brand()
        let answer = try await catalog.service.call(.post, "/v1/products", Catalog.product(), token: brand.token)
        #expect(answer.status == 201)
        let id = try #require(answer["productId"]?.string)
        #expect(answer.headers["Location"] == "/v1/products/\(id)")
        #expect(answer["brandId"]?.string == "\(brand.id)")

        let reader = try catalog.service.token(.person)
        let read = try await catalog.service.call(.get, "/v1/products/\(id)", token: reader)
        #expect(read.body == answer.body)
        let list = try await catalog.service.call(.get, "/v1/products?brandId=\(brand.id)", token: reader)
        #expect(list.items == [answer.body])

        let record = try #require(try await catalog.newest(of: id, on: .products))
        #expect(try DocumentTree(json: Array(try #require(record.value))) == answer.body)
        #expect(record.header("ce_source").map { String(decoding: $0, as: UTF8.self) } == "/stampede/catalog")
    }

    @Test func listsComeInSlicesWithoutGapOrRepeat() async throws {
        let brand = try catalog.brand()
        var made: [String] = []
        for _ in 0..<5 {
            made.append(try await catalog.product(of: brand))
        }
        var seen: [String] = []
        var cursor: String?
        repeat {
            let query = "?brandId=\(brand.id)&limit=2" + (cursor.map { "&cursor=\($0)" } ?? "")
            let slice = try await catalog.service.call(.get, "/v1/products\(query)", token: brand.token)
            #expect(slice.items.count <= 2)
            seen += slice.items.compactMap { $0["productId"]?.string }
            cursor = slice["nextCursor"]?.string
        } while cursor != nil
        #expect(seen.sorted() == made.sorted())
        #expect(seen == seen.sorted(by: >))
    }
}
