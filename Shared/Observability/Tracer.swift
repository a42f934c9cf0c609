// Which traces are recorded, and where their spans wait to be sent.
import Foundation
import Synchronization

/// Collects finished spans for whoever sends them. Never waits: a span that finds the queue full is dropped and counted.
/// What is not on costs a comparison.
public final class Tracer: Sendable {
    /// Records nothing.
    public static let off = Tracer(ratio: 0, spansMax: 0, metrics: Metrics(), isOn: false)

    public let isOn: Bool
    private let spansMax: Int
    /// New traces are recorded whose number is below this.
    private let threshold: UInt64
    private let recorded: Counter
    private let dropped: Counter
    private let queue = Mutex<[Span]>([])

    /// - Parameters:
    ///   - ratio: the part of new traces that is recorded. Of the traces of those who are trusted, those are that they record.
    ///   - spansMax: spans that may wait.
    public convenience init(ratio: Double, spansMax: Int = 10_000, metrics: Metrics) {
        self.init(ratio: ratio, spansMax: spansMax, metrics: metrics, isOn: true)
    }

    private init(ratio: Double, spansMax: Int, metrics: Metrics, isOn: Bool) {
        self.isOn = isOn
        self.spansMax = spansMax
        threshold = ratio >= 1 ? .max : UInt64(max(0, ratio) * 0x1p64)
        recorded = metrics.counter("stampede_trace_spans_total", help: "Spans that were recorded")
        dropped = metrics.counter(
            "stampede_trace_spans_dropped_total", help: "Spans that no collector took in time, and were dropped")
    }

    /// A new trace, chosen to be recorded or not.
    public func newTrace(using generator: inout some RandomNumberGenerator) -> TraceContext {
        let isChosen = chooses(using: &generator)
        return .new(using: &generator, isSampled: isChosen)
    }

    /// A span of a trace of somebody whose word about recording does not count: chosen as if the trace were new.
    public func span(of trace: TraceContext, using generator: inout some RandomNumberGenerator) -> TraceContext {
        trace.child(isSampled: chooses(using: &generator))
    }

    private func chooses(using generator: inout some RandomNumberGenerator) -> Bool {
        isOn && (threshold == .max || generator.next() < threshold)
    }

    /// Whether spans of this trace are wanted.
    public func records(_ trace: TraceContext?) -> Bool { isOn && trace?.isSampled == true }

    public func record(_ span: Span) {
        guard records(span.context) else { return }
        let isTaken = queue.withLock { queue in
            guard queue.count < spansMax else { return false }
            queue.append(span)
            return true
        }
        (isTaken ? recorded : dropped).add()
    }

    /// Spans that wait, at most so many, the oldest first; they are the caller's now.
    public func take(_ countMax: Int) -> [Span] {
        queue.withLock { queue in
            let taken = Array(queue.prefix(countMax))
            queue.removeFirst(taken.count)
            return taken
        }
    }

    /// Spans that were taken and could not be sent.
    public func drop(_ count: Int) { dropped.add(count) }

    /// Nanoseconds since 1970.
    public static func now() -> Int64 {
        var time = timespec()
        clock_gettime(CLOCK_REALTIME, &time)
        return Int64(time.tv_sec) * 1_000_000_000 + Int64(time.tv_nsec)
    }
}
