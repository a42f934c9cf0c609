// A transaction waits for company as long as company came before.
import Testing

@testable import EventPipeline

@Suite struct PaceTests {
    @Test func nothingWaitsAfterOneAndTheWaitGrowsToItsBound() {
        let pace = Pace(longest: .milliseconds(160))
        #expect(pace.pause(after: 0) == nil && pace.pause(after: 1) == nil)
        #expect(pace.pause(after: 2) == .milliseconds(20))
        #expect(pace.pause(after: 16) == .milliseconds(160))
        #expect(pace.pause(after: 5000) == .milliseconds(160))
    }
}
