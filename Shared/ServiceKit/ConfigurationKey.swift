// One thing that can be configured: its name, what it is for, what it may be.

/// Declares an environment variable. What is not declared is refused, so that a misspelt name never passes silently.
public struct ConfigurationKey: Sendable, Equatable {
    public enum Kind: Sendable, Equatable {
        case string
        case integer(ClosedRange<Int>)
        /// A decimal number.
        case number(ClosedRange<Double>)
        /// `true` or `false`.
        case boolean
        /// A length of time, in seconds, with decimals.
        case seconds(ClosedRange<Double>)
        /// Never shown: not in `--help`, in errors or in the log.
        case secret
        case choice([String])
        /// Texts separated by commas.
        case list
    }

    /// In capitals, with the prefix `STAMPEDE_` or `KAFKA_`.
    public let name: String
    /// One line for `--help`.
    public let summary: String
    public let kind: Kind
    /// As it would be written in the environment; nil: none.
    public let defaultValue: String?
    public let isRequired: Bool

    public init(
        _ name: String, _ summary: String, _ kind: Kind = .string, default defaultValue: String? = nil,
        required isRequired: Bool = false
    ) {
        self.name = name
        self.summary = summary
        self.kind = kind
        self.defaultValue = defaultValue
        self.isRequired = isRequired
    }

    /// What a value must be, as a phrase.
    var expectation: String {
        switch kind {
        case .string: "a text"
        case .integer(let range): "an integer from \(range.lowerBound) to \(range.upperBound)"
        case .number(let range): "a number from \(Self.plain(range.lowerBound)) to \(Self.plain(range.upperBound))"
        case .boolean: "true or false"
        case .seconds(let range):
            "seconds, from \(Self.plain(range.lowerBound)) to \(Self.plain(range.upperBound))"
        case .secret: "a secret"
        case .choice(let choices): "one of \(choices.joined(separator: ", "))"
        case .list: "texts separated by commas"
        }
    }

    /// Whether the text is a value of this kind.
    func accepts(_ text: String) -> Bool {
        switch kind {
        case .string, .secret, .list: true
        case .integer(let range): Int(text).map(range.contains) ?? false
        case .number(let range), .seconds(let range): Self.decimal(text).map(range.contains) ?? false
        case .boolean: text == "true" || text == "false"
        case .choice(let choices): choices.contains(text)
        }
    }

    /// Reads `12` and `0.5`; not the hexadecimal, infinite and scientific forms that `Double` knows as well.
    static func decimal(_ text: String) -> Double? {
        text.utf8.allSatisfy { $0 >= 48 && $0 <= 57 || $0 == UInt8(ascii: ".") || $0 == UInt8(ascii: "-") }
            ? Double(text) : nil
    }

    /// `10` and not `10.0`.
    private static func plain(_ number: Double) -> String {
        Int(exactly: number).map(String.init) ?? String(number)
    }
}
