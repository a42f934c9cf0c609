import Observability
import Testing

@Suite struct TraceContextTests {
    static let example = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"

    @Test func aHeaderIsReadAndWrittenAsItCame() throws {
        let trace = try #require(TraceContext(traceparent: Self.example))
        #expect(trace.traceparent == Self.example)
        #expect(trace.traceID == "0af7651916cd43dd8448eb211c80319c")
        #expect(trace.isSampled)
        #expect(TraceContext(Array(Self.example.utf8)) == trace)
    }

    @Test func aChildIsAnotherSpanOfTheSameTrace() throws {
        let trace = try #require(TraceContext(traceparent: Self.example))
        let child = trace.child()
        #expect(child.traceID == trace.traceID)
        #expect(child != trace)
        #expect(TraceContext(traceparent: child.traceparent) == child)
    }

    @Test func newTracesDifferAndAreValid() {
        let traces = (0..<100).map { _ in TraceContext.new() }
        #expect(Set(traces.map(\.traceID)).count == 100)
        for trace in traces { #expect(TraceContext(traceparent: trace.traceparent) == trace) }
    }

    /// The cases of the W3C's own test suite.
    @Test(arguments: [
        "", "00", example.uppercased(), example + "-", example + "0", " " + example, example + " ",
        "00-00000000000000000000000000000000-b7ad6b7169203331-01",
        "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
        "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        "0-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        "00-0af7651916cd43dd8448eb211c80319-b7ad6b7169203331-01",
        "00-0af7651916cd43dd8448eb211c80319cc-b7ad6b7169203331-01",
        "00-.af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        "00_0af7651916cd43dd8448eb211c80319c_b7ad6b7169203331_01",
        "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-1",
        "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-0g",
        "01-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01.what", "٠٠-0af7651916cd43dd8448eb211c80319c-b7ad-01",
    ])
    func whatIsNoTraceparentIsRefused(text: String) { #expect(TraceContext(traceparent: text) == nil) }

    @Test func laterVersionsAreReadAsFarAsTheyAreKnown() throws {
        let later = "cc-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00"
        for text in [later, later + "-what-the-future-will-be-like"] {
            let trace = try #require(TraceContext(traceparent: text))
            #expect(trace.traceID == "0af7651916cd43dd8448eb211c80319c")
            #expect(!trace.isSampled)
            #expect(trace.traceparent.hasPrefix("00-"))
        }
    }
}
