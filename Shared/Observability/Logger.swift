// The structured log: one JSON object a line, on standard error.

/// Writes JSON lines: `time` (RFC 3339, UTC, microseconds), `level`, `service`, `message`, `trace_id` where there is a
/// trace, and the metadata as further members, all strings.
///
/// Messages are constant so that a line can be searched for and counted; what varies is metadata. A value longer than
/// `valueBytesMax` is cut, and a secret given to `redacting` never leaves the process, whoever quotes it.
public struct Logger: Sendable {
    /// The bytes of one metadata value that are written at most; a longer one is cut and ends in "…".
    public static let valueBytesMax = 4096

    public let service: String
    public let level: LogLevel
    private let metadata: [String: String]
    private let secrets: [String]
    private let sink: LogSink

    public init(
        service: String, level: LogLevel = .info, metadata: [String: String] = [:], sink: LogSink = .standardError
    ) {
        self.init(service: service, level: level, metadata: metadata, secrets: [], sink: sink)
    }

    private init(service: String, level: LogLevel, metadata: [String: String], secrets: [String], sink: LogSink) {
        self.service = service
        self.level = level
        self.metadata = metadata
        self.secrets = secrets
        self.sink = sink
    }

    public func debug(_ message: StaticString, _ metadata: @autoclosure () -> [String: String] = [:]) {
        if level <= .debug { write(.debug, message, metadata()) }
    }

    public func info(_ message: StaticString, _ metadata: @autoclosure () -> [String: String] = [:]) {
        if level <= .info { write(.info, message, metadata()) }
    }

    public func warning(_ message: StaticString, _ metadata: @autoclosure () -> [String: String] = [:]) {
        if level <= .warning { write(.warning, message, metadata()) }
    }

    public func error(_ message: StaticString, _ metadata: @autoclosure () -> [String: String] = [:]) {
        write(.error, message, metadata())
    }

    /// The same logger, with these facts on every line. A name that is there already gets the new value.
    public func with(_ metadata: [String: String]) -> Logger {
        Logger(
            service: service, level: level, metadata: self.metadata.merging(metadata) { $1 }, secrets: secrets,
            sink: sink)
    }

    /// The same logger, writing `***` wherever one of these texts would appear in metadata. Texts shorter than
    /// 6 bytes are left out: replacing them would garble ordinary words and hide nothing.
    public func redacting(_ secrets: [String]) -> Logger {
        let longestFirst = (self.secrets + secrets.filter { $0.utf8.count >= 6 }).sorted { $0.count > $1.count }
        return Logger(service: service, level: level, metadata: metadata, secrets: longestFirst, sink: sink)
    }

    private func write(_ level: LogLevel, _ message: StaticString, _ facts: [String: String]) {
        var line = LogLine()
        line.append("time", LogTime.now())
        line.append("level", level.description)
        line.append("service", service)
        line.append("message", message.description)
        if let trace = TraceContext.current { line.append("trace_id", trace.traceID) }
        let all = metadata.isEmpty ? facts : metadata.merging(facts) { $1 }
        for (name, value) in all.sorted(by: { $0.key < $1.key }) {
            line.append(LogLine.reserved.contains(name) ? name + "_" : name, clean(value))
        }
        sink.write(line.finished())
    }

    /// The value without secrets, and short enough.
    private func clean(_ value: String) -> String {
        var value = value
        for secret in secrets where value.contains(secret) { value = value.replacing(secret, with: "***") }
        guard value.utf8.count > Self.valueBytesMax else { return value }
        return String(decoding: value.utf8.prefix(Self.valueBytesMax), as: UTF8.self) + "…"
    }
}
