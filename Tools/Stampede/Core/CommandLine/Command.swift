// What every command is made of.

/// A command reads its arguments when it is made, so that wrong use is found before anything happens.
protocol Command: Sendable {
    static var description: CommandDescription { get }
    init(_ arguments: Arguments, _ settings: Settings) throws
    func run(_ console: Console) async throws -> ExitCode
}

/// As sysexits(3), where it has a code.
package enum ExitCode: Int32, Sendable {
    case success = 0
    /// The command worked and found something wrong.
    case foundWrong = 1
    case usage = 64
    case unavailable = 69
    case failure = 70
}

/// Ends a command with a message and a code.
struct CommandError: Error {
    let code: ExitCode
    let message: String

    init(_ code: ExitCode, _ message: String) {
        self.code = code
        self.message = message
    }
}

/// Wrong use of the command line, or of an environment variable.
struct UsageError: Error, Equatable {
    let message: String

    init(_ message: String) { self.message = message }
}
