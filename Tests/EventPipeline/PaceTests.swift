import Testing

@testable import EventPipeline

@Suite struct PaceTests {
    private let interval = Duration.milliseconds(10)

    /// How many transactions begin while so many commands come evenly in a second, each transaction taking 1 ms.
    private func transactions(of rate: Int) -> (begun: Int, waited: Int) {
        var pace = Pace(interval: interval, freeMax: 8)
        let start = ContinuousClock.now
        var (now, taken, begun, waited) = (start, 0, 0, 0)
        while taken < rate {
            // Whoever has come by now.
            let come = min(rate, Int((now - start) / .seconds(1) * Double(rate)) + 1)
            if come == taken {
                now = start + .seconds(1) * taken / rate + .nanoseconds(1)
                continue
            }
            begun += 1
            let next = pace.took(come - taken, at: now)
            taken = come
            now += .milliseconds(1)
            if let next, next > now {
                waited += 1
                now = next
            }
        }
        return (begun, waited)
    }

    @Test(arguments: [1, 50, 300, 700]) func whoComesAloneNeverWaits(rate: Int) {
        let (begun, waited) = transactions(of: rate)
        #expect(begun == rate)
        #expect(waited == 0)
    }

    @Test(arguments: [2_000, 10_000, 100_000]) func underLoadATransactionAnInterval(rate: Int) {
        #expect((95...115).contains(transactions(of: rate).begun))
    }

    @Test func aBurstIsForgottenAfterTwoIntervals() {
        var pace = Pace(interval: interval, freeMax: 8)
        let start = ContinuousClock.now
        #expect(pace.took(5_000, at: start) == start + interval)
        #expect(pace.took(1, at: start + interval) == start + interval * 2)
        #expect(pace.took(1, at: start + interval * 2) == nil)
    }

    @Test func withoutAnIntervalNothingGathers() {
        var pace = Pace(interval: .zero, freeMax: 8)
        #expect(pace.took(5_000, at: .now) == nil)
    }
}
