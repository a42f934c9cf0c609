import Foundation
import JSON
import TestSupport
import Testing

@testable import Models

@Suite struct TimestampTests {
    @Test func whatIsWrittenIsReadBack() throws {
        var random = SeededRandom(seed: 9)
        for _ in 0..<5000 {
            let time = random.time()
            #expect(Timestamp(time.description) == time)
        }
        for time in [
            Timestamp.distantPast, .distantFuture, Timestamp(microseconds: .min), Timestamp(microseconds: .max),
        ] {
            #expect(Timestamp(time.description) == time)
        }
        #expect(Timestamp(microseconds: .min).description == "0001-01-01T00:00:00Z")
        #expect(Timestamp.distantFuture.description == "9999-12-31T23:59:59.999999Z")
    }

    @Test func foundationSaysTheSameSecond() throws {
        var random = SeededRandom(seed: 10)
        for _ in 0..<2000 {
            // The Gregorian calendar begins in 1582; Foundation's says older dates by the Julian one.
            let seconds = random.integer(-11_000_000_000...253_402_300_799)
            let foundation = Date(timeIntervalSince1970: Double(seconds)).formatted(.iso8601)
            #expect(Timestamp(seconds: seconds).description == foundation)
        }
    }

    @Test(arguments: [
        ("2026-11-27T12:00:00Z", 1_795_780_800_000_000), ("1970-01-01T00:00:00Z", 0),
        ("2026-11-27T20:00:00+08:00", 1_795_780_800_000_000), ("2026-11-27T06:30:00-05:30", 1_795_780_800_000_000),
        ("2026-11-27t12:00:00z", 1_795_780_800_000_000), ("2026-11-27 12:00:00Z", 1_795_780_800_000_000),
        ("2026-11-27T12:00:00.5Z", 1_795_780_800_500_000), ("2026-11-27T12:00:00.000001Z", 1_795_780_800_000_001),
        ("2026-11-27T12:00:00.123456789Z", 1_795_780_800_123_456), ("1969-12-31T23:59:59.999999Z", -1),
        ("2024-02-29T00:00:00Z", 1_709_164_800_000_000), ("2000-02-29T00:00:00Z", 951_782_400_000_000),
    ])
    func whatRFC3339AllowsIsRead(text: String, microseconds: Int64) {
        #expect(Timestamp(text)?.microseconds == microseconds)
    }

    @Test(arguments: [
        "", "now", "2026-11-27", "2026-11-27T12:00:00", "2026-11-27T12:00Z", "2026-13-01T00:00:00Z",
        "2026-00-01T00:00:00Z", "2026-02-29T00:00:00Z", "1900-02-29T00:00:00Z", "2026-04-31T00:00:00Z",
        "2026-11-00T00:00:00Z", "2026-11-27T24:00:00Z", "2026-11-27T12:60:00Z", "2026-11-27T12:00:60Z",
        "2026-11-27T12:00:00.Z", "2026-11-27T12:00:00.1234567890Z", "2026-11-27T12:00:00+24:00",
        "2026-11-27T12:00:00+0800", "2026-11-27T12:00:00+08:60", "2026-11-27T12:00:00ZZ", "20261127T120000Z",
        "-026-11-27T12:00:00Z", "2026-11-27T12:00:00Z ", "２０２６-11-27T12:00:00Z", "0000-12-31T23:59:59Z",
        "0001-01-01T00:00:00+00:01", "9999-12-31T23:59:59-00:01",
    ])
    func whateverElseIsRefused(text: String) {
        #expect(Timestamp(text) == nil)
    }

    @Test func arithmeticStopsAtTheEndsInsteadOfOverflowing() {
        #expect(Timestamp.distantFuture.adding(seconds: .max) == .distantFuture)
        #expect(Timestamp.distantFuture.adding(milliseconds: 1) == .distantFuture)
        #expect(Timestamp.distantPast.adding(seconds: .min) == Timestamp(microseconds: .min))
        #expect(Timestamp(milliseconds: .max) == .distantFuture)
        #expect(Timestamp(seconds: .min) == Timestamp(microseconds: .min))
        #expect(
            Timestamp(seconds: 10).adding(seconds: -3).adding(milliseconds: 1500) == Timestamp(microseconds: 8_500_000))
        #expect(Timestamp(seconds: 3) - Timestamp(milliseconds: 1) == .milliseconds(2999))
    }
}
