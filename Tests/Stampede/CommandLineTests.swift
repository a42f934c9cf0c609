// The words of a command line, and what is said where they are wrong.
import Foundation
import Models
import Synchronization
import Testing

@testable import StampedeCore

@Suite struct CommandLineTests {
    private static let description = CommandDescription(
        "try it", "tries", words: ["TOPIC", "[FILE]"],
        options: [Option("count", "N", "how many", default: "3"), Option("name", "TEXT", "which"), .json])

    private func parse(_ words: String...) throws -> Arguments { try Arguments(words[...], Self.description) }

    @Test func optionsComeInAnyOrderAndBothForms() throws {
        let arguments = try parse("--name=a=b", "orders", "--count", "5", "file", "--json")
        #expect(arguments.words == ["orders", "file"])
        #expect(try arguments.integer("count", in: 1...9) == 5)
        #expect(arguments["name"] == "a=b")
        #expect(arguments.has("json"))
    }

    @Test func defaultsStandWhereNothingIsGiven() throws {
        let arguments = try parse("orders")
        #expect(try arguments.integer("count", in: 1...9) == 3)
        #expect(arguments["name"] == nil)
        #expect(!arguments.has("json"))
    }

    @Test func afterTwoDashesEverythingIsAWord() throws {
        #expect(try parse("--", "--count").words == ["--count"])
    }

    @Test(arguments: [
        (["orders", "--colour", "red"], "unknown option --colour"), (["orders", "--count"], "--count needs a value"),
        (["orders", "--json=yes"], "--json takes no value"), ([], "expected TOPIC"),
        (["orders", "file", "more"], "unexpected 'more'"),
    ])
    func wrongWordsAreNamed(words: [String], message: String) {
        #expect(throws: UsageError(message)) { try Arguments(words[...], Self.description) }
    }

    @Test(arguments: ["0", "10", "many", "", "99999999999999999999"])
    func aNumberOutOfItsRangeIsNamedWithTheRange(text: String) throws {
        let arguments = try parse("orders", "--count", text)
        #expect(throws: UsageError("--count \(text): expected a number from 1 to 9")) {
            try arguments.integer("count", in: 1...9)
        }
    }

    /// What a run of the tool printed, and its exit code.
    private func run(_ words: String...) async -> (code: ExitCode, output: String, errors: String) {
        let printed = Printed()
        let code = await StampedeTool.run(
            words, environment: ["KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:1"],
            console: Console(out: { printed.out.add($0) }, err: { printed.err.add($0) }))
        return (code, printed.out.text, printed.err.text)
    }

    @Test func everyCommandExplainsItselfWithEveryOption() async {
        for command in StampedeTool.commands {
            let description = command.description
            let words = description.name.split(separator: " ").map(String.init) + ["--help"]
            let printed = Printed()
            let code = await StampedeTool.run(
                words, environment: [:], console: Console(out: { printed.out.add($0) }, err: { printed.err.add($0) }))
            #expect(code == .success)
            #expect(printed.out.text.contains(description.summary))
            for option in description.options { #expect(printed.out.text.contains("--\(option.name)")) }
            #expect(StampedeTool.help.contains(description.name))
        }
    }

    @Test func whatIsUnknownEndsAsWrongUse() async {
        let unknown = await run("gallop")
        #expect(unknown.code == .usage)
        #expect(unknown.errors.contains("gallop"))
        let half = await run("topics")
        #expect(half.code == .usage)
        #expect(half.errors.contains("topics create"))
        let option = await run("audit", "--fast")
        #expect(option.code == .usage)
        #expect(option.errors.contains("--fast"))
        let none = await run()
        #expect(none.code == .usage)
        let version = await run("--version")
        #expect(version.code == .success && version.output.contains(StampedeTool.version))
    }

    @Test func aSettingThatIsMissingIsNamedWithWhereItWasLookedFor() async {
        let answer = await run("audit", "--environment", "/nowhere/environment")
        #expect(answer.code == .usage)
        #expect(answer.errors.contains("MESSAGING_POSTGRES_DSN"))
        #expect(answer.errors.contains("/nowhere/environment"))
    }

    @Test func theEnvironmentGoesBeforeTheFile() throws {
        let file = FileManager.default.temporaryDirectory.appending(path: "stampede-settings-\(UUID().uuidString)").path
        try "GATEWAY=a=b\nKAFKA_BOOTSTRAP_SERVERS=file:1\n".write(toFile: file, atomically: true, encoding: .utf8)
        defer { try? FileManager.default.removeItem(atPath: file) }
        let settings = try Settings(
            environment: ["KAFKA_BOOTSTRAP_SERVERS": "given:1", "STAMPEDE_KAFKA_SASL_MECHANISM": "PLAIN"], file: file)
        #expect(try settings.value("GATEWAY") == "a=b")
        let kafka = try settings.kafka(clientID: "x")
        #expect(kafka.bootstrapServers == "given:1")
        #expect(kafka.properties == ["sasl.mechanism": "PLAIN"])
    }

    @Test func aBrokenSettingsFileIsNamed() throws {
        let file = FileManager.default.temporaryDirectory.appending(path: "stampede-settings-\(UUID().uuidString)").path
        try "nonsense\n".write(toFile: file, atomically: true, encoding: .utf8)
        defer { try? FileManager.default.removeItem(atPath: file) }
        #expect(throws: UsageError("\(file): expected NAME=VALUE, got 'nonsense'")) {
            try Settings(environment: [:], file: file)
        }
    }
}

/// What a console printed.
final class Printed: Sendable {
    final class Text: Sendable {
        private let value = Mutex("")
        func add(_ more: String) { value.withLock { $0 += more } }
        var text: String { value.withLock { $0 } }
    }
    let out = Text()
    let err = Text()
}
