import Models
import TestSupport
import Testing

@testable import MessagingCore

@Suite struct StreamPositionTests {
    @Test func aPositionReadsWhatItWrites() throws {
        for text in ["1:1:", "737:737:", "737:750:740,745", "737:750:737"] {
            #expect(StreamPosition(text)?.description == text)
        }
    }

    @Test(arguments: [
        "", ":", "::", "0:0:", "0:5:", "5:4:", "1:2", "1:2:3:4", "1:5:,", "1:5:2,", "1:5:5", "5:9:4", "1:9:3,2",
        "1:9:3,3", "+1:2:", "1:+2:", "1:9:+3", "a:b:", "1:2:x", "9223372036854775808:9223372036854775808:", " 1:2:",
        "1:99999999999999999999999:", "-1:2:",
    ])
    func whatIsNoSnapshotIsNoPosition(_ text: String) {
        #expect(StreamPosition(text) == nil)
    }

    @Test func aListTooLongIsNoPosition() {
        let running = (1...UInt64(StreamPosition.runningMax + 1)).map(String.init).joined(separator: ",")
        #expect(StreamPosition("1:100000:\(running)") == nil)
    }

    @Test func aPositionIncludesWhatPostgresSaysItDoes() throws {
        let position = try #require(StreamPosition("10:20:12,15"))
        let included = (UInt64(1)...25).filter { position.includes($0) }
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
            return StreamPosition(text)!
        }
    }
}

@Suite struct ChangePageTests {
    @Test func changesOfSeveralKindsComeInTheOrderOfTheirTransactions() {
        let page = ChangePage([[change(3, 1), change(5, 2)], [change(4, 3)], []], limit: 10)
        #expect(page.changes.map(\.transaction) == [3, 4, 5])
        #expect(page.next == nil)
    }

    @Test func aPageEndsWhereTheFirstFullKindDoes() {
        let page = ChangePage([[change(3, 1), change(5, 2)], [change(4, 3)], [change(1, 4), change(9, 5)]], limit: 2)
        #expect(page.changes.map(\.transaction) == [1, 3, 4, 5])
        #expect(page.next == ChangePlace(transaction: 5, id: MessageID(high: 0, low: 2)))
    }

    @Test func anEventNeverClaimsATransactionThatIsNotGivenOutWhole() throws {
        let old = try #require(StreamPosition("5:5:"))
        let new = try #require(StreamPosition("9:9:"))
        let changes = [change(5, 1), change(5, 2), change(7, 3), change(7, 4)]
        var ids = EventIDs(from: old, to: new)
        let last = changes.indices.map { index in
            ids.id(
                of: changes[index], before: index + 1 < changes.count ? changes[index + 1] : nil, isLastPage: true)
        }
        #expect(last == ["5:5:", "6:6:", "6:6:", "9:9:"])
        var more = EventIDs(from: old, to: new)
        #expect(more.id(of: changes[0], before: nil, isLastPage: false) == "5:5:")
    }

    private func change(_ transaction: UInt64, _ id: UInt64) -> StreamChange {
        let order = StoredOrder(
            orderID: OrderID(high: 0, low: id), buyerID: AccountID(high: 0, low: 1), clientOrderID: nil,
            saleID: SaleID(high: 0, low: 1), brandID: BrandID(high: 0, low: 1), batch: nil, variant: nil,
            status: "accepted", reason: nil, acceptedAt: .distantPast, decidedAt: nil, holdUntil: nil,
            cancelledAt: nil)
        return StreamChange(transaction: transaction, subject: .order(order), reader: nil)
    }
}
