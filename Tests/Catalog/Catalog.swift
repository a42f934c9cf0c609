// A catalog that runs, and what its tests ask of it.
import HTTP
import JSON
import Kafka
import Models
import TestSupport
import Testing

@testable import CatalogCore

/// The service that the suite shares, with the brands and sales that tests make of their own.
final class Catalog: Sendable {
    let service: TestService<CatalogService>

    static func shared() async throws -> Catalog { try await one.value }
    private static let one = Task { Catalog(try await TestService.start(CatalogService.self)) }

    init(_ service: TestService<CatalogService>) { self.service = service }

    struct Brand: Sendable {
        let id: BrandID
        let token: String
    }

    func brand() throws -> Brand {
        let id = BrandID.random()
        return Brand(id: id, token: try service.token(.brand, of: id))
    }

    func product(of brand: Brand) async throws -> String {
        let answer = try await service.call(.post, "/v1/products", Self.product(), token: brand.token)
        return try #require(answer["productId"]?.string)
    }

    func draft(by brand: Brand, _ plan: [UInt8]? = nil) async throws -> String {
        let body = if let plan { plan } else { Self.sale(of: try await product(of: brand)) }
        let answer = try await service.call(.post, "/v1/sales", body, token: brand.token)
        #expect(answer.status == 201)
        return try #require(answer["saleId"]?.string)
    }

    /// Edits a sale, whatever its state is unless a tag is given.
    @discardableResult
    func change(
        _ sale: String, to plan: [UInt8], by brand: Brand, ifMatch tag: String = "*"
    ) async throws -> TestService<CatalogService>.Answer {
        try await service.call(.put, "/v1/sales/\(sale)", plan, token: brand.token, headers: [("If-Match", tag)])
    }

    func publishedSale(by brand: Brand, _ plan: [UInt8]? = nil) async throws -> String {
        let sale = try await draft(by: brand, plan)
        let answer = try await service.call(.post, "/v1/sales/\(sale)/publication", token: brand.token)
        #expect(answer.status == 200)
        return sale
    }

    // MARK: Bodies

    static func product() -> [UInt8] {
        Array(
            #"{"name":{"en":"Phone"},"variants":[{"code":"black","title":{"en":"Black"}},{"code":"white","title":{"en":"White"}}]}"#
                .utf8)
    }

    static func sale(of product: String, holdSeconds: Int = 900, batches: [String] = [batch()]) -> [UInt8] {
        Array(
            """
            {"productId":"\(product)","title":{"en":"Friday noon"},"holdSeconds":\(holdSeconds),"waitlistMax":10,\
            "batches":[\(batches.joined(separator: ","))]}
            """.utf8)
    }

    /// A batch that opened long ago.
    static func batch(_ number: Int = 1, lines: [String] = [line()]) -> String {
        #"{"number":\#(number),"opensAt":"2020-01-01T12:00:00Z","lines":[\#(lines.joined(separator: ","))]}"#
    }

    static func line(_ variant: String = "black", units: Int = 100, price: Int = 199_900) -> String {
        #"{"variant":"\#(variant)","units":\#(units),"price":{"amount":\#(price),"currency":"CNY"}}"#
    }

    // MARK: Topics

    private func isOf(_ key: String) -> (ConsumedRecord) -> Bool {
        { $0.key?.elementsEqual(key.utf8) == true }
    }

    /// The newest record of a key, once there is one that fits.
    func newest(
        of key: String, on topic: Topic, where fits: ([UInt8]) throws -> Bool = { _ in true }
    ) async throws -> ConsumedRecord? {
        func belongs(_ record: ConsumedRecord) -> Bool {
            isOf(key)(record) && (try? fits(Array(record.value ?? ByteView([])))) == true
        }
        return try await service.records(of: topic.name) { $0.contains(where: belongs) }.last(where: belongs)
    }

    /// The records of a key that stand before another's first: compacted topics of this service have one partition.
    func records(of key: String, on topic: Topic, before marker: String) async throws -> [ConsumedRecord] {
        let all = try await service.records(of: topic.name) { $0.contains(where: isOf(marker)) }
        return all.prefix { !isOf(marker)($0) }.filter(isOf(key))
    }

    // MARK: Sold out

    func soldOut(_ sale: SaleID, _ brand: Brand, at time: Timestamp) async throws {
        try await service.publish(
            .reservations, key: sale,
            SaleSoldOut(saleId: sale, batch: 1, variant: "black", brandId: brand.id, soldOutAt: time))
    }

    /// Returns when the sale is shown as sold out at that time.
    func untilSoldOut(_ sale: String, at time: Timestamp?, token: String) async throws {
        while true {
            let read = try await service.call(.get, "/v1/sales/\(sale)", token: token)
            let shown = Self.soldOutAt(read.body)
            if shown == time.map({ "\($0)" }) { return }
            try await Task.sleep(for: .milliseconds(20))
        }
    }

    static func soldOutAt(_ sale: DocumentTree) -> String? {
        sale["batches"]?.elements.first?["lines"]?.elements.first?["soldOutAt"]?.string
    }
}
