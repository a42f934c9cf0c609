// Why a service did not start, and with which code its program ends.
import HTTP
import Kafka
import Postgres

/// A start that failed. Its description is one line for the operator.
public struct StartFailure: Error, Sendable, CustomStringConvertible {
    public let exitCode: Int32
    public let reason: String

    public init(exitCode: Int32, reason: String) {
        self.exitCode = exitCode
        self.reason = reason
    }

    public var description: String { reason }
}

/// What a component waits for that is not there yet; the runner tries again.
struct NotThereYet: Error, CustomStringConvertible {
    /// How the program ends if it does not come in time.
    let exitCode: Int32
    let description: String
}

/// What an error at the start means.
enum StartError {
    /// Passes when the other side comes up: try again, and end with this code if that was in vain.
    case waiting(String, Int32)
    /// Stays until somebody changes something.
    case final(String, Int32)

    init(_ error: any Error) {
        switch error {
        case let error as NotThereYet: self = .waiting(error.description, error.exitCode)
        case let error as StartFailure: self = .final(error.reason, error.exitCode)
        case let error as PostgresError: self = Self.postgres(error)
        case let error as KafkaError:
            let text = "\(error)".singleLine
            if error.isUnknownTopic {
                self = .waiting(text, ExitCode.noTopic)
            } else {
                self = error.isRetriable ? .waiting(text, ExitCode.noBroker) : .final(text, ExitCode.failure)
            }
        default: self = .final("\(error)".singleLine, ExitCode.failure)
        }
    }

    private static func postgres(_ error: PostgresError) -> StartError {
        let text = "Postgres \(error)".singleLine
        if error.isSchemaOlder { return .waiting(error.message.singleLine, ExitCode.unavailable) }
        if error.isSchemaMismatch { return .final(error.message.singleLine, ExitCode.schema) }
        if error.isRefusal {
            return .final(
                "\(StandardKeys.postgresDSN): check user, password and database: \(text)", ExitCode.notPermitted)
        }
        if error.isReadOnly {
            return .final(
                "\(StandardKeys.postgresDSN): name a server that can be written to (a primary, with room on its disk): "
                    + text, ExitCode.readOnly)
        }
        return error.isRetriable || error.isUnavailable
            ? .waiting("\(StandardKeys.postgresDSN): \(text)", ExitCode.unavailable) : .final(text, ExitCode.failure)
    }
}

extension PostgresError {
    /// The server is there and does not let this user in, or has no such database, or lets the user do nothing. libpq
    /// gives no SQLSTATE for what happens while connecting, so the server's own words decide; in another language than
    /// English they are not recognised, and the start is tried again until its time is over.
    fileprivate var isRefusal: Bool {
        let refusals: [String] = ["28P01", "28000", "3D000", "42501"]
        if refusals.contains(sqlState) { return true }
        guard isConnectionFailure else { return false }
        return message.contains("password authentication failed") || message.contains("no password supplied")
            || message.contains("no pg_hba.conf entry")
            || message.contains(#/(role|database) "[^"]*" does not exist/#)
    }

    /// A standby, a database set read-only, or a disk that takes nothing.
    fileprivate var isReadOnly: Bool { sqlState == "25006" || sqlState.hasPrefix("58") }
}

extension String {
    /// Without the line breaks that libpq and librdkafka put into their messages.
    var singleLine: String {
        split(whereSeparator: \.isNewline).map { $0.trimmingPrefix(while: \.isWhitespace) }.joined(separator: "; ")
    }
}
