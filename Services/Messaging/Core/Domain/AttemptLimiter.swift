// Slows down whoever guesses passwords.
import Models

/// Counts failures by name within a window, for at most `namesMax` names at a time.
struct AttemptLimiter: Sendable {
    let failuresMax: Int
    let windowSeconds: Int64
    let namesMax: Int

    private struct Count {
        var failures: Int
        let until: Timestamp
    }
    private var counts: [String: Count] = [:]

    init(failuresMax: Int, windowSeconds: Int64, namesMax: Int) {
        self.failuresMax = failuresMax
        self.windowSeconds = windowSeconds
        self.namesMax = namesMax
    }

    /// How long the name must wait; nil when it need not.
    func waitSeconds(_ name: String, at now: Timestamp) -> Int? {
        guard let count = counts[name], count.failures >= failuresMax, now < count.until else { return nil }
        return Int(max(1, (count.until.microseconds - now.microseconds + 999_999) / 1_000_000))
    }

    mutating func failed(_ name: String, at now: Timestamp) {
        if let count = counts[name], now < count.until {
            counts[name]?.failures += 1
            return
        }
        if counts[name] == nil, counts.count >= namesMax {
            counts = counts.filter { now < $0.value.until }
            // Still full: whoever has most time left was added last and is the attack's most likely part; but nothing
            // is known of the new one either, so the oldest makes room.
            if counts.count >= namesMax, let oldest = counts.min(by: { $0.value.until < $1.value.until }) {
                counts[oldest.key] = nil
            }
        }
        counts[name] = Count(failures: 1, until: now.adding(seconds: windowSeconds))
    }

    mutating func succeeded(_ name: String) { counts[name] = nil }
}
