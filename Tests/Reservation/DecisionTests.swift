// The decision itself: pure, so every rule is tested without a broker or a database.
import Models
import Testing

@testable import ReservationCore

@Suite struct DecisionTests {
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
    ) -> (decisions: Decisions, left: StockView) {
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
        #expect(decisions.shortage == Shortage(key: key, wanted: 3))
    }

    @Test func nobodyIsRefusedWhileAPlaceIsFreeElsewhere() {
        let stock = StockView(units: 0, places: 0, unitsElsewhere: 0, placesElsewhere: 1)
        let (decisions, _) = decided([order(1, by: 1)], stock)
        #expect(decisions.outcomes.isEmpty)
        #expect(decisions.shortage == Shortage(key: key, wanted: 1))
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
        #expect(decisions.shortage == Shortage(key: key, wanted: 2))
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
        #expect(decisions.shortage != nil)
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

@Suite struct RefusedMemoryTests {
    @Test func whatIsExpectedIsKnownOnceItIsCommittedAndNotBefore() {
        let ids = (0..<4).map { OrderID(high: 1, low: $0) }
        var memory = RefusedMemory()
        func known() -> [Bool] { ids.map { memory.contains($0) } }
        memory.expect([ids[0]], through: 10)
        #expect(known() == [false, false, false, false])
        memory.settle(through: 10)
        #expect(known() == [true, false, false, false])
        // Rolled back: the database has not moved. What is tried next takes its place.
        memory.expect([ids[1]], through: 20)
        memory.settle(through: 10)
        #expect(known() == [true, false, false, false])
        memory.expect([ids[2]], through: 20)
        memory.settle(through: 20)
        #expect(known() == [true, false, true, false])
        memory.load([ids[3]])
        #expect(known() == [false, false, false, true])
        #expect(memory.count == 1)
    }

    @Test func theLastOnesAreKnownAndNoOthers() {
        var random = SplitMix(seed: 7)
        var memory = RefusedMemory(countMax: 3000)
        var all: [OrderID] = []
        for batch in 1...80 {
            let ids = (0..<100).map { _ in OrderID(high: random.next() % 4, low: random.next()) }
            all += ids
            memory.expect(ids + ids.prefix(10), through: Int64(batch))
            memory.settle(through: Int64(batch))
        }
        #expect(memory.count == 3000)
        let known = all.map { memory.contains($0) }
        #expect(!known.suffix(3000).contains(false))
        #expect(!known.dropLast(3000).contains(true))
    }

    @Test func aMemoryThatIsFullIsStillSearchedAtOnce() {
        var memory = RefusedMemory()
        memory.load((0..<200_000).map { OrderID(high: 3, low: $0) })
        let clock = ContinuousClock()
        var found = 0
        let took = clock.measure {
            for number in 150_000..<250_000 where memory.contains(OrderID(high: 3, low: UInt64(number))) { found += 1 }
        }
        print("100,000 lookups among 200,000 refused orders: \(took)")
        #expect(found == 50_000)
    }
}

@Suite struct LeaseTests {
    @Test func grantsShrinkAsThePoolEmptiesAndNoUnitIsLostOrMade() {
        var stock = LeasedStock(pool: 150_000, places: 1000, leases: [])
        var grants: [Int64] = []
        var given: Int64 = 0
        var turn: Int32 = 0
        while stock.freeUnits > 0 {
            let partition = turn % 12
            turn += 1
            stock.grant(to: partition, wanted: 10_000, partitions: 12)
            guard let index = stock.leases.firstIndex(where: { $0.partition == partition }) else { return }
            grants.append(stock.leases[index].units)
            given += stock.leases[index].units
            stock.leases[index].units = 0
            #expect(given + stock.freeUnits == 150_000)
        }
        #expect(grants.first == 10_000)
        #expect(grants.dropLast().allSatisfy { $0 >= LeasedStock.grantMin })
        #expect(grants.count < 120)
        #expect(stock.freePlaces == 1000)
    }

    @Test func whenThePoolIsEmptyTheUnusedUnitsOfOthersAreTaken() {
        var stock = LeasedStock(
            pool: 0, places: 10,
            leases: [Lease(partition: 1, units: 5, places: 0), Lease(partition: 2, units: 3, places: 0)])
        stock.grant(to: 7, wanted: 6, partitions: 12)
        #expect(stock.leases.first { $0.partition == 7 } == Lease(partition: 7, units: 6, places: 0))
        #expect(stock.freeUnits == 8)
        #expect(stock.places == 10)
    }

    @Test func placesAreGrantedOnlyWhenNoUnitIsLeft() {
        var stock = LeasedStock(pool: 0, places: 10, leases: [Lease(partition: 1, units: 0, places: 0)])
        stock.grant(to: 1, wanted: 4, partitions: 12)
        #expect(stock.leases[0] == Lease(partition: 1, units: 0, places: 4))
        #expect(stock.places == 6)
    }
}

@Suite struct RefusalTests {
    @Test func aMillionRefusalsOfOneKindAreOneRun() {
        let tests = DecisionTests()
        let orders = (1...1000).map { tests.order($0, by: $0) }
        let runs = refusals(
            orders, lines: orders.map { _ in 0 }, keys: [tests.key], outcomes: orders.map { _ in .soldOut })
        #expect(runs.count == 1)
        #expect(runs.first?.firstOffset == 1 && runs.first?.lastOffset == 1000)
        #expect(runs.first?.orderIds == orders.map(\.order.orderId))
    }

    @Test func aRunEndsWhereTheReasonChanges() {
        let tests = DecisionTests()
        let orders = (1...4).map { tests.order($0, by: $0) }
        let runs = refusals(
            orders, lines: [0, 0, 0, 0], keys: [tests.key], outcomes: [.notOpen, .reserved, .soldOut, .soldOut])
        #expect(runs.map(\.reason) == [.notOpen, .soldOut])
        #expect(runs.map(\.lastOffset) == [1, 4])
    }

    @Test func packedIdentifiersComeBack() {
        let ids = (0..<5).map { OrderID(high: UInt64.max - $0, low: $0 << 40 | 3) }
        #expect(PackedIdentifiers.unpack(PackedIdentifiers.pack(ids)) == ids)
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
