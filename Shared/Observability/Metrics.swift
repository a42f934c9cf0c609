// The registry of a process's metrics, and how it reads to Prometheus.
// https://prometheus.io/docs/instrumenting/exposition_formats/
import Synchronization

/// Hands out instruments and renders them all. Asking again for the same name and labels gives the same instrument.
///
/// Names and label names are the programmer's: a bad or contradictory one stops the program at once. Label values may
/// come from anywhere, and are therefore bounded: beyond `seriesMax` combinations of one name, further ones are counted
/// together with every label `other`.
public final class Metrics: Sendable {
    public static let seriesMax = 500
    public static let contentType = "text/plain; version=0.0.4; charset=utf-8"

    private let families = Mutex<[String: Family]>([:])

    public init() {}

    public func counter(_ name: String, help: String, labels: [String: String] = [:]) -> Counter {
        let series = register(name, help, .counter, labels) { .counter(Counter()) }
        guard case .counter(let counter) = series else { preconditionFailure("\(name) is not a counter") }
        return counter
    }

    public func gauge(_ name: String, help: String, labels: [String: String] = [:]) -> Gauge {
        let series = register(name, help, .gauge, labels) { .gauge(Gauge()) }
        guard case .gauge(let gauge) = series else { preconditionFailure("\(name) is not a gauge") }
        return gauge
    }

    /// - Parameter buckets: upper bounds, ascending, of the first registration; later ones get those.
    public func histogram(
        _ name: String, help: String, labels: [String: String] = [:],
        buckets: [Double] = Histogram.latencySecondsBuckets
    ) -> Histogram {
        precondition(zip(buckets, buckets.dropFirst()).allSatisfy { $0 < $1 }, "\(name): buckets must ascend")
        let series = register(name, help, .histogram, labels) { .histogram(Histogram(bounds: buckets)) }
        guard case .histogram(let histogram) = series else { preconditionFailure("\(name) is not a histogram") }
        return histogram
    }

    /// A value that is read when somebody looks; nil leaves it out. Registering the same again replaces the reader.
    public func observed(
        _ name: String, help: String, labels: [String: String] = [:], isCounter: Bool = false,
        read: @escaping @Sendable () -> Double?
    ) {
        _ = register(name, help, isCounter ? .counter : .gauge, labels, replacing: true) { .observed(read) }
    }

    /// Values whose labels come and go, such as those of partitions: read when somebody looks, the first `seriesMax` of
    /// them. What is registered again under the same `labels` replaces the reader.
    /// - Parameter labels: on each of the values, besides the labels that it comes with.
    public func collected(
        _ name: String, help: String, labels: [String: String] = [:], isCounter: Bool = false,
        read: @escaping @Sendable () -> [(labels: [String: String], value: Double)]
    ) {
        _ = register(name, help, isCounter ? .counter : .gauge, labels, replacing: true) { .collected(labels, read) }
    }

    /// The text exposition, families and series in the order of their names.
    public func render() -> String {
        // Instruments are read after the lock is released: a reader may register or render itself.
        let families = families.withLock { $0 }
        var text = ""
        for (name, family) in families.sorted(by: { $0.key < $1.key }) {
            text += "# HELP \(name) \(family.help.prometheusEscaped(quotes: false))\n"
            text += "# TYPE \(name) \(family.kind.rawValue)\n"
            for (labels, series) in family.series.sorted(by: { $0.key < $1.key }) {
                Self.render(name, labels, series, into: &text)
            }
        }
        return text
    }

    private static func render(_ name: String, _ labels: String, _ series: Series, into text: inout String) {
        func line(_ suffix: String, _ labels: String, _ value: String) {
            text += labels.isEmpty ? "\(name)\(suffix) \(value)\n" : "\(name)\(suffix){\(labels)} \(value)\n"
        }
        switch series {
        case .counter(let counter): line("", labels, String(counter.value))
        case .gauge(let gauge): line("", labels, gauge.value.prometheusText)
        case .observed(let read):
            if let value = read() { line("", labels, value.prometheusText) }
        case .collected(let shared, let read):
            for one in read().prefix(seriesMax) {
                line("", render(shared.merging(one.labels) { $1 }), one.value.prometheusText)
            }
        case .histogram(let histogram):
            let separator = labels.isEmpty ? "" : ","
            var count = 0
            for (bound, inBucket) in zip(histogram.bounds + [.infinity], histogram.bucketCounts) {
                count += inBucket
                line("_bucket", "\(labels)\(separator)le=\"\(bound.prometheusText)\"", String(count))
            }
            line("_sum", labels, histogram.sum.prometheusText)
            line("_count", labels, String(count))
        }
    }

    private func register(
        _ name: String, _ help: String, _ kind: Kind, _ labels: [String: String], replacing: Bool = false,
        make: () -> Series
    ) -> Series {
        precondition(name.isPrometheusName(colons: true), "\(name): not a metric's name")
        for label in labels.keys {
            precondition(label.isPrometheusName(colons: false) && label != "le", "\(name): \(label) is not a label")
        }
        return families.withLock { families in
            var family = families[name] ?? Family(kind: kind, help: help)
            precondition(family.kind == kind, "\(name) is registered as a \(family.kind.rawValue)")
            var key = Self.render(labels)
            if family.series[key] == nil && family.series.count >= Self.seriesMax && !labels.isEmpty {
                key = Self.render(labels.mapValues { _ in "other" })
            }
            if !replacing, let series = family.series[key] { return series }
            let series = make()
            family.series[key] = series
            families[name] = family
            return series
        }
    }

    /// `name="value",…` in the order of names.
    private static func render(_ labels: [String: String]) -> String {
        labels.sorted { $0.key < $1.key }
            .map { "\($0.key)=\"\($0.value.prometheusEscaped(quotes: true))\"" }
            .joined(separator: ",")
    }

    private enum Kind: String { case counter, gauge, histogram }

    private enum Series: Sendable {
        case counter(Counter)
        case gauge(Gauge)
        case histogram(Histogram)
        case observed(@Sendable () -> Double?)
        case collected([String: String], @Sendable () -> [(labels: [String: String], value: Double)])
    }

    private struct Family: Sendable {
        let kind: Kind
        let help: String
        var series: [String: Series] = [:]
    }
}

extension Double {
    /// As Prometheus writes numbers: `3`, `0.25`, `+Inf`, `NaN`.
    fileprivate var prometheusText: String {
        if isNaN { return "NaN" }
        if isInfinite { return self < 0 ? "-Inf" : "+Inf" }
        if self == rounded(), let whole = Int64(exactly: self) { return String(whole) }
        return description
    }
}

extension String {
    fileprivate func prometheusEscaped(quotes: Bool) -> String {
        var text = ""
        for scalar in unicodeScalars {
            switch scalar {
            case "\\": text += #"\\"#
            case "\n": text += #"\n"#
            case "\"" where quotes: text += #"\""#
            default: text.unicodeScalars.append(scalar)
            }
        }
        return text
    }

    fileprivate func isPrometheusName(colons: Bool) -> Bool {
        guard let first = utf8.first, !(first >= UInt8(ascii: "0") && first <= UInt8(ascii: "9")) else { return false }
        return utf8.allSatisfy { byte in
            switch byte {
            case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
                UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "_"):
                true
            case UInt8(ascii: ":"): colons
            default: false
            }
        }
    }
}
