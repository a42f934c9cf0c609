// The words of a command line, read against the command's description.

/// An option: `--orders N`, or without a value `--json`.
struct Option: Sendable {
    /// Without the dashes.
    let name: String
    /// What stands for the value in the help; nil: a flag.
    let value: String?
    let summary: String
    /// The value where none is given.
    let defaultValue: String?

    init(_ name: String, _ value: String? = nil, _ summary: String, default defaultValue: String? = nil) {
        self.name = name
        self.value = value
        self.summary = summary
        self.defaultValue = defaultValue
    }

    static let json = Option("json", nil, "print JSON")
    static let environment = Option(
        "environment", "FILE", "where to read what the environment does not say, as 'make up' writes it",
        default: ".local/environment")
}

/// What a command is called, takes and does. Its `--help` is made of this and of nothing else.
struct CommandDescription: Sendable {
    /// One word, or two: `topics create`.
    let name: String
    let summary: String
    /// The words that are no options, as the help shows them: `TOPIC`, `[FILE]`.
    let words: [String]
    let options: [Option]
    let details: String

    init(_ name: String, _ summary: String, words: [String] = [], options: [Option] = [], details: String = "") {
        self.name = name
        self.summary = summary
        self.words = words
        self.options = options + [.environment]
        self.details = details
    }

    var help: String {
        let words = self.words.map { " \($0)" }.joined()
        let left = options.map { "--\($0.name)\($0.value.map { " \($0)" } ?? "")" }
        let width = left.map(\.count).max() ?? 0
        let lines = zip(left, options).map { left, option in
            let standard = option.defaultValue.map { " (\($0))" } ?? ""
            return "  \(left.padded(to: width))  \(option.summary)\(standard)"
        }
        return """
            stampede \(name): \(summary)

            Usage: stampede \(name)\(words) [OPTION…]
            \(details.isEmpty ? "" : "\n\(details)\n")
            \(lines.joined(separator: "\n"))
            """
    }
}

struct Arguments: Sendable {
    private let values: [String: String]
    let words: [String]

    init(_ words: ArraySlice<String>, _ description: CommandDescription) throws(UsageError) {
        var values: [String: String] = [:]
        var plain: [String] = []
        var rest = words
        while let word = rest.popFirst() {
            if word == "--" {
                plain += rest
                break
            }
            guard word.hasPrefix("--") else {
                plain.append(word)
                continue
            }
            let parts = word.dropFirst(2).split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
            let name = String(parts[0])
            guard let option = description.options.first(where: { $0.name == name }) else {
                throw UsageError("unknown option --\(name)")
            }
            if option.value == nil {
                guard parts.count == 1 else { throw UsageError("--\(name) takes no value") }
                values[name] = ""
            } else if parts.count == 2 {
                values[name] = String(parts[1])
            } else {
                guard let value = rest.popFirst() else { throw UsageError("--\(name) needs a value") }
                values[name] = value
            }
        }
        let required = description.words.count { !$0.hasPrefix("[") }
        let unlimited = description.words.last?.contains("…") ?? false
        guard plain.count >= required else { throw UsageError("expected \(description.words[plain.count])") }
        guard unlimited || plain.count <= description.words.count else {
            throw UsageError("unexpected '\(plain[description.words.count])'")
        }
        for option in description.options where values[option.name] == nil {
            values[option.name] = option.defaultValue
        }
        self.values = values
        self.words = plain
    }

    subscript(_ name: String) -> String? { values[name] }

    func has(_ flag: String) -> Bool { values[flag] != nil }

    /// The option's whole number, nil where it was not given and has no default.
    func optionalInteger(_ name: String, in range: ClosedRange<Int>) throws(UsageError) -> Int? {
        guard let text = values[name] else { return nil }
        guard let number = Int(text), range.contains(number) else {
            throw UsageError("--\(name) \(text): expected a number from \(range.lowerBound) to \(range.upperBound)")
        }
        return number
    }

    /// The whole number of an option that has a default.
    func integer(_ name: String, in range: ClosedRange<Int>) throws(UsageError) -> Int {
        guard let number = try optionalInteger(name, in: range) else { throw UsageError("--\(name) is needed") }
        return number
    }

    /// One of an enumeration's words, of an option that has a default.
    func choice<Choice: RawRepresentable<String> & CaseIterable>(
        _ name: String, of type: Choice.Type = Choice.self
    ) throws(UsageError) -> Choice {
        guard let text = values[name], let choice = Choice(rawValue: text) else {
            let known = Choice.allCases.map(\.rawValue).joined(separator: ", ")
            throw UsageError("--\(name) \(values[name] ?? ""): expected one of \(known)")
        }
        return choice
    }
}
