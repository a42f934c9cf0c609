// Waiting with a bound, and longer each time.

/// Runs `work` and gives its result, or nil when it takes longer than `duration` or the caller is cancelled. The work is
/// then cancelled and no longer waited for: whether it ends is its own affair.
func within<Value: Sendable>(_ duration: Duration, _ work: @escaping @Sendable () async -> Value) async -> Value? {
    let (results, result) = AsyncStream.makeStream(of: Value?.self, bufferingPolicy: .bufferingOldest(1))
    let working = Task { result.yield(await work()) }
    let timing = Task {
        try? await Task.sleep(for: duration)
        result.yield(nil)
    }
    defer {
        working.cancel()
        timing.cancel()
    }
    // A cancelled caller's iteration ends at once.
    for await value in results { return value }
    return nil
}

/// Pauses that double from 0.1 s to 5 s, each up to a half shorter, so that many programs do not come back at once.
struct Backoff {
    private var next: Duration = .milliseconds(100)

    mutating func pause() -> Duration {
        defer { next = min(next * 2, .seconds(5)) }
        return next * Double.random(in: 0.5...1)
    }
}

extension Duration {
    var inSeconds: Double { Double(components.seconds) + Double(components.attoseconds) * 1e-18 }
}
