// Waiting longer each time.

/// Pauses between attempts: 50 ms, twice as long each time, 5 s at most.
public struct Backoff: Equatable, Sendable {
    private static let shortest = 50
    private static let longest = 5000

    private var milliseconds = Self.shortest
    private let isJittered: Bool

    /// - Parameter isJittered: makes each pause up to a half shorter, by chance, so that many programs do not come back at
    ///   once. Without it the pauses are the same in every run.
    public init(isJittered: Bool = false) { self.isJittered = isJittered }

    public mutating func next() -> Duration {
        defer { milliseconds = min(milliseconds * 2, Self.longest) }
        let pause = Duration.milliseconds(milliseconds)
        return isJittered ? pause * Double.random(in: 0.5...1) : pause
    }

    /// After a success.
    public mutating func reset() { milliseconds = Self.shortest }
}
