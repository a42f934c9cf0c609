// Whether a sale that nobody knows was published: the broker is asked seldom.
import Models
import Synchronization
import Testing

@testable import ReservationCore

@Suite struct SaleSearchTests {
    @Test func theBrokerIsAskedOnceForAllThatWait() async throws {
        let asked = Mutex(0)
        let search = SaleSearch(now: { Timestamp(seconds: 1000) }) { asked.withLock { $0 += 1 } }
        #expect(!search.isComplete(for: 5, of: 1, at: Timestamp(seconds: 900)))
        try await search.complete(before: 6, of: 1)
        #expect(search.isComplete(for: 5, of: 1, at: Timestamp(seconds: 2000)))
        #expect(!search.isComplete(for: 6, of: 1, at: Timestamp(seconds: 1000)))
        // Older than the question by more than clocks differ: wherever it is.
        #expect(search.isComplete(for: 900, of: 7, at: Timestamp(seconds: 998)))
        try await withThrowingTaskGroup(of: Void.self) { group in
            for partition in 1...8 as ClosedRange<Int32> {
                group.addTask { try await search.complete(before: 100, of: partition) }
            }
            try await group.waitForAll()
        }
        #expect((1...8).allSatisfy { search.isComplete(for: 99, of: $0, at: Timestamp(seconds: 2000)) })
        // The eight share one question; whoever comes while it is asked may need one more.
        #expect((2...3).contains(asked.withLock { $0 }))
    }

    @Test func whatFailsIsAskedAgain() async throws {
        let fails = Mutex(true)
        let search = SaleSearch(now: { Timestamp(seconds: 1000) }) {
            if fails.withLock({ $0 }) { throw Failure() }
        }
        await #expect(throws: Failure.self) { try await search.complete(before: 6, of: 1) }
        #expect(!search.isComplete(for: 5, of: 1, at: Timestamp(seconds: 1000)))
        fails.withLock { $0 = false }
        try await search.complete(before: 6, of: 1)
        #expect(search.isComplete(for: 5, of: 1, at: Timestamp(seconds: 1000)))
    }

    private struct Failure: Error {}
}
