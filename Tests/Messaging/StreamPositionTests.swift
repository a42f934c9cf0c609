import Models
import TestSupport
import Testing

@testable import MessagingCore

@Suite struct StreamPositionTests {
    @Test func aPositionReadsWhatItWrites() throws {
        for text in ["1:1:", "737:737:", "737:750:740,745", "737:750:737", "1:4294967295:"] {
            #expect(position(text)?.description == "000000000000000a:" + text)
        }
    }

    @Test(arguments: [
        "", ":", "::", "0:0:", "0:5:", "5:4:", "1:2", "1:2:3:4", "1:5:,", "1:5:2,", "1:5:5", "5:9:4", "1:9:3,2",
        "1:9:3,3", "+1:2:", "1:+2:", "1:9:+3", "a:b:", "1:2:x", "9223372036854775808:9223372036854775808:",
        "4294967296:4294967296:", "1:8589934592:", "0:4294967297:", " 1:2:",
        "1:99999999999999999999999:", "-1:2:",
    ])
    func whatIsNoSnapshotIsNoPosition(_ text: String) {
        #expect(position(text) == nil)
    }

    @Test(arguments: ["", "a:", "000000000000000A:", "00000000000000000a:", "00000000000000+a:", ":"])
    func aPositionSaysWhoseItIs(history: String) { #expect(StreamPosition(history + "1:5:") == nil) }

    @Test func aListTooLongIsNoPosition() {
        let running = (1...UInt64(StreamPosition.runningMax + 1)).map(String.init).joined(separator: ",")
        #expect(position("1:100000:\(running)") == nil)
    }

    /// Postgres gives no transaction a number whose lower half is 0, and takes none for a snapshot's bounds.
    @Test func aPositionAfterTheLastNumberOfAnEpochIsOneThatPostgresTakes() throws {
        let old = try #require(position("4294967290:4294967290:"))
        let new = try #require(position("4294967300:4294967300:"))
        let between = old.advanced(through: 4_294_967_295, towards: new)
        #expect(between == position("4294967299:4294967299:"))
        #expect(between.includes(4_294_967_295) && !between.includes(4_294_967_299))
    }

    @Test func aStreamGoesOnWithinOneHistoryAndForwards() throws {
        let place = try #require(position("5:9:7"))
        #expect(place.precedes(place))
        #expect(try place.precedes(#require(position("9:9:"))))
        #expect(try !place.precedes(#require(position("5:8:"))))
        #expect(try !place.precedes(#require(StreamPosition("000000000000000b:9:9:"))))
    }

    @Test func aPositionIncludesWhatPostgresSaysItDoes() throws {
        let place = try #require(position("10:20:12,15"))
        let included = (UInt64(1)...25).filter { place.includes($0) }
        #expect(included == [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 13, 14, 16, 17, 18, 19])
    }

    /// The position after a change is the set of transactions whose changes were given out, no more and no less: held
    /// against sets, over random histories.
    @Test func anAdvancedPositionIncludesExactlyWhatWasGivenOut() throws {
        var random = SeededRandom(seed: 4)
        for _ in 0..<2000 {
            var history = History(random: &random)
            let old = history.snapshot()
            history.goOn(&random)
            let new = history.snapshot()
            let fresh = history.committed.filter { !old.includes($0) }.sorted()
            #expect(fresh.allSatisfy { new.includes($0) })
            for transaction in fresh {
                let position = old.advanced(through: transaction, towards: new)
                // Written as text, it is one that Postgres accepts and that reads the same.
                #expect(StreamPosition(position.description) == position)
                for known in 1..<history.next {
                    let given = old.includes(known) || (new.includes(known) && known <= transaction)
                    #expect(
                        position.includes(known) == given,
                        "\(known) of \(old) advanced through \(transaction) towards \(new): \(position)")
                }
                #expect(!position.includes(history.next))
            }
        }
    }

    /// Transactions that begin in order and end in any.
    private struct History {
        var next: UInt64
        var running: Set<UInt64> = []
        var committed: Set<UInt64> = []

        init(random: inout SeededRandom) {
            next = UInt64(random.int(in: 1...20))
            committed = Set(1..<max(next, 2)).filter { $0 < next }
            goOn(&random)
        }

        mutating func goOn(_ random: inout SeededRandom) {
            for _ in 0..<random.int(in: 0...12) {
                if running.isEmpty || random.bool() {
                    running.insert(next)
                    next += 1
                } else {
                    let ended = random.pick(running.sorted())
                    running.remove(ended)
                    committed.insert(ended)
                }
            }
        }

        func snapshot() -> StreamPosition {
            let open = running.sorted()
            let text = "\(open.first ?? next):\(next):\(open.map(String.init).joined(separator: ","))"
            return position(text)!
        }
    }
}

private func position(_ snapshot: String) -> StreamPosition? { StreamPosition("000000000000000a:" + snapshot) }

@Suite struct ChangePageTests {
    @Test func changesOfSeveralKindsComeInTheOrderOfTheirTransactions() {
        let page = ChangePage([[key(3, 1), key(5, 2)], [key(4, 3)], []], limit: 10)
        #expect(page.keys.map(\.place.transaction) == [3, 4, 5])
        #expect(page.next == nil)
    }

    @Test func aPageEndsWhereTheFirstFullKindDoes() {
        let page = ChangePage([[key(3, 1), key(5, 2)], [key(4, 3)], [key(1, 4), key(9, 5)]], limit: 2)
        #expect(page.keys.map(\.place.transaction) == [1, 3, 4, 5])
        #expect(page.next == ChangePlace(transaction: 5, id: MessageID(high: 0, low: 2)))
    }

    @Test func anEventNeverClaimsATransactionThatIsNotGivenOutWhole() throws {
        let old = try #require(position("5:5:"))
        let new = try #require(position("9:9:"))
        let changes: [UInt64] = [5, 5, 7, 7]
        var ids = EventIDs(from: old, to: new)
        let last = changes.indices.map { index in
            ids.id(of: changes[index], before: index + 1 < changes.count ? changes[index + 1] : nil, isLast: true)
        }
        #expect(last == ["5:5:", "6:6:", "6:6:", "9:9:"].map { position($0)?.description })
        var more = EventIDs(from: old, to: new)
        #expect(more.id(of: 5, before: nil, isLast: false) == old.description)
    }

    private func key(_ transaction: UInt64, _ id: UInt64) -> ChangeKey {
        ChangeKey(
            kind: .order, place: ChangePlace(transaction: transaction, id: MessageID(high: 0, low: id)), audience: nil)
    }
}
