// Which statements a connection has prepared, and which it forgets: a bounded table, least recently used first out.

/// What a connection knows about its prepared statements. Pure: it names what is to be sent, the connection sends it.
struct StatementCache {
    /// The same text with other parameter types is another statement.
    struct Key: Hashable {
        let text: String
        let types: [UInt32]

        init(text: String, types: [UInt32]) {
            self.text = text
            self.types = types
        }

        init(_ statement: SQL) { self.init(text: statement.text, types: statement.parameters.types) }
    }

    /// How a statement goes out.
    enum Use: Equatable {
        /// It is prepared under this name.
        case prepared(name: String)
        /// Prepare it under this name first, and say by `prepared` or `failed` how that went. An empty name is for this
        /// once: its outcome changes nothing here.
        case prepare(name: String)
    }

    /// What the server still holds and nobody uses any more.
    enum Deallocation: Equatable {
        case one(name: String)
        case all

        var text: String {
            switch self {
            case .one(let name): "DEALLOCATE \(name)"
            case .all: "DEALLOCATE ALL"
            }
        }
    }

    private struct Entry {
        let name: String
        var isPrepared = false
        var lastUse: UInt64
    }

    let entriesMax: Int
    private let prefix: String
    private var entries: [Key: Entry] = [:]
    private var uses: UInt64 = 0
    private var names: UInt64 = 0
    private var owed: [Deallocation] = []

    /// - Parameter prefix: what the names begin with. Another for each connection, because behind a pooler several may
    ///   come to share a session, where the same name would be another's statement.
    init(entriesMax: Int, prefix: String = "s") {
        self.entriesMax = max(1, entriesMax)
        self.prefix = prefix
    }

    var count: Int { entries.count }
    var keys: [Key] { Array(entries.keys) }

    mutating func use(_ key: Key) -> Use {
        uses += 1
        if let index = entries.index(forKey: key) {
            entries.values[index].lastUse = uses
            // Its preparation may be under way still, and may fail.
            return entries.values[index].isPrepared
                ? .prepared(name: entries.values[index].name) : .prepare(name: "")
        }
        if entries.count >= entriesMax {
            // Preparations under way stay: their outcome is not known yet. When there is nothing else, nothing is kept.
            guard let oldest = entries.filter({ $0.value.isPrepared }).min(by: { $0.value.lastUse < $1.value.lastUse })
            else { return .prepare(name: "") }
            owed.append(.one(name: oldest.value.name))
            entries[oldest.key] = nil
        }
        names += 1
        let name = "\(prefix)\(names)"
        entries[key] = Entry(name: name, lastUse: uses)
        return .prepare(name: name)
    }

    mutating func prepared(_ key: Key, as name: String) {
        guard let index = index(of: key, as: name) else { return }
        entries.values[index].isPrepared = true
    }

    /// The preparation was refused or skipped: the name means nothing to the server.
    mutating func failed(_ key: Key, as name: String) {
        if let index = index(of: key, as: name) { entries.remove(at: index) }
    }

    /// The server's plan is no longer right (its tables changed): prepare anew next time.
    mutating func forget(_ key: Key, as name: String) {
        guard let index = index(of: key, as: name) else { return }
        owed.append(.one(name: name))
        entries.remove(at: index)
    }

    /// The server did not have a statement that it was believed to have. The others are not to be relied upon either.
    mutating func vanished() {
        entries = [:]
        owed = [.all]
    }

    /// What is to be sent before anything else, now.
    mutating func takeOwed() -> [Deallocation] {
        if owed.isEmpty { return [] }
        defer { owed = [] }
        // Preparations under way arrive before it, and go with the rest.
        if owed.contains(.all) {
            entries = [:]
            return [.all]
        }
        return owed
    }

    /// A `DEALLOCATE` failed: it is still owed.
    mutating func owe(_ deallocation: Deallocation) { owed.append(deallocation) }

    /// The entry, unless another one with the same key has taken its place.
    private func index(of key: Key, as name: String) -> Dictionary<Key, Entry>.Index? {
        guard !name.isEmpty, let index = entries.index(forKey: key), entries.values[index].name == name else {
            return nil
        }
        return index
    }
}
