import Runtime
import Testing

@Suite struct BackoffTests {
    @Test func pausesDoubleToABound() {
        var backoff = Backoff()
        let pauses = (0..<9).map { _ in backoff.next() }
        #expect(pauses == [50, 100, 200, 400, 800, 1600, 3200, 5000, 5000].map { .milliseconds($0) })
        backoff.reset()
        #expect(backoff.next() == .milliseconds(50))
    }

    @Test func jitteredPausesDifferAndNeverComeToNothing() {
        var backoff = Backoff(isJittered: true)
        let pauses = (0..<40).map { _ in backoff.next() }
        #expect(pauses.allSatisfy { $0 >= .milliseconds(25) && $0 <= .seconds(5) })
        #expect(pauses[10...].allSatisfy { $0 >= .milliseconds(2500) })
        #expect(Set(pauses[10...]).count > 1)
    }
}
