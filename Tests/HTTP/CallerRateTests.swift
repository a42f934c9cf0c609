// How often one caller may ask, by a clock of the test's.
import Testing

@testable import HTTP

@Suite struct CallerRateTests {
    private func caller(_ number: Int) -> Caller { Caller(high: UInt64(number), low: 0) }

    @Test func aCallerMaySendForTwoSecondsInOneGoAndThenItsRate() {
        var rate = CallerRate(requestsPerSecond: 4)
        var passed = 0
        while rate.take(caller(1), at: 100) == nil { passed += 1 }
        #expect(passed == 8)
        #expect(rate.take(caller(1), at: 100) == 0.25)
        #expect(rate.take(caller(2), at: 100) == nil)
        // A quarter of a second pays for one; what was refused was not counted.
        #expect(rate.take(caller(1), at: 100.25) == nil)
        #expect(rate.take(caller(1), at: 100.25) == 0.25)
        // After a pause all of it is there again, and not more.
        passed = 0
        while rate.take(caller(1), at: 1000) == nil { passed += 1 }
        #expect(passed == 8)
    }

    @Test func manyCallersKeepNobodyOut() {
        var rate = CallerRate(requestsPerSecond: 1, callersMax: 10)
        for number in 0..<10 { #expect(rate.take(caller(number), at: 1) == nil) }
        // There is no room to remember the eleventh, so it passes.
        for _ in 0..<5 { #expect(rate.take(caller(11), at: 1) == nil) }
        // Those of before are bounded all the same.
        #expect(rate.take(caller(3), at: 1) == nil)
        #expect(rate.take(caller(3), at: 1) != nil)
        // Who has paid off is forgotten, and makes room.
        #expect(rate.take(caller(11), at: 5) == nil)
        #expect(rate.take(caller(11), at: 5) == nil)
        #expect(rate.take(caller(11), at: 5) != nil)
    }
}
