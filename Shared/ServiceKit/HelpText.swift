// What `--help` prints.

enum HelpText {
    private static let columnsMax = 120

    static func text(name: String, summary: String, keys: [ConfigurationKey]) -> String {
        var unique: [ConfigurationKey] = []
        for key in keys {
            if let index = unique.firstIndex(where: { $0.name == key.name }) {
                unique[index] = key
            } else {
                unique.append(key)
            }
        }
        var rows = unique.map { key in (key.name, standing(of: key), meaning(of: key)) }
        rows.append(
            (
                Configuration.kafkaPrefix + "<PROPERTY>", "-",
                "Any property of librdkafka: …_SASL_MECHANISM sets sasl.mechanism"
            ))
        let nameWidth = rows.map(\.0.count).max() ?? 0
        let standingWidth = max(rows.map(\.1.count).max() ?? 0, "default".count)
        var lines = [
            "\(name) \(Version.current): \(summary)",
            "",
            "Usage: \(name)              runs until it is told to end",
            "       \(name) migrate      brings the schema up to date, with the DSN of its owner, and ends",
            "       \(name) --help | --version",
            "",
            "Configured by environment variables, all checked at the start. An unknown \(Configuration.prefix)… stops it.",
            "A secret can also be read from a file: put the file's path into <NAME>_FILE.",
            "",
            "  " + padded("variable", nameWidth) + "  " + padded("default", standingWidth) + "  meaning",
        ]
        let indent = nameWidth + standingWidth + 6
        for (name, standing, meaning) in rows {
            let wrapped = wrap(meaning, width: max(30, columnsMax - indent))
            lines.append("  " + padded(name, nameWidth) + "  " + padded(standing, standingWidth) + "  " + wrapped[0])
            lines += wrapped.dropFirst().map { String(repeating: " ", count: indent) + $0 }
        }
        lines += [
            "",
            "Exit codes: 0 ended as asked, 1 something went wrong, 64 arguments, 65 schema of another version, 66 no topic,",
            "68 no Kafka broker, 69 Postgres not reached in time, 71 port taken, 74 Postgres cannot be written to, 76 too few",
            "partitions, 77 Postgres refuses the user, 78 configuration. SIGTERM and SIGINT end it gracefully, a second one",
            "at once.",
        ]
        return lines.joined(separator: "\n") + "\n"
    }

    private static func standing(of key: ConfigurationKey) -> String {
        if key.isRequired { return "required" }
        // A default of a secret would be a secret in the source; still, never show one.
        if key.kind == .secret { return "-" }
        return key.defaultValue ?? "-"
    }

    private static func meaning(of key: ConfigurationKey) -> String {
        let summary = key.summary.hasSuffix(".") ? String(key.summary.dropLast()) : key.summary
        return switch key.kind {
        case .string: summary
        case .secret: summary + " (secret)"
        case .list: summary + " (separated by commas)"
        case .integer, .number, .boolean, .seconds, .choice: summary + " (" + key.expectation + ")"
        }
    }

    private static func padded(_ text: String, _ width: Int) -> String {
        text + String(repeating: " ", count: max(0, width - text.count))
    }

    /// Breaks at spaces.
    private static func wrap(_ text: String, width: Int) -> [String] {
        var lines = [""]
        for word in text.split(separator: " ") {
            if !lines[lines.count - 1].isEmpty, lines[lines.count - 1].count + 1 + word.count > width {
                lines.append("")
            }
            lines[lines.count - 1] += (lines[lines.count - 1].isEmpty ? "" : " ") + word
        }
        return lines
    }
}
