// Where a reader's event stream stands: exactly which transactions' changes it has been given.

/// A snapshot of transactions, in Postgres' own text form `xmin:xmax:running,…` (`pg_snapshot`): every transaction
/// below `xmin` is in it, none from `xmax` on, and of those between all but the `running` ones. Before it stands, in
/// hexadecimal, whose transactions they are: their numbers mean nothing in another cluster, nor in this one after it or
/// the tables went back to an earlier state.
///
/// A number that only rises would lose a transaction that began earlier and committed later than one already seen.
/// A snapshot cannot: what it did not include is what is new, however late it commits.
struct StreamPosition: Hashable, Sendable {
    /// The same as long as each transaction's number was given once and its rows are where it wrote them.
    let history: UInt64
    let xmin: UInt64
    let xmax: UInt64
    /// Rising, each in `xmin..<xmax`.
    let running: [UInt64]

    /// More transactions than any server has connections for: a longer list is no position of ours.
    static let runningMax = 4096
    static let textBytesMax = 64 << 10

    private init(history: UInt64, running: [UInt64], xmax: UInt64) {
        self.history = history
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

    /// Whether a stream may go on from here to there: nothing that is new there can be missed.
    func precedes(_ later: StreamPosition) -> Bool { history == later.history && xmax <= later.xmax }

    /// The snapshot alone, as Postgres writes it.
    var snapshot: String { "\(xmin):\(xmax):" + running.map(String.init).joined(separator: ",") }

    /// The position of a reader that stood here and was then given, in rising order of transactions, what `later`
    /// includes and this does not, up to and with `transaction`. `later` was taken after this.
    func advanced(through transaction: UInt64, towards later: StreamPosition) -> StreamPosition {
        var end = max(xmax, transaction + 1)
        // Postgres skips the numbers whose lower half means something else, and refuses a snapshot that begins or ends there.
        if !Self.isNumberOfTransaction(end) { end += 3 }
        var missing = running.filter { $0 > transaction || !later.includes($0) }
        if transaction >= xmax {
            if later.xmax <= transaction {
                // Never so for a transaction that `later` includes; kept exact all the same.
                return self
            }
            missing += later.running.filter { $0 >= xmax && $0 <= transaction }
        }
        return StreamPosition(history: history, running: missing, xmax: end)
    }
}

extension StreamPosition: LosslessStringConvertible {
    init?(_ text: String) {
        guard text.utf8.count <= Self.textBytesMax else { return nil }
        let parts = text.split(separator: ":", omittingEmptySubsequences: false)
        guard parts.count == 4, let history = Self.history(parts[0]),
            let xmin = Self.number(parts[1]), let xmax = Self.number(parts[2]), xmin <= xmax
        else { return nil }
        var running: [UInt64] = []
        if !parts[3].isEmpty {
            let texts = parts[3].split(separator: ",", omittingEmptySubsequences: false)
            guard texts.count <= Self.runningMax else { return nil }
            for text in texts {
                guard let transaction = Self.number(text), transaction >= xmin, transaction < xmax,
                    transaction > running.last ?? 0
                else { return nil }
                running.append(transaction)
            }
        }
        self.history = history
        self.xmin = xmin
        self.xmax = xmax
        self.running = running
    }

    var description: String {
        let digits = String(history, radix: 16)
        return String(repeating: "0", count: Self.historyDigits - digits.count) + digits + ":" + snapshot
    }

    private static let historyDigits = 16

    private static func history(_ text: Substring) -> UInt64? {
        guard text.utf8.count == historyDigits, let history = UInt64(text, radix: 16) else { return nil }
        // `UInt64` takes a sign and capitals as well.
        let isOurs = text.utf8.allSatisfy { (48...57).contains($0) || (97...102).contains($0) }
        return isOurs ? history : nil
    }

    /// Digits alone: `UInt64("+5")` would do as well, and Postgres would refuse it.
    private static func number(_ text: Substring) -> UInt64? {
        guard text.utf8.allSatisfy({ (48...57).contains($0) }), let number = UInt64(text), number <= UInt64(Int64.max),
            isNumberOfTransaction(number)
        else { return nil }
        return number
    }

    /// Whether Postgres takes it in a snapshot.
    private static func isNumberOfTransaction(_ number: UInt64) -> Bool { UInt32(truncatingIfNeeded: number) != 0 }
}
