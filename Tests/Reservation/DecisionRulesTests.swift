// The decision itself: pure, so every rule is tested without a broker or a database.
import Models
import Testing

@testable import ReservationCore

@Suite struct DecisionRulesTests {
    let sale = SaleID(high: 1, low: 1)
    let terms = Terms(
        brandId: AccountID(high: 9, low: 9), price: Money(199_900, .cny), holdSeconds: 600,
        opensAt: Timestamp(seconds: 1000), closesAt: Timestamp(seconds: 2000))
    var key: StockKey { StockKey(saleId: sale, batch: 1, variant: "mi3") }

    func order(_ number: UInt64, by buyer: UInt64, at seconds: Int64 = 1000) -> OrderInLog {
        OrderInLog(
            order: OrderPlaced(
                orderId: OrderID(high: 2, low: number), saleId: sale, batch: 1, variant: "mi3",
                buyerId: AccountID(high: 3, low: buyer)),
            time: Timestamp(seconds: seconds), offset: Int64(number))
    }

    func decided(
        _ orders: [OrderInLog], _ stock: StockView, cancellations: [CancellationInLog] = [],
        history: History = History()
    ) -> (decisions: DecisionResult, left: StockView) {
        var stocks = [stock]
        let decisions = decide(
            orders, lines: orders.map { _ in 0 }, keys: [key], terms: [terms], stocks: &stocks,
            cancellations: cancellations, history: history)
        return (decisions, stocks[0])
    }

    let two = StockView(units: 2, places: 1, unitsElsewhere: 0, placesElsewhere: 0)

    @Test func unitsGoInTheOrderOfTheLogThenThePlacesThenNothing() {
        let (decisions, left) = decided((1...5).map { order($0, by: $0) }, two)
        #expect(decisions.outcomes == [.reserved, .reserved, .waitlisted, .soldOut, .soldOut])
        #expect(left.isExhausted)
    }

    @Test func aBuyerWhoOrdersTwiceIsReservedOnce() {
        let (decisions, left) = decided([order(1, by: 7), order(2, by: 7)], two)
        #expect(decisions.outcomes == [.reserved, .limitReached])
        #expect(left.units == 1)
    }

    @Test func theSameOrderTwiceIsDecidedOnce() {
        let (decisions, left) = decided([order(1, by: 7), order(1, by: 7)], two)
        #expect(decisions.outcomes == [.reserved, .none])
        #expect(left.units == 1)
    }

    @Test func anOrderThatComesTwiceAfterAllIsGoneIsRefusedOnce() {
        let none = StockView(units: 0, places: 0, unitsElsewhere: 0, placesElsewhere: 0)
        #expect(decided([order(1, by: 7), order(1, by: 7)], none).0.outcomes == [.soldOut, .none])
    }

    @Test func anOrderThatWasDecidedInAnEarlierBatchIsNotDecidedAgain() {
        var history = History()
        history.decided = [OrderID(high: 2, low: 1)]
        let (decisions, left) = decided([order(1, by: 7), order(2, by: 8)], two, history: history)
        #expect(decisions.outcomes == [.none, .reserved])
        #expect(left.units == 1)
    }

    @Test func aBuyerServedInAnEarlierBatchIsRefused() {
        var history = History()
        history.served = [SaleBuyer(saleId: sale, buyerId: AccountID(high: 3, low: 7))]
        #expect(decided([order(1, by: 7)], two, history: history).decisions.outcomes == [.limitReached])
    }

    @Test func theLogsTimeOpensAndClosesABatchToTheMicrosecond() {
        let early = OrderInLog(
            order: order(1, by: 1).order, time: Timestamp(microseconds: 999_999_999), offset: 1)
        let last = OrderInLog(
            order: order(2, by: 2).order, time: Timestamp(microseconds: 1_999_999_999), offset: 2)
        let (decisions, _) = decided([early, last, order(3, by: 3, at: 2000)], two)
        #expect(decisions.outcomes == [.notOpen, .reserved, .closed])
    }

    @Test func nobodyIsRefusedOrWaitlistedWhileAUnitIsFreeElsewhere() {
        let stock = StockView(units: 1, places: 5, unitsElsewhere: 3, placesElsewhere: 0)
        let (decisions, _) = decided((1...4).map { order($0, by: $0) }, stock)
        #expect(decisions.outcomes == [.reserved])
        #expect(decisions.shortages == [Shortage(key: key, wanted: 3)])
    }

    @Test func nobodyIsRefusedWhileAPlaceIsFreeElsewhere() {
        let stock = StockView(units: 0, places: 0, unitsElsewhere: 0, placesElsewhere: 1)
        let (decisions, _) = decided([order(1, by: 1)], stock)
        #expect(decisions.outcomes.isEmpty)
        #expect(decisions.shortages == [Shortage(key: key, wanted: 1)])
    }

    /// A run for a hundred sales would otherwise be cut a hundred times.
    @Test func whatIsShortAnywhereInARunIsSaidAtOnce() {
        let keys = (0..<4).map { StockKey(saleId: SaleID(high: 1, low: UInt64($0)), batch: 1, variant: "black") }
        var stocks = [
            StockView(units: 1, places: 0, unitsElsewhere: 3, placesElsewhere: 0),
            StockView(units: 0, places: 1, unitsElsewhere: 0, placesElsewhere: 5),
            StockView(units: 9, places: 0, unitsElsewhere: 9, placesElsewhere: 0),
            StockView(units: 0, places: 0, unitsElsewhere: 7, placesElsewhere: 0),
        ]
        let lines = [0, 2, 0, 1, 1, 2, 3, 1]
        let orders = lines.indices.map { order(UInt64($0), by: UInt64($0)) }
        let decisions = decide(
            orders, lines: lines, keys: keys, terms: Array(repeating: terms, count: 4), stocks: &stocks,
            history: History())
        #expect(decisions.outcomes == [.reserved, .reserved])
        #expect(
            decisions.shortages == [
                Shortage(key: keys[0], wanted: 1), Shortage(key: keys[1], wanted: 3), Shortage(key: keys[3], wanted: 1),
            ])
    }

    /// The cancellation of `order(number, by: buyer)`.
    func cancellation(_ number: UInt64, by buyer: UInt64, offset: Int64) -> CancellationInLog {
        CancellationInLog(
            order: OrderOfBuyer(orderId: OrderID(high: 2, low: number), buyerId: AccountID(high: 3, low: buyer)),
            time: Timestamp(seconds: 1000), offset: offset)
    }

    @Test func anOrderWhoseCancellationIsInTheBatchNeverHoldsAnything() {
        // Behind the order, before it, and of a buyer whose order it is not.
        let (decisions, left) = decided(
            [order(2, by: 2), order(4, by: 4), order(6, by: 6)], two,
            cancellations: [
                cancellation(4, by: 4, offset: 1), cancellation(2, by: 2, offset: 3), cancellation(6, by: 7, offset: 7),
            ])
        #expect(decisions.outcomes == [.cancelled, .cancelled, .reserved])
        #expect(decisions.ended.isEmpty && decisions.early.isEmpty)
        #expect(left.units == 1)
    }

    @Test func aCancellationThatCameFirstEndsItsOrderWhetherOrNotThereIsStock() {
        var history = History()
        history.cancelled = [cancellation(1, by: 7, offset: 0).order]
        let none = StockView(units: 0, places: 0, unitsElsewhere: 0, placesElsewhere: 0)
        for stock in [two, none] {
            let (decisions, left) = decided([order(1, by: 7), order(1, by: 7)], stock, history: history)
            #expect(decisions.outcomes == [.cancelled, .none])
            #expect(left == stock)
        }
    }

    @Test func aCancellationOfAnOrderThatNobodyKnowsIsRememberedAndOneOfARefusedOrderIsNot() {
        var history = History()
        history.over = [OrderID(high: 2, low: 2)]
        let unknown = cancellation(1, by: 1, offset: 1)
        let (decisions, _) = decided(
            [], two, cancellations: [unknown, cancellation(2, by: 2, offset: 2)], history: history)
        #expect(decisions.early == [unknown])
        #expect(decisions.ended.isEmpty)
    }

    @Test func aCancellationIsRememberedOfAnOrderThatWasDecidedBehindItsLook() {
        var history = History()
        history.decided = [OrderID(high: 2, low: 1)]
        let (decisions, left) = decided(
            [order(1, by: 1)], two, cancellations: [cancellation(1, by: 1, offset: 2)], history: history)
        #expect(decisions.outcomes == [.none] && left == two)
        #expect(decisions.early == [cancellation(1, by: 1, offset: 2)])
    }

    @Test func aBuyerWhoTakesAnOrderBackCanOrderAnewInTheSameBatchButNotBefore() {
        var history = History()
        let (old, buyer) = (OrderID(high: 2, low: 1), SaleBuyer(saleId: sale, buyerId: AccountID(high: 3, low: 7)))
        history.decided = [old]
        history.served = [buyer]
        history.live = [old: LiveOrder(buyer: buyer, key: key, hasUnit: true)]
        let (decisions, left) = decided(
            [order(2, by: 7), order(4, by: 7), order(5, by: 7)], two,
            cancellations: [cancellation(1, by: 7, offset: 3), cancellation(1, by: 7, offset: 6)], history: history)
        #expect(decisions.outcomes == [.limitReached, .reserved, .limitReached])
        #expect(decisions.ended == [old] && decisions.early.isEmpty)
        // What comes back is not this batch's.
        #expect(left.units == 1)
    }

    @Test func nobodyIsRefusedForAUnitThatACancellationBeforeItGaveBack() {
        var history = History()
        let (old, buyer) = (OrderID(high: 2, low: 1), SaleBuyer(saleId: sale, buyerId: AccountID(high: 3, low: 7)))
        history.decided = [old]
        history.served = [buyer]
        history.live = [old: LiveOrder(buyer: buyer, key: key, hasUnit: true)]
        let none = StockView(units: 0, places: 0, unitsElsewhere: 0, placesElsewhere: 0)
        // Before the cancellation all is gone; behind it the unit is in the pool, from where the next batch gets it.
        let (decisions, _) = decided(
            [order(2, by: 8), order(4, by: 7), order(5, by: 9)], none,
            cancellations: [cancellation(1, by: 7, offset: 3)], history: history)
        #expect(decisions.outcomes == [.soldOut])
        #expect(decisions.shortages == [Shortage(key: key, wanted: 2)])
        #expect(decisions.ended == [old])
    }

    @Test func nobodyTakesBackTheOrderOfAnother() {
        var history = History()
        let old = OrderID(high: 2, low: 1)
        history.decided = [old]
        history.live = [
            old: LiveOrder(
                buyer: SaleBuyer(saleId: sale, buyerId: AccountID(high: 3, low: 7)), key: key, hasUnit: true)
        ]
        let (decisions, _) = decided([], two, cancellations: [cancellation(1, by: 8, offset: 1)], history: history)
        #expect(decisions.ended.isEmpty && decisions.early.isEmpty)
    }

    @Test func cancellationsBehindAShortageComeWithTheNextBatch() {
        var history = History()
        let ids = [11, 12].map { OrderID(high: 2, low: $0) }
        history.decided = Set(ids)
        history.live = Dictionary(
            uniqueKeysWithValues: ids.map {
                let buyer = SaleBuyer(saleId: sale, buyerId: AccountID(high: 3, low: $0.low))
                return ($0, LiveOrder(buyer: buyer, key: key, hasUnit: true))
            })
        let stock = StockView(units: 1, places: 0, unitsElsewhere: 3, placesElsewhere: 0)
        let (decisions, _) = decided(
            [order(1, by: 1), order(3, by: 3)], stock,
            cancellations: [cancellation(11, by: 11, offset: 2), cancellation(12, by: 12, offset: 4)], history: history)
        #expect(decisions.outcomes == [.reserved])
        #expect(!decisions.shortages.isEmpty)
        #expect(decisions.ended == [ids[0]])
    }

    @Test func anySplitOfALogIntoBatchesGivesTheSameAnswers() {
        var random = SplitMix(seed: 42)
        for _ in 0..<200 {
            let orders = (1...60).map { number in
                order(UInt64(random.next() % 50), by: random.next() % 30, at: 990 + Int64(number))
            }.enumerated().map { OrderInLog(order: $1.order, time: $1.time, offset: Int64($0)) }
            let stock = StockView(units: 9, places: 4, unitsElsewhere: 0, placesElsewhere: 0)
            let whole = decided(orders, stock).decisions.outcomes
            var split: [Outcome] = []
            var left = stock
            var history = History()
            var rest = orders[...]
            while !rest.isEmpty {
                let part = Array(rest.prefix(1 + Int(random.next() % 10)))
                rest = rest.dropFirst(part.count)
                let (decisions, after) = decided(part, left, history: history)
                for (placed, outcome) in zip(part, decisions.outcomes) {
                    split.append(outcome)
                    history.decided.insert(placed.order.orderId)
                    if outcome == .reserved || outcome == .waitlisted {
                        history.served.insert(SaleBuyer(saleId: sale, buyerId: placed.order.buyerId))
                    }
                }
                left = after
            }
            #expect(whole == split)
        }
    }
}

/// A small seeded generator (SplitMix64), so that a failure can be repeated.
struct SplitMix {
    private var state: UInt64
    init(seed: UInt64) { state = seed }
    mutating func next() -> UInt64 {
        state &+= 0x9e37_79b9_7f4a_7c15
        var z = state
        z = (z ^ (z >> 30)) &* 0xbf58_476d_1ce4_e5b9
        z = (z ^ (z >> 27)) &* 0x94d0_49bb_1331_11eb
        return z ^ (z >> 31)
    }
}
