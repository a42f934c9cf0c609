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
        cache.prepared(key("a"))
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
        #expect(cache.use(key("a")) == .nameless)
        cache.failed(key("a"))
        #expect(cache.use(key("a")) == .prepare(name: "s2"))
    }

    @Test func theLeastRecentlyUsedGoesFirstAndIsToBeDeallocated() {
        var cache = StatementCache(entriesMax: 2)
        for text in ["a", "b"] {
            _ = cache.use(key(text))
            cache.prepared(key(text))
        }
        _ = cache.use(key("a"))
        #expect(cache.use(key("c")) == .prepare(name: "s3"))
        #expect(cache.takeEvicted() == ["s2"])
        #expect(cache.takeEvicted().isEmpty)
        #expect(cache.use(key("a")) == .prepared(name: "s1"))
        #expect(cache.count == 2)
    }

    @Test func aTableFullOfPreparationsUnderWayKeepsThemAll() {
        var cache = StatementCache(entriesMax: 1)
        #expect(cache.use(key("a")) == .prepare(name: "s1"))
        #expect(cache.use(key("b")) == .nameless)
        cache.prepared(key("a"))
        #expect(cache.use(key("a")) == .prepared(name: "s1"))
    }

    @Test func aDeallocationThatWasSkippedIsStillOwed() {
        var cache = StatementCache(entriesMax: 1)
        _ = cache.use(key("a"))
        cache.prepared(key("a"))
        cache.forget(key("a"))
        let evicted = cache.takeEvicted()
        #expect(evicted == ["s1"])
        cache.evictLater(evicted[0])
        #expect(cache.takeEvicted() == ["s1"])
    }
}
