import Observability
import Testing

@Suite struct TracerTests {
    private func span(_ name: String, _ context: TraceContext = .new()) -> Span {
        Span(name, .within, context, parent: nil, start: 1, end: 2)
    }

    @Test func spansComeOutInTheirOrderAndNoneStaysBehind() {
        let tracer = Tracer(ratio: 1, metrics: Metrics())
        for index in 0..<10 { tracer.record(span("\(index)")) }
        #expect(tracer.take(4).map(\.name) == ["0", "1", "2", "3"])
        #expect(tracer.take(100).map(\.name) == ["4", "5", "6", "7", "8", "9"])
        #expect(tracer.take(100).isEmpty)
    }

    @Test func whatDoesNotFitIsDroppedAndCounted() {
        let metrics = Metrics()
        let tracer = Tracer(ratio: 1, spansMax: 3, metrics: metrics)
        for index in 0..<10 { tracer.record(span("\(index)")) }
        #expect(tracer.take(100).count == 3)
        #expect(metrics.render().contains("stampede_trace_spans_total 3\n"))
        #expect(metrics.render().contains("stampede_trace_spans_dropped_total 7\n"))
    }

    @Test func tracesThatNobodyRecordsLeaveNothing() throws {
        let tracer = Tracer(ratio: 1, metrics: Metrics())
        let silent = try #require(
            TraceContext(traceparent: "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00"))
        tracer.record(span("silent", silent))
        #expect(!tracer.records(silent) && !tracer.records(nil))
        #expect(tracer.take(10).isEmpty)
        #expect(!Tracer.off.records(.new()))
    }

    @Test(arguments: [(0.0, 0...0), (0.25, 2200...2800), (1.0, 10_000...10_000)])
    func theRatioOfNewTracesIsRecorded(ratio: Double, expected: ClosedRange<Int>) {
        let tracer = Tracer(ratio: ratio, metrics: Metrics())
        var generator = Counting(state: 7)
        let chosen = (0..<10_000).count { _ in tracer.newTrace(using: &generator).isSampled }
        #expect(expected.contains(chosen))
    }

    /// SplitMix64: the same numbers in every run.
    private struct Counting: RandomNumberGenerator {
        var state: UInt64
        mutating func next() -> UInt64 {
            state &+= 0x9E37_79B9_7F4A_7C15
            var mixed = (state ^ state >> 30) &* 0xBF58_476D_1CE4_E5B9
            mixed = (mixed ^ mixed >> 27) &* 0x94D0_49BB_1331_11EB
            return mixed ^ mixed >> 31
        }
    }

    @Test func aChildByNameIsTheSameWheneverItIsAskedFor() {
        let parent = TraceContext.new()
        let salt = TraceContext.salt("reservation.orders".utf8)
        #expect(parent.child(salt: salt) == parent.child(salt: salt))
        #expect(parent.child(salt: salt).traceID == parent.traceID)
        let others = Set((0..<1000).map { parent.child(salt: TraceContext.salt("\($0)".utf8)).spanID })
        #expect(others.count == 1000)
        #expect(!others.contains(parent.spanID))
    }
}
