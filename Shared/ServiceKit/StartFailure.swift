// Why a service did not start, and with which code its program ends.
import HTTP
import Kafka
import Postgres

/// A start that failed. Its description is one line for the operator.
public struct StartFailure: Error, Sendable, CustomStringConvertible {
    public let exitCode: Int32
    public let reason: String

    public var description: String { reason }
}

/// What a component waits for that is not there yet; the runner tries again.
struct NotThereYet: Error, CustomStringConvertible {
    let description: String
}

/// What an error at the start means.
enum StartError {
    /// Passes when the other side comes up: try again.
    case waiting(String)
    /// Stays until somebody changes the configuration.
    case configuration(String)
    case other(String)

    init(_ error: any Error) {
        switch error {
        case let error as NotThereYet: self = .waiting(error.description)
        case let error as PostgresError:
            let text = "Postgres \(error)".singleLine
            if error.isRefusal {
                self = .configuration("\(StandardKeys.postgresDSN): \(text)")
            } else {
                self = error.isRetriable || error.isUnavailable ? .waiting(text) : .other(text)
            }
        case let error as KafkaError:
            self =
                error.isRetriable || error.isUnknownTopic
                ? .waiting("\(error)".singleLine) : .other("\(error)".singleLine)
        default: self = .other("\(error)".singleLine)
        }
    }
}

extension PostgresError {
    /// The server is there and does not let this user in, or has no such database. libpq gives no SQLSTATE for what
    /// happens while connecting, so the server's own words decide; in another language than English they are not
    /// recognised, and the start is tried again until its time is over.
    fileprivate var isRefusal: Bool {
        let refusals: [String] = ["28P01", "28000", "3D000"]
        if refusals.contains(sqlState) { return true }
        guard isConnectionFailure else { return false }
        return message.contains("password authentication failed") || message.contains("no password supplied")
            || message.contains("no pg_hba.conf entry")
            || message.contains(#/(role|database) "[^"]*" does not exist/#)
    }
}

extension String {
    /// Without the line breaks that libpq and librdkafka put into their messages.
    var singleLine: String {
        split(whereSeparator: \.isNewline).map { $0.trimmingPrefix(while: \.isWhitespace) }.joined(separator: "; ")
    }
}
