// The rules of a sale's plan: pure.
import Models
import Testing

@testable import CatalogCore

@Suite struct SaleRulesTests {
    private let product = Product(
        productId: .init(high: 1, low: 1), brandId: .init(high: 1, low: 2), name: text("phone"),
        variants: [.init(code: "black", title: text("Black")), .init(code: "white", title: text("White"))])
    private let noon = Timestamp(seconds: 1_795_780_800)

    private func line(_ variant: String = "black", units: Int64 = 100, price: Int64 = 199_900) -> Sale.Line {
        Sale.Line(variant: variant, units: units, price: Money(price, .cny))
    }

    private func batch(
        _ number: Int = 1, opensAt: Timestamp? = nil, closesAt: Timestamp? = nil, lines: [Sale.Line]? = nil
    ) -> Sale.Batch {
        Sale.Batch(number: number, opensAt: opensAt ?? noon, closesAt: closesAt, lines: lines ?? [line()])
    }

    private func plan(
        _ batches: [Sale.Batch]? = nil, product: ProductID? = nil, holdSeconds: Int64 = 900, waitlistMax: Int64 = 10
    ) -> SalePlan {
        SalePlan(
            productId: product ?? self.product.productId, title: text("Friday noon"), holdSeconds: holdSeconds,
            waitlistMax: waitlistMax, batches: batches ?? [batch()])
    }

    private func sale(_ plan: SalePlan) -> Sale { plan.sale(.init(high: 2, low: 2), of: product.brandId, revision: 1) }

    private func fields(_ faults: [Fault]) -> [String] { faults.map(\.field) }

    // MARK: What any sale must be

    @Test func aPlainSaleHasNoFaults() {
        #expect(plan().faults(for: product) == [])
        #expect(plan().publicationFaults() == [])
    }

    @Test func aDraftMayBeEmptyAPublicSaleMayNot() {
        #expect(plan([]).faults(for: product) == [])
        #expect(fields(plan([]).publicationFaults()) == ["batches"])
        #expect(
            fields(plan([batch(1, lines: []), batch(2, lines: [line(units: 0)])]).publicationFaults()) == [
                "batches[0].lines", "batches[1].lines[0].units",
            ])
    }

    @Test func everyFaultIsNamedAtOnce() {
        let wrong = plan([
            batch(2, closesAt: noon, lines: [line(), line(), line("green", price: 0)]), batch(2), batch(1),
        ])
        #expect(
            fields(wrong.faults(for: product)) == [
                "batches[0].closesAt", "batches[0].lines[1].variant", "batches[0].lines[2].variant",
                "batches[0].lines[2].price.amount", "batches[1].number", "batches[2].number",
            ])
    }

    @Test func theRecordStaysSmall() {
        let lines = (0..<Product.variantsMax).map { line("v\($0)") }
        let large = Product(
            productId: product.productId, brandId: product.brandId, name: text("x"),
            variants: lines.map { .init(code: $0.variant, title: text("x")) })
        #expect(plan((1...20).map { batch($0, lines: lines) }).faults(for: large) == [])
        #expect(fields(plan((1...21).map { batch($0, lines: lines) }).faults(for: large)) == ["batches"])
    }

    // MARK: What may change

    private func changes(_ after: SalePlan, from before: SalePlan, secondsFromNoon: Int64) -> [String] {
        fields(after.changeFaults(from: sale(before), at: noon.adding(seconds: secondsFromNoon)))
    }

    @Test func beforeABatchOpensItsTimesAndPricesMayChange() {
        let after = plan(
            [
                batch(
                    opensAt: noon.adding(seconds: 60), closesAt: noon.adding(seconds: 120),
                    lines: [line(price: 1), line("white")])
            ],
            holdSeconds: 60, waitlistMax: 0)
        #expect(changes(after, from: plan(), secondsFromNoon: -60) == [])
    }

    @Test func onceABatchIsOpenOnlyItsSupplyRises() {
        let more = plan([batch(lines: [line(units: 101)])])
        #expect(changes(more, from: plan(), secondsFromNoon: 1) == [])
        let after = plan(
            [batch(opensAt: noon.adding(seconds: 60), lines: [line(price: 1), line("white")])], holdSeconds: 60,
            waitlistMax: 0
        )
        #expect(
            changes(after, from: plan(), secondsFromNoon: 1) == [
                "holdSeconds", "waitlistMax", "batches[0].opensAt", "batches[0].lines[0].price",
                "batches[0].lines[1].variant",
            ])
    }

    @Test func aBatchIsFixedShortlyBeforeItOpens() {
        let cheaper = plan([batch(lines: [line(price: 1)])])
        #expect(changes(cheaper, from: plan(), secondsFromNoon: -SalePlan.frozenSeconds - 1) == [])
        #expect(
            changes(cheaper, from: plan(), secondsFromNoon: -SalePlan.frozenSeconds) == ["batches[0].lines[0].price"])
    }

    @Test(arguments: [-86_400, 1] as [Int64]) func supplyNeverFallsAndNothingGoesAway(seconds: Int64) {
        let before = plan([batch(1, lines: [line(), line("white")]), batch(2)])
        #expect(
            changes(plan([batch(1, lines: [line(units: 99)])]), from: before, secondsFromNoon: seconds) == [
                "batches[0].lines[0].units", "batches[0].lines", "batches",
            ])
    }

    @Test func anotherProductIsAnotherSale() {
        let other = plan(product: .init(high: 9, low: 9))
        #expect(changes(other, from: plan(), secondsFromNoon: -86_400) == ["productId"])
    }

    @Test func newBatchesComeBehindTheOthers() {
        let before = plan([batch(1), batch(3)])
        let later = batch(4, opensAt: noon.adding(seconds: 604_800))
        #expect(changes(plan([batch(1), batch(3), later]), from: before, secondsFromNoon: 1) == [])
        #expect(
            changes(plan([batch(1), batch(2), batch(3)]), from: before, secondsFromNoon: 1) == ["batches[1].number"])
    }

    @Test func anOpenBatchMayCloseLaterAndAClosedOneStaysClosed() {
        let minute = noon.adding(seconds: 60)
        let hour = noon.adding(seconds: 3600)
        #expect(changes(plan([batch(closesAt: hour)]), from: plan(), secondsFromNoon: 1) == [])
        #expect(changes(plan([batch(closesAt: hour)]), from: plan([batch(closesAt: minute)]), secondsFromNoon: 1) == [])
        #expect(changes(plan(), from: plan([batch(closesAt: minute)]), secondsFromNoon: 1) == [])
        #expect(
            changes(plan([batch(closesAt: minute)]), from: plan(), secondsFromNoon: 70) == ["batches[0].closesAt"])
        #expect(
            changes(plan([batch(closesAt: hour)]), from: plan([batch(closesAt: minute)]), secondsFromNoon: 61) == [
                "batches[0].closesAt"
            ])
    }

    @Test func linesThatOfferMoreAreFound() {
        let before = sale(plan([batch(1, lines: [line(), line("white")])]))
        let raised = plan([batch(1, lines: [line(units: 101), line("white")]), batch(2)]).raisedLines(from: before)
        #expect(raised.map { "\($0.batch)/\($0.variant)" } == ["1/black"])
    }
}

/// A text in English.
func text(_ english: String) -> LocalizedText {
    guard let text = LocalizedText(["en": english]) else { preconditionFailure("one text is enough") }
    return text
}
