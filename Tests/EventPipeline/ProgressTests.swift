// What operators are told of a backlog.
import Models
import Testing

@testable import EventPipeline

@Suite struct ProgressTests {
    private let progress = Progress()

    private func at(_ seconds: Int64) -> Timestamp { Timestamp(microseconds: seconds * 1_000_000) }

    @Test func aPartitionIsBehindByWhatItsLogHoldsAndNobodyApplied() {
        progress.began(3, next: PipelineSchema.beginning)
        progress.began(5, next: 90)
        progress.observe([3: (low: 10, high: 40), 5: (low: 0, high: 100), 6: (low: 0, high: 7)], now: at(1))
        #expect(progress.lags.map(\.partition) == [3, 5])
        #expect(progress.lags.map(\.records) == [30, 10])
        progress.applied(3, next: 40)
        // The log is longer than it was seen to be.
        progress.applied(5, next: 120)
        #expect(progress.lags.map(\.records) == [0, 0])
        progress.ended(3)
        #expect(progress.own == [5])
    }

    @Test func theOldestRecordIsTheFirstOfTheBatchAtWork() {
        progress.began(0, next: 0)
        progress.began(1, next: 0)
        #expect(progress.oldestSeconds(now: at(100)) == 0)
        progress.took(0, firstAt: at(90))
        progress.took(1, firstAt: at(95))
        #expect(progress.oldestSeconds(now: at(100)) == 10)
        progress.applied(0, next: 5)
        #expect(progress.oldestSeconds(now: at(101)) == 6)
        progress.ended(1)
        #expect(progress.oldestSeconds(now: at(101)) == 0)
    }

    @Test func recordsThatNobodyTakesGetOlderFromWhenTheyWereSeen() {
        progress.began(0, next: 0)
        progress.observe([0: (low: 0, high: 5)], now: at(100))
        progress.observe([0: (low: 0, high: 9)], now: at(103))
        #expect(progress.oldestSeconds(now: at(104)) == 4)
        progress.applied(0, next: 9)
        #expect(progress.oldestSeconds(now: at(105)) == 0)
        progress.observe([0: (low: 0, high: 9)], now: at(106))
        #expect(progress.oldestSeconds(now: at(107)) == 0)
    }
}
