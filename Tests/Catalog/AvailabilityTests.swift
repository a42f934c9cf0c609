// What reservation says of a sale, as the sale's readers see it.
import Models
import Postgres
import TestSupport
import Testing

@testable import CatalogCore

@Suite(.timeLimit(.minutes(2))) struct AvailabilityTests {
    private let catalog: Catalog

    init() async throws { catalog = try await Catalog.shared() }

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
            try await postgres.execute(AvailabilityStatements.hear([news]))
            let rows = try await postgres.query(AvailabilityStatements.soldOut(of: [sale]))
            return try AvailabilityStatements.soldOutRow.first(rows)?.time
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

    @Test func theAuditReadsWhatIsOfferedAndWhatIsShownAsSoldOut() async throws {
        let brand = try catalog.brand()
        let published = try await catalog.publishedSale(by: brand)
        let draft = try await catalog.draft(by: brand)
        let (sale, other) = (try #require(SaleID(published)), try #require(SaleID(draft)))
        let time = Timestamp(seconds: 1000)
        try await catalog.soldOut(sale, brand, at: time)
        try await catalog.untilSoldOut(published, at: time, token: brand.token)
        let postgres = try catalog.service.database.pool("catalog", connectionsMax: 1)
        let offers = try await postgres.query(
            """
            SELECT sale_id || '/' || batch || '/' || variant || '/' || units FROM audit_offers
            WHERE sale_id = ANY(\([sale, other]))
            """)
        #expect(try offers.column(0, as: String.self) == ["\(sale)/1/black/100"])
        let soldOut = try await postgres.query(
            "SELECT batch || '/' || variant FROM audit_sold_out WHERE sale_id = \(sale)")
        #expect(try soldOut.column(0, as: String.self) == ["1/black"])
        await postgres.close()
    }
}
