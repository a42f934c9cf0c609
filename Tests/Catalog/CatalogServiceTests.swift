// The catalogue as brands and buyers meet it: over HTTP and on its topics.
import EventPipeline
import HTTP
import JSON
import Kafka
import Models
import Postgres
import TestSupport
import Testing

@testable import CatalogCore

@Suite(.timeLimit(.minutes(2))) struct CatalogServiceTests {
    private let catalog: Catalog

    init() async throws { catalog = try await Catalog.shared() }

    // MARK: The document

    @Test func theDocumentAndTheRoutesAreTheSame() throws {
        let document = try OpenAPIDocument(service: "catalog")
        #expect(document.problems == [])
        #expect(catalog.service.routeProblems == [])
        #expect(document.bodyLimits == catalog.service.bodyLimits(of: document.bodyLimits.keys))
    }

    // MARK: Products

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

    // MARK: Sales

    @Test func anOlderRecordBehindANewerOneIsPublishedOver() async throws {
        let brand = try catalog.brand()
        let id = try await catalog.publishedSale(by: brand)
        let newest = try #require(try await catalog.newest(of: id, on: .sales))
        let sale = try JSONParser.parse(Array(try #require(newest.value)), Sale.init(json:))
        #expect(sale.revision == 2)
        func publishOlder() async throws {
            try await catalog.service.publish(
                .sales, key: sale.saleId,
                Sale(
                    saleId: sale.saleId, brandId: sale.brandId, productId: sale.productId, title: sale.title,
                    revision: 1,
                    holdSeconds: 1, waitlistMax: 0, batches: sale.batches))
        }
        func revisions(_ records: [ConsumedRecord]) -> [Int64] {
            records.filter { $0.key?.elementsEqual(id.utf8) == true }.compactMap { record in
                try? JSONParser.parse(Array(record.value ?? ByteView([])), Sale.init(json:)).revision
            }
        }
        func untilPublishedOver(_ copies: Int) async throws -> [Int64] {
            revisions(
                try await catalog.service.records(of: Topic.sales.name) { records in
                    let revisions = revisions(records)
                    return revisions.count { $0 == 1 } == copies && revisions.last == 2
                })
        }
        try await publishOlder()
        #expect(try await untilPublishedOver(1) == [2, 1, 2])
        // Each time anew, and once each: what is published again ends it.
        try await publishOlder()
        #expect(try await untilPublishedOver(2) == [2, 1, 2, 1, 2])
    }

    @Test func aDraftIsItsBrandsAloneAndOnNoTopic() async throws {
        let brand = try catalog.brand()
        let sale = try await catalog.draft(by: brand)
        for reader in [try catalog.service.token(.person), try catalog.brand().token] {
            #expect(try await catalog.service.call(.get, "/v1/sales/\(sale)", token: reader).status == 404)
            let list = try await catalog.service.call(.get, "/v1/sales?brandId=\(brand.id)", token: reader)
            #expect(list.items == [])
        }
        let own = try await catalog.service.call(.get, "/v1/sales?status=draft", token: brand.token)
        #expect(own.items.compactMap { $0["saleId"]?.string } == [sale])
        // What is published later stands behind what was published before.
        let marker = try await catalog.publishedSale(by: brand)
        #expect(try await catalog.records(of: sale, on: .sales, before: marker).isEmpty)
    }

    @Test func publishingTwiceIsPublishingOnce() async throws {
        let brand = try catalog.brand()
        let sale = try await catalog.draft(by: brand)
        let path = "/v1/sales/\(sale)/publication"
        let first = try await catalog.service.call(.post, path, token: brand.token)
        #expect(first.status == 200)
        #expect(first["status"]?.string == "published")
        let second = try await catalog.service.call(.post, path, token: brand.token)
        #expect(second.status == 200)
        #expect(second.body == first.body)

        let marker = try await catalog.publishedSale(by: brand)
        let records = try await catalog.records(of: sale, on: .sales, before: marker)
        #expect(records.count == 1)
        let published = try JSONParser.parse(Array(try #require(records.first?.value)), Sale.init(json:))
        #expect("\(published.saleId)" == sale)
        #expect(published.revision == 2)
        #expect(published.brandId == brand.id)
        #expect(published.batches.first?.lines.first?.units == 100)
    }

    @Test func aDraftThatLacksSomethingIsNotPublished() async throws {
        let brand = try catalog.brand()
        let product = try await catalog.product(of: brand)
        let sale = try await catalog.draft(by: brand, Catalog.sale(of: product, batches: []))
        let answer = try await catalog.service.call(.post, "/v1/sales/\(sale)/publication", token: brand.token)
        #expect(answer.status == 422)
        #expect(answer.wrongFields == ["batches"])
        let read = try await catalog.service.call(.get, "/v1/sales/\(sale)", token: brand.token)
        #expect(read["status"]?.string == "draft")
        #expect(read["revision"]?.integer == 1)
    }

    @Test func everyFaultOfASaleIsNamedAndNothingIsStored() async throws {
        let brand = try catalog.brand()
        let product = try await catalog.product(of: brand)
        let wrong = Catalog.sale(
            of: product,
            batches: [
                Catalog.batch(2, lines: [Catalog.line("green"), Catalog.line(price: 0)]), Catalog.batch(1),
            ])
        let answer = try await catalog.service.call(.post, "/v1/sales", wrong, token: brand.token)
        #expect(answer.status == 422)
        #expect(
            answer.wrongFields == [
                "batches[0].lines[0].variant", "batches[0].lines[1].price.amount", "batches[1].number",
            ])
        let list = try await catalog.service.call(.get, "/v1/sales?status=draft", token: brand.token)
        #expect(list.items == [])
    }

    /// Swift calls KELVIN SIGN and K equal; Postgres and every other reader do not.
    @Test func aVariantOrACurrencyThatIsNoneIsRefused() async throws {
        let brand = try catalog.brand()
        let plan = #"{"name":{"en":"Phone"},"variants":[{"code":"K30-black","title":{"en":"Black"}}]}"#
        let made = try await catalog.service.call(.post, "/v1/products", Array(plan.utf8), token: brand.token)
        let product = try #require(made["productId"]?.string)
        let line = Catalog.line("K30-black")
        for (wrong, field) in [
            (Catalog.line("\u{212a}30-black"), "variant"), (Catalog.line(#"\u212a30-black"#), "variant"),
            (line.replacing("CNY", with: "XTS"), "price.currency"),
            (line.replacing("CNY", with: "XDR"), "price.currency"),
            (line.replacing("CNY", with: "XAU"), "price.currency"),
            (line.replacing("\"units\":", with: "\"units\":1,\"units\":"), ""),
        ] {
            let body = Catalog.sale(of: product, batches: [Catalog.batch(lines: [wrong])])
            let answer = try await catalog.service.call(.post, "/v1/sales", body, token: brand.token)
            #expect(answer.status == 400, "\(wrong)")
            #expect(answer.wrongFields.first?.hasSuffix(field) == true, "\(answer.body)")
        }
        let right = Catalog.sale(
            of: product, batches: [Catalog.batch(lines: [line.replacing("\"units\":100", with: "\"units\":1e2")])])
        #expect(try await catalog.service.call(.post, "/v1/sales", right, token: brand.token).status == 201)
        for code in ["b c", "é", "\u{212a}30"] {
            let body = Array(plan.replacing("K30-black", with: code).utf8)
            let answer = try await catalog.service.call(.post, "/v1/products", body, token: brand.token)
            #expect(answer.status == 400 && answer.wrongFields == ["variants[0].code"])
        }
    }

    /// What is accepted is published, and whoever reads the topic reads it: names are counted in characters on both sides.
    @Test func theLongestNamesAndTheLongestSaleAreReadBack() async throws {
        let brand = try catalog.brand()
        func plan(_ count: Int) -> [UInt8] {
            let name = String(repeating: "小", count: count)
            let variants = (0..<100).map { #"{"code":"v\#($0)","title":{"zh":"\#($0 == 0 ? name : "x")"}}"# }
            return Array(#"{"name":{"zh":"\#(name)"},"variants":[\#(variants.joined(separator: ","))]}"#.utf8)
        }
        let long = try await catalog.service.call(.post, "/v1/products", plan(2001), token: brand.token)
        #expect(long.status == 400 && long.wrongFields == ["name.zh"])
        let made = try await catalog.service.call(.post, "/v1/products", plan(2000), token: brand.token)
        #expect(made.status == 201)
        let product = try #require(made["productId"]?.string)
        let published = try await catalog.newest(of: product, on: .products)
        let read = try JSONParser.parse(try #require(published?.value), Product.init(json:))
        #expect(read.name.byLocale["zh"]?.unicodeScalars.count == 2000)

        let lines = (0..<100).map { Catalog.line("v\($0)") }
        let batches = (1...20).map { Catalog.batch($0, lines: lines) }
        let sale = try await catalog.publishedSale(by: brand, Catalog.sale(of: product, batches: batches))
        let newest = try await catalog.newest(of: sale, on: .sales)
        let record = try #require(newest?.value)
        #expect(record.count > 64 << 10 && record.count <= Topic.sales.bodyBytesMax)
        // An older record behind it is published over, by who reads back as much: none of the two is a dead letter.
        var older = RecordBatch()
        let old = try JSONParser.parse(record) { (json) throws(JSONError) in try Sale(json: json) }
        older.append(
            event: Sale(
                saleId: old.saleId, brandId: old.brandId, productId: old.productId, title: old.title, revision: 1,
                holdSeconds: old.holdSeconds, waitlistMax: old.waitlistMax, batches: old.batches),
            topic: .sales, key: old.saleId.textBytes, id: "older")
        try await catalog.service.producer.send(older)
        let all = try await catalog.service.records(of: Topic.sales.name) {
            $0.count { $0.key?.elementsEqual(sale.utf8) == true } >= 3
        }
        #expect(all.last { $0.key?.elementsEqual(sale.utf8) == true }?.value == record)
    }

    @Test func aSaleIsOfItsBrandsOwnProduct() async throws {
        let product = try await catalog.product(of: try catalog.brand())
        let other = try catalog.brand()
        for product in [product, "\(ProductID.random())"] {
            let answer = try await catalog.service.call(
                .post, "/v1/sales", Catalog.sale(of: product), token: other.token)
            #expect(answer.status == 422)
            #expect(answer.wrongFields == ["productId"])
        }
    }

    @Test func supplyRisesInAPublicSaleAndTheChangeIsPublished() async throws {
        let brand = try catalog.brand()
        let product = try await catalog.product(of: brand)
        let sale = try await catalog.publishedSale(by: brand, Catalog.sale(of: product))
        let more = Catalog.sale(
            of: product, batches: [Catalog.batch(lines: [Catalog.line(units: 150)]), Catalog.batch(2)])
        let answer = try await catalog.change(sale, to: more, by: brand)
        #expect(answer.status == 200)
        #expect(answer["revision"]?.integer == 3)
        let record = try #require(
            try await catalog.newest(of: sale, on: .sales) { try JSONParser.parse($0, Sale.init(json:)).revision == 3 })
        let published = try JSONParser.parse(Array(try #require(record.value)), Sale.init(json:))
        #expect(published.batch(1)?.line("black")?.units == 150)
        #expect(published.batches.count == 2)

        // The same again is no change.
        let again = try await catalog.change(sale, to: more, by: brand)
        #expect(again.body == answer.body)
    }

    @Test func whatBuyersRelyOnIsFixed() async throws {
        let brand = try catalog.brand()
        let product = try await catalog.product(of: brand)
        let sale = try await catalog.publishedSale(by: brand, Catalog.sale(of: product))
        let cheaper = Catalog.sale(of: product, batches: [Catalog.batch(lines: [Catalog.line(units: 99, price: 1)])])
        let answer = try await catalog.change(sale, to: cheaper, by: brand)
        #expect(answer.status == 409)
        #expect(answer.problem == "sale-is-public")
        #expect(answer.wrongFields == ["batches[0].lines[0].units", "batches[0].lines[0].price"])
        #expect(try await catalog.service.call(.delete, "/v1/sales/\(sale)", token: brand.token).status == 409)
        let read = try await catalog.service.call(.get, "/v1/sales/\(sale)", token: brand.token)
        #expect(read["revision"]?.integer == 2)
    }

    @Test func aDraftMayChangeAltogetherAndGo() async throws {
        let brand = try catalog.brand()
        let sale = try await catalog.draft(by: brand)
        let other = try await catalog.product(of: brand)
        let plan = Catalog.sale(of: other, holdSeconds: 60, batches: [])
        let changed = try await catalog.change(sale, to: plan, by: brand)
        #expect(changed.status == 200)
        #expect(changed["productId"]?.string == other)
        #expect(changed["revision"]?.integer == 2)
        #expect(try await catalog.service.call(.delete, "/v1/sales/\(sale)", token: brand.token).status == 204)
        #expect(try await catalog.service.call(.get, "/v1/sales/\(sale)", token: brand.token).status == 404)
        #expect(try await catalog.service.call(.delete, "/v1/sales/\(sale)", token: brand.token).status == 404)
    }

    @Test func everyStateOfASaleIsKeptForItsBrand() async throws {
        let brand = try catalog.brand()
        let product = try await catalog.product(of: brand)
        let sale = try await catalog.publishedSale(by: brand, Catalog.sale(of: product))
        let more = Catalog.sale(of: product, batches: [Catalog.batch(lines: [Catalog.line(units: 101)])])
        try await catalog.change(sale, to: more, by: brand)
        let path = "/v1/sales/\(sale)/changes"
        let first = try await catalog.service.call(.get, "\(path)?limit=2", token: brand.token)
        #expect(first.items.compactMap { $0["action"]?.string } == ["changed", "published"])
        let cursor = try #require(first["nextCursor"]?.string)
        let rest = try await catalog.service.call(.get, "\(path)?limit=2&cursor=\(cursor)", token: brand.token)
        #expect(rest.items.compactMap { $0["action"]?.string } == ["created"])
        #expect(rest["nextCursor"] == nil)
        #expect(rest.items.first?["changedBy"]?.string == "\(brand.id)")
        #expect(try await catalog.service.call(.get, path, token: catalog.service.token(.person)).status == 403)
    }

    @Test func nobodyTouchesAnothersSale() async throws {
        let brand = try catalog.brand()
        let product = try await catalog.product(of: brand)
        let draft = try await catalog.draft(by: brand, Catalog.sale(of: product))
        let sale = try await catalog.publishedSale(by: brand, Catalog.sale(of: product))
        let (other, person) = (try catalog.brand().token, try catalog.service.token(.person))
        let plan = Catalog.sale(of: product, batches: [])
        for (token, ofDraft, ofSale) in [(other, 404, 403), (person, 403, 403)] {
            for (id, status) in [(draft, ofDraft), (sale, ofSale)] {
                #expect(try await catalog.service.call(.put, "/v1/sales/\(id)", plan, token: token).status == status)
                #expect(try await catalog.service.call(.delete, "/v1/sales/\(id)", token: token).status == status)
                let publication = try await catalog.service.call(.post, "/v1/sales/\(id)/publication", token: token)
                #expect(publication.status == status)
            }
        }
        let read = try await catalog.service.call(.get, "/v1/sales/\(draft)", token: brand.token)
        #expect(read["status"]?.string == "draft")
        #expect(read["revision"]?.integer == 1)
    }

    // MARK: Sold out

    @Test func whatReservationSaysSoldOutIsShownUntilSupplyRises() async throws {
        let brand = try catalog.brand()
        let product = try await catalog.product(of: brand)
        let sale = try await catalog.publishedSale(by: brand, Catalog.sale(of: product))
        let id = try #require(SaleID(sale))
        let before = Timestamp.now()
        try await catalog.soldOut(id, brand, at: before)
        try await catalog.untilSoldOut(sale, at: before, token: brand.token)

        let more = Catalog.sale(of: product, batches: [Catalog.batch(lines: [Catalog.line(units: 150)])])
        let raised = try await catalog.change(sale, to: more, by: brand)
        #expect(Catalog.soldOutAt(raised.body) == nil)

        // What was said before the rise and comes again no longer holds; what is said after it does.
        try await catalog.soldOut(id, brand, at: before)
        let after = Timestamp.now().adding(seconds: 1)
        try await catalog.soldOut(id, brand, at: after)
        try await catalog.untilSoldOut(sale, at: after, token: brand.token)

        // It comes back, and what is older and comes late changes nothing.
        try await catalog.service.publish(
            .reservations, key: id,
            SaleAvailable(
                saleId: id, batch: 1, variant: "black", brandId: brand.id, availableAt: after, lineRevision: 4))
        try await catalog.untilSoldOut(sale, at: nil, token: brand.token)
    }

    @Test func newsOfALineCountByTheirRevisionInWhicheverOrderTheyCome() async throws {
        let postgres = try catalog.service.database.pool("catalog", connectionsMax: 1)
        let (sale, brand) = (SaleID.random(), BrandID.random())
        let times = (0..<4).map { Timestamp(seconds: 1000 + $0) }
        func soldOut(_ revision: Int?, _ time: Timestamp) -> LineNews {
            LineNews(
                SaleSoldOut(
                    saleId: sale, batch: 1, variant: "black", brandId: brand, soldOutAt: time, lineRevision: revision))
        }
        func available(_ revision: Int) -> LineNews {
            LineNews(
                SaleAvailable(
                    saleId: sale, batch: 1, variant: "black", brandId: brand, availableAt: times[0],
                    lineRevision: revision))
        }
        func shown(after news: LineNews) async throws -> Timestamp? {
            try await postgres.execute(LineStatements.hear([news]))
            return try await postgres.query(LineStatements.soldOut(of: [sale])).first.map {
                try LineStatements.soldOutLine($0).2
            }
        }
        // Of a version that did not number them; then in order, late, and twice.
        #expect(try await shown(after: soldOut(nil, times[0])) == times[0])
        #expect(try await shown(after: available(2)) == nil)
        #expect(try await shown(after: soldOut(1, times[1])) == nil)
        #expect(try await shown(after: soldOut(3, times[2])) == times[2])
        #expect(try await shown(after: available(2)) == times[2])
        #expect(try await shown(after: soldOut(5, times[3])) == times[3])
        #expect(try await shown(after: available(4)) == times[3])
        #expect(try await shown(after: available(6)) == nil)
        await postgres.close()
    }
}

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
