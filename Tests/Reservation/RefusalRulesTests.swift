// Refused orders: in runs as they are stored, and in memory as they are known again.
import Models
import Testing

@testable import ReservationCore

@Suite struct RefusedMemoryTests {
    private static let mixing = RefusedMemory.Mixing(multiplier: 0x9e37_79b9_7f4a_7c15, summand: 0x243f_6a88_85a3_08d3)

    @Test func whatIsExpectedIsKnownOnceItIsCommittedAndNotBefore() {
        let ids = (0..<4).map { OrderID(high: 1, low: $0) }
        var memory = RefusedMemory(mixing: Self.mixing)
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
        var memory = RefusedMemory(mixing: Self.mixing, countMin: 3000, runMax: 150)
        var all: [OrderID] = []
        for batch in 1...80 {
            let ids = (0..<100).map { _ in OrderID(high: random.next() % 4, low: random.next()) }
            all += ids
            memory.expect(ids, through: Int64(batch))
            memory.settle(through: Int64(batch))
            #expect(memory.count == all.count || (3000...3150).contains(memory.count))
            if batch % 7 == 0 { #expect(memory.known(all.suffix(3000)) == all.suffix(3000)) }
        }
        let known = all.map { memory.contains($0) }
        #expect(!known.suffix(memory.count).contains(false))
        #expect(!known.dropLast(memory.count).contains(true))
    }

    @Test func aMemoryThatIsFullIsStillSearchedAtOnce() {
        var memory = RefusedMemory(mixing: Self.mixing)
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

@Suite struct RefusalTests {
    @Test func aMillionRefusalsOfOneKindAreOneRun() {
        let tests = DecisionRulesTests()
        let orders = (1...1000).map { tests.order($0, by: $0) }
        let runs = refusals(
            orders, lines: orders.map { _ in 0 }, keys: [tests.key], outcomes: orders.map { _ in .soldOut })
        #expect(runs.count == 1)
        #expect(runs.first?.firstOffset == 1 && runs.first?.lastOffset == 1000)
        #expect(runs.first?.orderIds == orders.map(\.order.orderId))
    }

    @Test func aRunEndsWhereTheReasonChanges() {
        let tests = DecisionRulesTests()
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
