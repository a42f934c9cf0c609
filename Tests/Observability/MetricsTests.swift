import Foundation
import Observability
import Testing

/// Reads the text exposition strictly: what it cannot read, Prometheus would refuse.
private struct Exposition {
    var types: [String: String] = [:]
    var helps: [String: String] = [:]
    /// `name{labels}` to value.
    var samples: [String: Double] = [:]

    private static var help: Regex<(Substring, Substring, Substring)> {
        #/# HELP ([a-zA-Z_:][a-zA-Z0-9_:]*) ((?:[^\\]|\\\\|\\n)*)/#.matchingSemantics(.unicodeScalar)
    }

    private static var type: Regex<(Substring, Substring, Substring)> {
        #/# TYPE ([a-zA-Z_:][a-zA-Z0-9_:]*) (counter|gauge|histogram)/#.matchingSemantics(.unicodeScalar)
    }

    init(_ text: String) throws {
        #expect(text.isEmpty || text.hasSuffix("\n"))
        var current = ""
        // By scalars: to Swift, a space and a joiner behind it are one character; to Prometheus they are two.
        for scalars in text.unicodeScalars.split(separator: "\n", omittingEmptySubsequences: false).dropLast() {
            let line = String(scalars)
            if let help = try Self.help.wholeMatch(in: line) {
                #expect(helps.updateValue(String(help.2), forKey: String(help.1)) == nil)
                current = String(help.1)
            } else if let type = try Self.type.wholeMatch(in: line) {
                #expect(types.updateValue(String(type.2), forKey: String(type.1)) == nil)
                #expect(String(type.1) == current)
            } else {
                let label = #"[a-zA-Z_][a-zA-Z0-9_]*="(?:[^"\\\n]|\\\\|\\"|\\n)*""#
                let pattern = try Regex(
                    #"([a-zA-Z_:][a-zA-Z0-9_:]*)(\{\#(label)(?:,\#(label))*\})? (\S+)"#,
                    as: (Substring, Substring, Substring?, Substring).self
                ).matchingSemantics(.unicodeScalar)
                let sample = try #require(try pattern.wholeMatch(in: line), "not a sample: \(line)")
                let base =
                    types[current] == "histogram"
                    ? String(sample.1).replacing(#/_(bucket|sum|count)$/#, with: "") : String(sample.1)
                #expect(base == current)
                let number = try #require(sample.3 == "+Inf" ? Double.infinity : Double(sample.3))
                #expect(samples.updateValue(number, forKey: "\(sample.1)\(sample.2 ?? "")") == nil, "twice: \(line)")
            }
        }
    }
}

@Suite struct MetricsTests {
    @Test func whatIsRenderedParsesWithEveryKindOfInstrument() throws {
        let metrics = Metrics()
        metrics.counter(
            "requests_total", help: "Requests.\nAll \\ of them.", labels: ["route": "/v1", "status": "200"]
        ).add(3)
        metrics.counter("requests_total", help: "Requests.", labels: ["route": "/v1", "status": "404"]).add()
        metrics.gauge("queue_depth", help: "Waiting.").set(2.5)
        let histogram = metrics.histogram("latency_seconds", help: "Latency.", buckets: [0.1, 1])
        for value in [0.05, 0.1, 0.5, 7] { histogram.observe(value) }
        metrics.observed("lag", help: "Lag.", labels: ["partition": "0"]) { 12 }
        metrics.observed("unknown", help: "Nobody knows.") { nil }
        metrics.addProcessStatistics()

        let exposition = try Exposition(metrics.render())
        #expect(exposition.samples[#"requests_total{route="/v1",status="200"}"#] == 3)
        #expect(exposition.samples[#"requests_total{route="/v1",status="404"}"#] == 1)
        #expect(exposition.helps["requests_total"] == #"Requests.\nAll \\ of them."#)
        #expect(exposition.types["requests_total"] == "counter")
        #expect(exposition.samples["queue_depth"] == 2.5)
        #expect(exposition.samples[#"latency_seconds_bucket{le="0.1"}"#] == 2)
        #expect(exposition.samples[#"latency_seconds_bucket{le="1"}"#] == 3)
        #expect(exposition.samples[#"latency_seconds_bucket{le="+Inf"}"#] == 4)
        #expect(exposition.samples["latency_seconds_count"] == 4)
        #expect(abs((exposition.samples["latency_seconds_sum"] ?? 0) - 7.65) < 1e-9)
        #expect(exposition.samples[#"lag{partition="0"}"#] == 12)
        #expect(exposition.samples["unknown"] == nil)
        #expect(exposition.types["process_cpu_seconds_total"] == "counter")
        #expect((exposition.samples["process_resident_memory_bytes"] ?? 0) > 1_000_000)
    }

    @Test func whatIsCollectedHasTheLabelsOfNowAndABound() throws {
        let metrics = Metrics()
        metrics.collected("lag", help: "Lag.", labels: ["group": "a"]) {
            (0..<10_000).map { (["partition": "\($0)"], 1) }
        }
        metrics.collected("lag", help: "Lag.", labels: ["group": "b"]) { [(["partition": "0"], 1)] }
        metrics.collected("lag", help: "Lag.", labels: ["group": "b"]) { [(["partition": "7"], 5)] }
        let exposition = try Exposition(metrics.render())
        #expect(exposition.types["lag"] == "gauge")
        #expect(exposition.samples.count == Metrics.seriesMax + 1)
        #expect(exposition.samples[#"lag{group="b",partition="7"}"#] == 5)
    }

    @Test(arguments: LoggerTests.hostile)
    func aHostileLabelStaysALabel(value: String) throws {
        let metrics = Metrics()
        metrics.counter("things_total", help: value, labels: ["name": value]).add(7)
        let exposition = try Exposition(metrics.render())
        #expect(exposition.samples.count == 1)
        #expect(exposition.samples.values.first == 7)
    }

    @Test func theSameNameAndLabelsAreTheSameInstrument() {
        let metrics = Metrics()
        let one = metrics.counter("things_total", help: "Things.", labels: ["a": "1", "b": "2"])
        let same = metrics.counter("things_total", help: "Things.", labels: ["b": "2", "a": "1"])
        let other = metrics.counter("things_total", help: "Things.", labels: ["a": "2", "b": "1"])
        one.add()
        #expect(same === one)
        #expect(other !== one)
        #expect(same.value == 1)
    }

    @Test func labelsOfAStrangersChoosingAreBounded() throws {
        let metrics = Metrics()
        for index in 0..<10_000 {
            metrics.counter("things_total", help: "Things.", labels: ["name": "\(index)"]).add()
        }
        let exposition = try Exposition(metrics.render())
        #expect(exposition.samples.count == Metrics.seriesMax + 1)
        #expect(exposition.samples[#"things_total{name="other"}"#] == Double(10_000 - Metrics.seriesMax))
    }

    @Test func nothingIsLostWhenManyAddAtOnce() async {
        let metrics = Metrics()
        let histogram = metrics.histogram("sizes", help: "Sizes.", buckets: [1])
        await withTaskGroup { group in
            for _ in 0..<8 {
                group.addTask {
                    for _ in 0..<10_000 {
                        metrics.counter("things_total", help: "Things.").add()
                        metrics.gauge("level", help: "Level.").add(1)
                        histogram.observe(0.5)
                    }
                }
            }
        }
        #expect(metrics.counter("things_total", help: "").value == 80_000)
        #expect(metrics.gauge("level", help: "").value == 80_000)
        #expect(histogram.bucketCounts == [80_000, 0])
        #expect(histogram.sum == 40_000)
    }

    @Test func numbersThatAreNoneAreRendered() throws {
        let metrics = Metrics()
        metrics.gauge("a", help: "").set(.nan)
        metrics.gauge("b", help: "").set(.infinity)
        metrics.gauge("c", help: "").set(-.infinity)
        metrics.gauge("d", help: "").set(1e300)
        #expect(metrics.render().contains("a NaN\n"))
        #expect(metrics.render().contains("b +Inf\n"))
        #expect(metrics.render().contains("c -Inf\n"))
        #expect(metrics.render().contains("d 1e+300\n"))
    }

    @Test func aReaderMayItselfUseTheRegistry() {
        let metrics = Metrics()
        metrics.observed("count", help: "") { Double(metrics.counter("things_total", help: "").value) }
        metrics.counter("things_total", help: "").add(5)
        #expect(metrics.render().contains("count 5\n"))
    }

    @Test func theProcessKnowsWhatItUses() throws {
        let before = try #require(ProcessStatistics.current())
        // Some work that the optimiser cannot leave out.
        var value = before.residentBytes
        while try #require(ProcessStatistics.current()).cpuSeconds < before.cpuSeconds + 0.02 {
            value = value &* 31 &+ 7
        }
        let after = try #require(ProcessStatistics.current())
        #expect(after.cpuSeconds > before.cpuSeconds)
        #expect(after.residentBytes > 1 << 20)
        #expect(after.residentBytesMax >= before.residentBytes)
        #expect(after.virtualBytes >= after.residentBytes)
        #expect(after.threads >= 1)
        #expect(after.openFiles >= 3)
        #expect(value != 0)
    }
}
