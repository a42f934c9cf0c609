// Quantiles of measured times.

/// The usual points of a distribution, in microseconds.
struct Quantiles: Sendable, Equatable {
    let count: Int
    let p50: UInt32
    let p90: UInt32
    let p99: UInt32
    let p999: UInt32
    let most: UInt32

    /// Nil where nothing was measured. The value at rank ceil(q * n), as measured, never interpolated.
    init?(_ values: [UInt32]) {
        guard !values.isEmpty else { return nil }
        let sorted = values.sorted()
        func at(_ quantile: Double) -> UInt32 {
            sorted[min(sorted.count - 1, max(0, Int((quantile * Double(sorted.count)).rounded(.up)) - 1))]
        }
        count = sorted.count
        p50 = at(0.5)
        p90 = at(0.9)
        p99 = at(0.99)
        p999 = at(0.999)
        most = sorted[sorted.count - 1]
    }
}
