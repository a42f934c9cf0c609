// What code counts and measures with. All are lock-free; keep a reference and update it as often as you like.
import Synchronization

/// A count that only grows.
public final class Counter: Sendable {
    private let count = Atomic<Int>(0)

    init() {}

    public func add(_ n: Int = 1) { count.wrappingAdd(n, ordering: .relaxed) }

    public var value: Int { count.load(ordering: .relaxed) }
}

/// A value that goes up and down.
public final class Gauge: Sendable {
    private let current = AtomicDouble()

    init() {}

    public func set(_ value: Double) { current.set(value) }

    public func add(_ difference: Double) { current.add(difference) }

    public var value: Double { current.value }
}

/// Counts observations by size. Durations are in seconds, as Prometheus has it.
public final class Histogram: Sendable {
    /// 0.5 ms to 10 s: fits requests, transactions and broker round trips.
    public static let latencySecondsBuckets: [Double] = [
        0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10,
    ]

    /// Upper bounds, ascending; what is larger falls into one more bucket.
    let bounds: [Double]
    private let counts: [Counter]
    private let total = AtomicDouble()

    init(bounds: [Double]) {
        self.bounds = bounds
        counts = (0...bounds.count).map { _ in Counter() }
    }

    public func observe(_ value: Double) {
        var bucket = 0
        while bucket < bounds.count && value > bounds[bucket] { bucket += 1 }
        counts[bucket].add()
        total.add(value)
    }

    public func observe(_ duration: Duration) {
        let (seconds, attoseconds) = duration.components
        observe(Double(seconds) + Double(attoseconds) * 1e-18)
    }

    /// How many observations fell into each bucket (not cumulated); the last is for what exceeds every bound.
    public var bucketCounts: [Int] { counts.map(\.value) }

    public var sum: Double { total.value }
}

/// A Double that several threads add to.
private struct AtomicDouble: ~Copyable, Sendable {
    private let bits = Atomic<UInt64>(0)

    var value: Double { Double(bitPattern: bits.load(ordering: .relaxed)) }

    func set(_ value: Double) { bits.store(value.bitPattern, ordering: .relaxed) }

    func add(_ difference: Double) {
        var old = bits.load(ordering: .relaxed)
        while true {
            let new = (Double(bitPattern: old) + difference).bitPattern
            let (exchanged, current) = bits.weakCompareExchange(expected: old, desired: new, ordering: .relaxed)
            if exchanged { return }
            old = current
        }
    }
}
