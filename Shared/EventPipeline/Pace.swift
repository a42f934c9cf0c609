// When the next transaction may begin: at once for who comes alone, after a while where many come.

/// A transaction costs the same for one and for hundreds, so under load it pays to gather. Who comes alone gains nothing by
/// waiting. So few go at once: as many as `freeMax` within each `interval`, on average; beyond that rate each transaction
/// begins an interval after the last.
struct Pace: Sendable {
    private let interval: Duration
    private let freeMax: Int
    /// What came, less what was free since.
    private var level = 0.0
    private var last: ContinuousClock.Instant?

    init(interval: Duration, freeMax: Int) {
        self.interval = interval
        self.freeMax = freeMax
    }

    /// A transaction takes so many now.
    /// - Returns: when the next may begin; nil: at once.
    mutating func took(_ count: Int, at now: ContinuousClock.Instant) -> ContinuousClock.Instant? {
        guard interval > .zero else { return nil }
        if let last { level = max(0, level - Double(freeMax) * ((now - last) / interval)) }
        last = now
        // What was above the rate is forgotten after two intervals without any.
        level = min(level + Double(count), 2 * Double(freeMax))
        return level > Double(freeMax) ? now + interval : nil
    }
}
