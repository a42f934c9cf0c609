// How the pool of a stock is shared among the partitions that decide.

/// A partition's part of a stock.
struct Lease: Sendable, Equatable {
    let partition: Int32
    var units: Int64
    var places: Int64
}

/// A stock with all its leases, as one transaction holds them locked.
struct LeasedStock: Sendable, Equatable {
    var pool: Int64
    var places: Int64
    var leases: [Lease]

    /// Grants are not smaller than this while the pool has it: the last units of a large stock would otherwise cost a
    /// transaction each.
    static let grantMin: Int64 = 64

    var freeUnits: Int64 { leases.reduce(pool) { $0 + $1.units } }

    /// Tops a partition's lease up for `wanted` orders: from the pool, in parts that shrink as it empties, so that
    /// nobody waits for others to use up theirs; when the pool is empty, from what others have not used. Places on the
    /// waitlist are granted only when no unit is left anywhere.
    mutating func grant(to partition: Int32, wanted: Int64, partitions: Int64) {
        let index = leases.firstIndex { $0.partition == partition } ?? leases.endIndex
        if index == leases.endIndex { leases.append(Lease(partition: partition, units: 0, places: 0)) }
        if freeUnits > 0 {
            let missing = max(0, wanted - leases[index].units)
            let share = Self.share(of: pool, wanted: missing, partitions: partitions)
            pool -= share
            leases[index].units += share
            if share == 0 { take(missing, \.units, for: index) }
        } else {
            let missing = max(0, wanted - leases[index].places)
            let share = Self.share(of: places, wanted: missing, partitions: partitions)
            places -= share
            leases[index].places += share
            if share == 0 { take(missing, \.places, for: index) }
        }
    }

    private static func share(of pool: Int64, wanted: Int64, partitions: Int64) -> Int64 {
        min(pool, wanted, max(grantMin, (pool + partitions - 1) / partitions))
    }

    /// Takes up to `wanted` from the other leases.
    private mutating func take(_ wanted: Int64, _ what: WritableKeyPath<Lease, Int64>, for index: Int) {
        var wanted = wanted
        for other in leases.indices where other != index && wanted > 0 {
            let part = min(wanted, leases[other][keyPath: what])
            leases[other][keyPath: what] -= part
            leases[index][keyPath: what] += part
            wanted -= part
        }
    }
}

/// What became of a stock in a transaction.
struct StockChange: Sendable {
    let key: StockKey
    let before: LeasedStock
    let after: LeasedStock

    /// The leases that are new or hold something else.
    var changedLeases: [Lease] { after.leases.filter { !before.leases.contains($0) } }
}
