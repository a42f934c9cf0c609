// Waiting with a bound.

/// Runs `work` and gives its result, or nil when it takes longer than `duration` or the caller is cancelled. The work is
/// then cancelled and no longer waited for: whether it ends is its own affair.
public func within<Value: Sendable>(
    _ duration: Duration, _ work: @escaping @Sendable () async -> Value
) async -> Value? {
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

extension Duration {
    public var inSeconds: Double { Double(components.seconds) + Double(components.attoseconds) * 1e-18 }
}
