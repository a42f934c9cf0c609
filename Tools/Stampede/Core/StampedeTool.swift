// The `stampede` command: finds the command that the words name, runs it, and says what went wrong.
import HTTP
import Kafka
import Postgres

package enum StampedeTool {
    package static let version = "0.1.0"

    static let commands: [any Command.Type] = [
        RushCommand.self, DemoCommand.self, AuditCommand.self,
        PublishCommand.self, TailCommand.self,
        TopicsCreateCommand.self, TopicsDescribeCommand.self, TopicsLagCommand.self,
        TopicsRightsCommand.self, KeysRootCommand.self,
        DeadListCommand.self, DeadShowCommand.self, DeadReplayCommand.self,
        BrokerCommand.self, BenchCommand.self, CapacityCommand.self,
    ]

    /// Runs one command line, without the program's own name.
    package static func run(_ words: [String], environment: [String: String], console: Console) async -> ExitCode {
        if words.isEmpty || ["--help", "-h", "help"].contains(words[0]) {
            console.print(help)
            return words.isEmpty ? .usage : .success
        }
        if words[0] == "--version" {
            console.print("stampede \(version)")
            return .success
        }
        guard let (command, rest) = find(words) else {
            let group = commands.map { $0.description }.filter { $0.name.hasPrefix("\(words[0]) ") }
            if group.isEmpty {
                console.complain("stampede: no command '\(words[0])'; see 'stampede --help'")
            } else if words.count > 1, ["--help", "-h"].contains(words[1]) {
                console.print(list(group))
                return .success
            } else {
                console.complain("stampede \(words[0]): expected one of\n\(list(group))")
            }
            return .usage
        }
        if rest.contains(where: { $0 == "--help" || $0 == "-h" }) {
            console.print(command.description.help)
            return .success
        }
        return await run(command, rest, environment: environment, console: console)
    }

    private static func run(
        _ command: any Command.Type, _ words: ArraySlice<String>, environment: [String: String], console: Console
    ) async -> ExitCode {
        let name = command.description.name
        do {
            let arguments = try Arguments(words, command.description)
            let settings = try Settings(environment: environment, file: arguments["environment"])
            return try await command.init(arguments, settings).run(console)
        } catch let error as UsageError {
            console.complain("stampede \(name): \(error.message); see 'stampede \(name) --help'")
            return .usage
        } catch let error as KafkaError {
            console.complain("stampede \(name): \(error)")
            return .unavailable
        } catch let error as PostgresError {
            console.complain("stampede \(name): \(error)")
            return error.isConnectionFailure ? .unavailable : .failure
        } catch let error as HTTPClientError {
            console.complain("stampede \(name): \(error)")
            return .unavailable
        } catch let error as CommandError {
            console.complain("stampede \(name): \(error.message)")
            return error.code
        } catch {
            console.complain("stampede \(name): \(error)")
            return .failure
        }
    }

    /// The command whose one or two words come first, and the words after.
    private static func find(_ words: [String]) -> ((any Command.Type), ArraySlice<String>)? {
        for count in [2, 1] where words.count >= count {
            let name = words.prefix(count).joined(separator: " ")
            if let command = commands.first(where: { $0.description.name == name }) {
                return (command, words[count...])
            }
        }
        return nil
    }

    static var help: String {
        """
        stampede: what operators and publishers of Stampede use.

        Usage: stampede COMMAND [OPTION…]

        \(list(commands.map { $0.description }))

        'stampede COMMAND --help' says more. Exit codes: 0 all is well, 1 something is wrong (an audit's finding, a line
        that could not be published), 64 wrong use, 69 a server cannot be reached, 70 something broke.
        """
    }

    private static func list(_ commands: [CommandDescription]) -> String {
        let width = commands.map(\.name.count).max() ?? 0
        return commands.map { "  \($0.name.padded(to: width))  \($0.summary)" }.joined(separator: "\n")
    }
}
