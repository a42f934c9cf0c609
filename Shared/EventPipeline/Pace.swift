// How long a transaction waits for company.

/// A transaction costs about the same for one event and for hundreds, so under load it is worth waiting for more of them.
/// Whoever comes alone must not pay for that: the wait grows with what came last, and is no wait at all after one.
struct Pace: Sendable {
    /// After so many the wait is as long as it gets.
    static let fullCount = 16

    /// From the start of one transaction to the start of the next.
    let longest: Duration

    /// Counted from the start of the transaction that had `count` events; nil: none.
    func pause(after count: Int) -> Duration? {
        count <= 1 ? nil : longest * min(count, Self.fullCount) / Self.fullCount
    }
}
