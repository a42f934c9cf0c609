// Which statements a connection has prepared, and which it forgets: a bounded table, least recently used first out.

/// What a connection knows about its prepared statements. Pure: it names what is to be sent, the connection sends it.
struct StatementCache {
    /// The same text with other parameter types is another statement.
    struct Key: Hashable {
        let text: String
        let types: [UInt32]
    }

    /// How a statement goes out.
    enum Use: Equatable {
        /// It is prepared under this name.
        case prepared(name: String)
        /// Prepare it under this name first, and say by `prepared` or `failed` how that went.
        case prepare(name: String)
        /// Its preparation is still under way and may fail: prepare it namelessly, for this once.
        case nameless
    }

    private struct Entry {
        let name: String
        var isPrepared = false
        var lastUse: UInt64
    }

    let entriesMax: Int
    private var entries: [Key: Entry] = [:]
    private var uses: UInt64 = 0
    private var names: UInt64 = 0
    /// Names that the server still holds and nobody uses any more: to be sent as `DEALLOCATE`.
    private(set) var evicted: [String] = []

    init(entriesMax: Int) {
        self.entriesMax = max(1, entriesMax)
    }

    var count: Int { entries.count }

    mutating func use(_ key: Key) -> Use {
        uses += 1
        if let index = entries.index(forKey: key) {
            entries.values[index].lastUse = uses
            return entries.values[index].isPrepared ? .prepared(name: entries.values[index].name) : .nameless
        }
        if entries.count >= entriesMax {
            // Preparations under way stay: their outcome is not known yet. When there is nothing else, nothing is kept.
            guard let oldest = entries.filter({ $0.value.isPrepared }).min(by: { $0.value.lastUse < $1.value.lastUse })
            else { return .nameless }
            evicted.append(oldest.value.name)
            entries[oldest.key] = nil
        }
        names += 1
        let name = "s\(names)"
        entries[key] = Entry(name: name, lastUse: uses)
        return .prepare(name: name)
    }

    mutating func prepared(_ key: Key) { entries[key]?.isPrepared = true }

    /// The preparation was refused or skipped: the name means nothing to the server.
    mutating func failed(_ key: Key) { entries[key] = nil }

    /// The server's plan is no longer right (its tables changed): prepare anew next time.
    mutating func forget(_ key: Key) {
        guard let entry = entries.removeValue(forKey: key), entry.isPrepared else { return }
        evicted.append(entry.name)
    }

    mutating func takeEvicted() -> [String] {
        defer { evicted = [] }
        return evicted
    }

    /// A `DEALLOCATE` was skipped because something before it failed: it is still owed.
    mutating func evictLater(_ name: String) { evicted.append(name) }
}
