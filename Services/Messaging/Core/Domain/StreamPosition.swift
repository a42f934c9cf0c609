// Where a reader's event stream stands: exactly which transactions' changes it has been given.

/// A snapshot of transactions, in Postgres' own text form `xmin:xmax:running,…` (`pg_snapshot`): every transaction
/// below `xmin` is in it, none from `xmax` on, and of those between all but the `running` ones.
///
/// A number that only rises would lose a transaction that began earlier and committed later than one already seen.
/// A snapshot cannot: what it did not include is what is new, however late it commits.
struct StreamPosition: Hashable, Sendable {
    let xmin: UInt64
    let xmax: UInt64
    /// Rising, each in `xmin..<xmax`.
    let running: [UInt64]

    /// More transactions than any server has connections for: a longer list is no position of ours.
    static let runningMax = 4096
    static let textBytesMax = 64 << 10

    private init(running: [UInt64], xmax: UInt64) {
        self.running = running
        self.xmax = xmax
        xmin = running.first ?? xmax
    }

    /// Whether the changes of this transaction are in the snapshot.
    func includes(_ transaction: UInt64) -> Bool {
        if transaction < xmin { return true }
        if transaction >= xmax { return false }
        var low = 0
        var high = running.count
        while low < high {
            let middle = (low + high) / 2
            if running[middle] < transaction { low = middle + 1 } else { high = middle }
        }
        return low == running.count || running[low] != transaction
    }

    /// The position of a reader that stood here and was then given, in rising order of transactions, what `later`
    /// includes and this does not, up to and with `transaction`. `later` was taken after this.
    func advanced(through transaction: UInt64, towards later: StreamPosition) -> StreamPosition {
        let end = max(xmax, transaction + 1)
        var missing = running.filter { $0 > transaction || !later.includes($0) }
        if transaction >= xmax {
            if later.xmax <= transaction {
                // Never so for a transaction that `later` includes; kept exact all the same.
                return self
            }
            missing += later.running.filter { $0 >= xmax && $0 <= transaction }
        }
        return StreamPosition(running: missing, xmax: end)
    }
}

extension StreamPosition: LosslessStringConvertible {
    init?(_ text: String) {
        guard text.utf8.count <= Self.textBytesMax else { return nil }
        let parts = text.split(separator: ":", omittingEmptySubsequences: false)
        guard parts.count == 3, let xmin = Self.number(parts[0]), let xmax = Self.number(parts[1]),
            xmin >= 1, xmin <= xmax, xmax <= UInt64(Int64.max)
        else { return nil }
        var running: [UInt64] = []
        if !parts[2].isEmpty {
            let texts = parts[2].split(separator: ",", omittingEmptySubsequences: false)
            guard texts.count <= Self.runningMax else { return nil }
            for text in texts {
                guard let transaction = Self.number(text), transaction >= xmin, transaction < xmax,
                    transaction > running.last ?? 0
                else { return nil }
                running.append(transaction)
            }
        }
        self.xmin = xmin
        self.xmax = xmax
        self.running = running
    }

    var description: String {
        "\(xmin):\(xmax):" + running.map(String.init).joined(separator: ",")
    }

    /// Digits alone: `UInt64("+5")` would do as well, and Postgres would refuse it.
    private static func number(_ text: Substring) -> UInt64? {
        text.utf8.allSatisfy { (48...57).contains($0) } ? UInt64(text) : nil
    }
}
