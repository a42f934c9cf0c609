import Foundation
import Observability
import Synchronization
import Testing

/// Keeps what was logged.
private final class Lines: Sendable {
    private let bytes = Mutex<[[UInt8]]>([])

    var sink: LogSink { LogSink { line in self.bytes.withLock { $0.append(line) } } }
    var raw: [[UInt8]] { bytes.withLock { $0 } }

    func objects() throws -> [[String: String]] {
        try raw.map { line in
            try #require(JSONSerialization.jsonObject(with: Data(line)) as? [String: String])
        }
    }
}

@Suite struct LoggerTests {
    static let hostile = [
        "plain", "", "\"", "\\", "\\\"", "a\nb", "a\r\nb", "\u{0}\u{1}\u{1F}", "\u{7F}", "\u{85}\u{9B}31m",
        "\u{2028}\u{2029}", "🐎 汉字 é", "e\u{301}", #"","level":"debug"#, "\u{FEFF}", "\u{10FFFF}", "\u{200D}\u{1F468}",
    ]

    @Test(arguments: hostile)
    func aLineIsOneJSONObjectWhateverTheValueHolds(value: String) throws {
        let lines = Lines()
        Logger(service: "test", sink: lines.sink).info("something happened", ["value": value, value: "name"])

        let line = try #require(lines.raw.first)
        #expect(line.count { $0 == UInt8(ascii: "\n") } == 1)
        #expect(line.last == UInt8(ascii: "\n"))
        #expect(!line.dropLast().contains { $0 < 0x20 || $0 == 0x7F })
        let object = try #require(try lines.objects().first)
        #expect(object["value"] == (value == "value" ? "name" : value))
        #expect(object["message"] == "something happened")
        #expect(object["level"] == "info")
        #expect(object["service"] == "test")
    }

    @Test func manyRandomValuesStayReadable() throws {
        var generator = SystemRandomNumberGenerator()
        let lines = Lines()
        let log = Logger(service: "test", sink: lines.sink)
        let values = (0..<2000).map { _ in
            var text = String.UnicodeScalarView()
            for _ in 0..<Int.random(in: 0...20, using: &generator) {
                let ranges: [ClosedRange<UInt32>] = [0...0xFF, 0...0xD7FF, 0xE000...0x10FFFF]
                if let scalar = Unicode.Scalar(UInt32.random(in: ranges.randomElement()!, using: &generator)) {
                    text.append(scalar)
                }
            }
            return String(text)
        }
        for value in values { log.info("a value", ["value": value]) }
        let read = try lines.objects().map { $0["value"] ?? "" }
        #expect(read.map { Array($0.unicodeScalars) } == values.map { Array($0.unicodeScalars) })
    }

    @Test func metadataCannotPassForTheLoggersOwnMembers() throws {
        let lines = Lines()
        Logger(service: "real", sink: lines.sink).warning(
            "real",
            ["service": "forged", "level": "forged", "time": "forged", "trace_id": "forged", "message": "forged"])
        let object = try #require(try lines.objects().first)
        #expect(object["service"] == "real")
        #expect(object["level"] == "warning")
        #expect(object["message"] == "real")
        #expect(object["trace_id"] == nil)
        #expect(object["service_"] == "forged")
    }

    @Test func whatIsBelowTheLevelIsNeitherWrittenNorPutTogether() {
        let lines = Lines()
        let log = Logger(service: "test", level: .warning, sink: lines.sink)
        func expensive() -> [String: String] {
            Issue.record("metadata of a line that nobody wants was made")
            return [:]
        }
        log.debug("no", expensive())
        log.info("no", expensive())
        log.warning("yes")
        log.error("yes")
        #expect(lines.raw.count == 2)
    }

    @Test func factsGivenOnceAreOnEveryLineAndTheNearestWins() throws {
        let lines = Lines()
        let log = Logger(service: "test", metadata: ["a": "1", "b": "1"], sink: lines.sink).with(["b": "2", "c": "2"])
        log.info("one")
        log.info("two", ["c": "3"])
        let objects = try lines.objects()
        #expect(objects.map { $0["a"] } == ["1", "1"])
        #expect(objects.map { $0["b"] } == ["2", "2"])
        #expect(objects.map { $0["c"] } == ["2", "3"])
    }

    @Test func theTraceOfTheTaskIsOnTheLine() throws {
        let lines = Lines()
        let log = Logger(service: "test", sink: lines.sink)
        let trace = TraceContext.new()
        TraceContext.$current.withValue(trace) { log.info("inside") }
        log.info("outside")
        #expect(try lines.objects().map { $0["trace_id"] } == [trace.traceID, nil])
    }

    @Test func secretsAreReplacedWhereverTheyTurnUp() throws {
        let lines = Lines()
        let log = Logger(service: "test", sink: lines.sink).redacting(["correct horse", "correct horse battery", "abc"])
        log.error("refused", ["error": "no access with correct horse battery, nor with correct horse: abc"])
        let object = try #require(try lines.objects().first)
        #expect(object["error"] == "no access with ***, nor with ***: abc")
    }

    @Test func aLongValueIsCut() throws {
        let lines = Lines()
        Logger(service: "test", sink: lines.sink).info("long", ["value": String(repeating: "é", count: 100_000)])
        let value = try #require(try lines.objects().first?["value"])
        #expect(value.utf8.count <= Logger.valueBytesMax + 6)
        #expect(value.hasSuffix("…"))
    }

    @Test func timesAreRFC3339InUTCWithMicroseconds() throws {
        let lines = Lines()
        let before = Date()
        Logger(service: "test", sink: lines.sink).info("now")
        let time = try #require(try lines.objects().first?["time"])
        #expect(time.wholeMatch(of: #/\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z/#) != nil)
        let read = try Date.ISO8601FormatStyle(includingFractionalSeconds: true).parse(time)
        #expect(read >= before.addingTimeInterval(-0.001) && read <= Date().addingTimeInterval(0.001))
    }

    @Test(arguments: LogLevel.allCases)
    func levelsReadAsTheyAreWritten(level: LogLevel) { #expect(LogLevel(level.description) == level) }

    @Test func anUnknownLevelIsNone() { #expect(LogLevel("loud") == nil) }
}
