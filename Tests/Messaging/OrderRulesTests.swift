import Models
import TestSupport
import Testing

@testable import MessagingCore

@Suite struct OrderStatusTests {
    private let line = OrderLine(
        orderId: OrderID(high: 1, low: 1), saleId: SaleID(high: 1, low: 2), batch: 1, variant: "a",
        buyerId: AccountID(high: 1, low: 3), brandId: BrandID(high: 1, low: 4))

    /// Every history that an order can have ends the same in whatever order its events arrive, and however often.
    @Test(arguments: [
        [OrderStatus.reserved, .confirmed],
        [.waitlisted, .reserved, .confirmed, .released, .refunded],
        [.waitlisted, .rejected],
        [.reserved, .released],
    ])
    func anOrderEndsTheSameInWhateverOrderItsEventsArrive(_ history: [OrderStatus]) throws {
        var random = SeededRandom(seed: 1)
        for _ in 0..<50 {
            var events = history + history.filter { _ in random.bool() }
            events.shuffle(using: &random)
            let changes = events.map { OrderChange(line, $0, at: .distantPast) }
            let folded = OrderChange.folded(changes)
            #expect(folded.count == 1)
            #expect(folded.first?.status == history.last)
        }
    }

    @Test func foldingKeepsOrdersApartAndInTheirOrder() {
        let other = OrderLine(
            orderId: OrderID(high: 2, low: 1), saleId: line.saleId, batch: 2, variant: "b", buyerId: line.buyerId,
            brandId: line.brandId)
        let folded = OrderChange.folded([
            OrderChange(other, .waitlisted, at: .distantPast), OrderChange(line, .reserved, at: .distantPast),
            OrderChange(other, .reserved, at: .distantPast),
        ])
        #expect(folded.map(\.orderId) == [other.orderId, line.orderId])
        #expect(folded.map(\.status) == [.reserved, .reserved])
    }

    @Test func changesOfOneOrderForTwoBuyersStayApart() {
        let other = OrderLine(
            orderId: line.orderId, saleId: line.saleId, batch: 1, variant: "a", buyerId: AccountID(high: 9, low: 9),
            brandId: line.brandId)
        let changes = [
            OrderChange(other, .released, at: .distantPast), OrderChange(line, .reserved, at: .distantPast),
            OrderChange(line, .waitlisted, at: .distantPast),
        ]
        let folded = OrderChange.folded(changes)
        #expect(folded.map(\.status) == [.released, .reserved])
        #expect(OrderChange.sets(folded).map(\.count) == [1, 1])
    }

    /// Why the status's rank is order enough: in no life does it fall, so whatever comes last has the greatest.
    @Test(
        arguments: [
            [.waitlisted, .reserved, .confirmed, .released, .refunded], [.reserved, .released, .refunded],
            [.waitlisted, .rejected], [.waitlisted, .released], [.released], [.rejected], [.reserved, .confirmed],
        ] as [[OrderStatus]])
    func aLifeEndsTheSameInWhateverOrderItIsHeardOf(life: [OrderStatus]) {
        #expect(zip(life, life.dropFirst()).allSatisfy { $0.rank < $1.rank })
        var random = SeededRandom(seed: 1)
        for _ in 0..<50 {
            let heard = (life + life).shuffled(using: &random).map { OrderChange(line, $0, at: .distantPast) }
            #expect(OrderChange.folded(heard).map(\.status) == [life[life.count - 1]])
        }
    }

    @Test func aRefundThatComesFirstTakesBatchAndVariantFromTheDecision() {
        let refund = PaymentRefunded(
            paymentId: PaymentID(high: 1, low: 9), orderId: line.orderId, saleId: line.saleId, buyerId: line.buyerId,
            brandId: line.brandId, amount: Money(1, .cny), reason: .cancelled)
        let folded = OrderChange.folded([
            OrderChange(refund, at: .distantPast), OrderChange(line, .reserved, at: .distantPast),
        ])
        #expect(folded.first?.status == .refunded)
        #expect(folded.first?.batch == 1)
        #expect(folded.first?.variant == "a")
    }
}

@Suite struct OrderPlacementTests {
    private let noon = Timestamp("2026-11-27T12:00:00Z")!

    private func sale(_ batches: Sale.Batch...) -> Sale {
        Sale(
            saleId: SaleID(high: 1, low: 1), brandId: BrandID(high: 1, low: 2), productId: ProductID(high: 1, low: 3),
            title: LocalizedText(["en": "noon"])!, revision: 1, holdSeconds: 60, waitlistMax: 0, batches: batches)
    }

    private func batch(_ number: Int, from: Int64, until: Int64? = nil, _ variants: String...) -> Sale.Batch {
        Sale.Batch(
            number: number, opensAt: noon.adding(seconds: from), closesAt: until.map { noon.adding(seconds: $0) },
            lines: variants.map { Sale.Line(variant: $0, units: 1, price: Money(1, .cny)) })
    }

    @Test func anOrderWithoutABatchGoesToTheOneThatIsOpen() throws {
        let sale = sale(batch(1, from: -100, until: -50, "a"), batch(2, from: 0, "a"), batch(3, from: 100, "a"))
        #expect(try sale.placement(batch: nil, variant: "a", at: noon).batch == 2)
        #expect(try sale.placement(batch: nil, variant: "a", at: noon.adding(seconds: 100)).batch == 3)
    }

    @Test func aBatchOpensAtItsMomentAndClosesAtItsMoment() throws {
        let sale = sale(batch(1, from: 0, until: 10, "a"))
        let before = Timestamp(microseconds: noon.microseconds - 1)
        #expect(throws: OrderRefusal.notOpen(opensAt: noon)) {
            try sale.placement(batch: 1, variant: "a", at: before)
        }
        #expect(throws: OrderRefusal.notOpen(opensAt: noon)) {
            try sale.placement(batch: nil, variant: "a", at: before)
        }
        #expect(try sale.placement(batch: 1, variant: "a", at: noon).line.variant == "a")
        #expect(throws: OrderRefusal.closed) {
            try sale.placement(batch: nil, variant: "a", at: noon.adding(seconds: 10))
        }
        #expect(throws: OrderRefusal.closed) {
            try sale.placement(batch: 1, variant: "a", at: noon.adding(seconds: 10))
        }
    }

    @Test func whatIsNotOfferedIsNamed() {
        let sale = sale(batch(1, from: 0, "a"))
        #expect(throws: OrderRefusal.unknownVariant) { try sale.placement(batch: nil, variant: "b", at: noon) }
        #expect(throws: OrderRefusal.unknownVariant) { try sale.placement(batch: 1, variant: "b", at: noon) }
        #expect(throws: OrderRefusal.unknownBatch) { try sale.placement(batch: 2, variant: "a", at: noon) }
    }

    @Test func aVariantWaitsForTheBatchThatOffersIt() throws {
        let sale = sale(batch(1, from: 0, "a"), batch(2, from: 60, "b"))
        #expect(throws: OrderRefusal.notOpen(opensAt: noon.adding(seconds: 60))) {
            try sale.placement(batch: nil, variant: "b", at: noon)
        }
    }
}
