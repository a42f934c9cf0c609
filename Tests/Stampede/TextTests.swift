// Tables, bars, numbers, quantiles: what people read.
import Testing

@testable import StampedeCore

@Suite struct TextTests {
    @Test func columnsAlign() {
        var table = Table([("name", .left), ("count", .right)])
        table.add(["a", "1,000"])
        table.add(["longer", "2"])
        #expect(
            table.text == """
                name    count
                ──────  ─────
                a       1,000
                longer      2
                """)
    }

    @Test func barsGrowByEighths() {
        #expect(bar(0, of: 10) == "")
        #expect(bar(10, of: 10, width: 4) == "████")
        #expect(bar(5, of: 10, width: 4) == "██")
        #expect(bar(1, of: 32, width: 4) == "▏")
        #expect(bar(20, of: 10, width: 4) == "████")
        #expect(bar(1, of: 0) == "")
    }

    @Test(arguments: [
        (0, "0"), (999, "999"), (1000, "1,000"), (-1_234_567, "-1,234,567"), (Int.min, "-9,223,372,036,854,775,808"),
    ])
    func numbersAreGrouped(number: Int, text: String) { #expect(number.grouped == text) }

    @Test(arguments: [(0.0, 2, "0.00"), (1.005, 1, "1.0"), (-2.345, 2, "-2.35"), (12.5, 0, "13"), (0.06, 1, "0.1")])
    func decimalsAreFixed(number: Double, digits: Int, text: String) { #expect(number.fixed(digits) == text) }

    @Test func quantilesAreMeasuredValues() throws {
        let quantiles = try #require(Quantiles((1...1000).map { UInt32($0) }.shuffled()))
        #expect(quantiles.count == 1000)
        #expect(quantiles.p50 == 500)
        #expect(quantiles.p90 == 900)
        #expect(quantiles.p99 == 990)
        #expect(quantiles.p999 == 999)
        #expect(quantiles.most == 1000)
        let one = try #require(Quantiles([7]))
        #expect((one.p50, one.p999) == (7, 7))
        #expect(Quantiles([]) == nil)
    }
}
