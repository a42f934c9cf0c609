// How much a program says about itself.

/// The severity of a log line. `LogLevel("warning")` reads the configuration's spelling.
public enum LogLevel: Int, Sendable, Comparable, CaseIterable, LosslessStringConvertible {
    case debug, info, warning, error

    public init?(_ description: String) {
        guard let level = Self.allCases.first(where: { $0.description == description }) else { return nil }
        self = level
    }

    public var description: String {
        switch self {
        case .debug: "debug"
        case .info: "info"
        case .warning: "warning"
        case .error: "error"
        }
    }

    public static func < (left: Self, right: Self) -> Bool { left.rawValue < right.rawValue }
}
