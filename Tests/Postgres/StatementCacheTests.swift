import Testing

// The table of prepared statements, without a server.
@testable import Postgres

@Suite struct StatementCacheTests {
    private func key(_ text: String, _ types: [UInt32] = []) -> StatementCache.Key {
        StatementCache.Key(text: text, types: types)
    }

    @Test func aStatementIsPreparedOnceAndThenUsedByItsName() {
        var cache = StatementCache(entriesMax: 4)
        guard case .prepare(let name) = cache.use(key("a")) else {
            Issue.record("expected a preparation")
            return
        }
        cache.prepared(key("a"), as: "s1")
        #expect(cache.use(key("a")) == .prepared(name: name))
    }

    @Test func theSameTextWithOtherTypesIsAnotherStatement() {
        var cache = StatementCache(entriesMax: 4)
        #expect(cache.use(key("a", [20])) == .prepare(name: "s1"))
        #expect(cache.use(key("a", [25])) == .prepare(name: "s2"))
    }

    @Test func nobodyReliesOnAPreparationThatMayStillFail() {
        var cache = StatementCache(entriesMax: 4)
        #expect(cache.use(key("a")) == .prepare(name: "s1"))
        #expect(cache.use(key("a")) == .prepare(name: ""))
        cache.failed(key("a"), as: "s1")
        #expect(cache.use(key("a")) == .prepare(name: "s2"))
    }

    @Test func theLeastRecentlyUsedGoesFirstAndIsToBeDeallocated() {
        var cache = StatementCache(entriesMax: 2)
        for (text, name) in [("a", "s1"), ("b", "s2")] {
            _ = cache.use(key(text))
            cache.prepared(key(text), as: name)
        }
        _ = cache.use(key("a"))
        #expect(cache.use(key("c")) == .prepare(name: "s3"))
        #expect(cache.takeOwed() == [.one(name: "s2")])
        #expect(cache.takeOwed().isEmpty)
        #expect(cache.use(key("a")) == .prepared(name: "s1"))
        #expect(cache.count == 2)
    }

    @Test func aTableFullOfPreparationsUnderWayKeepsThemAll() {
        var cache = StatementCache(entriesMax: 1)
        #expect(cache.use(key("a")) == .prepare(name: "s1"))
        #expect(cache.use(key("b")) == .prepare(name: ""))
        cache.prepared(key("a"), as: "s1")
        #expect(cache.use(key("a")) == .prepared(name: "s1"))
    }

    @Test func aDeallocationThatFailedIsStillOwed() {
        var cache = StatementCache(entriesMax: 1)
        _ = cache.use(key("a"))
        cache.prepared(key("a"), as: "s1")
        cache.forget(key("a"), as: "s1")
        let owed = cache.takeOwed()
        #expect(owed == [.one(name: "s1")])
        cache.owe(owed[0])
        #expect(cache.takeOwed() == [.one(name: "s1")])
    }

    @Test func afterOneHasVanishedNoneIsReliedUponAndNoNameIsOwed() {
        var cache = StatementCache(entriesMax: 2)
        for (text, name) in [("a", "s1"), ("b", "s2"), ("c", "s3")] {
            _ = cache.use(key(text))
            cache.prepared(key(text), as: name)
        }
        cache.vanished()
        // Under way before the deallocation of all, and gone with it.
        #expect(cache.use(key("b")) == .prepare(name: "s4"))
        #expect(cache.takeOwed() == [.all])
        cache.prepared(key("b"), as: "s4")
        #expect(cache.use(key("b")) == .prepare(name: "s5"))
    }

    @Test func newsOfAnEarlierPreparationSaysNothingOfTheOneThatTookItsPlace() {
        var cache = StatementCache(entriesMax: 2)
        _ = cache.use(key("a"))
        cache.vanished()
        #expect(cache.use(key("a")) == .prepare(name: "s2"))
        cache.prepared(key("a"), as: "s1")
        #expect(cache.use(key("a")) == .prepare(name: ""))
        cache.failed(key("a"), as: "s1")
        cache.prepared(key("a"), as: "s2")
        #expect(cache.use(key("a")) == .prepared(name: "s2"))
    }
}
