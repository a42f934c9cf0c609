// Sales as brands and buyers meet them: over HTTP and on their topic.
import HTTP
import JSON
import Kafka
import Models
import TestSupport
import Testing

@testable import CatalogCore

@Suite(.timeLimit(.minutes(2))) struct SaleTests {
    private let catalog: Catalog

    init() async throws { catalog = try await Catalog.shared() }

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
}
