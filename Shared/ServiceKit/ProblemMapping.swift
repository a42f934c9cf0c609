// What a caller is told when something behind the service failed.
import HTTP
import Kafka
import Postgres
import Security

/// Maps errors of what a service stands on to answers; nil for what is not known, which the server answers with 500 and
/// logs.
enum ProblemMapping {
    static let retryAfterSeconds = 2

    static func problem(for error: any Error) -> Problem? {
        switch error {
        case let error as PostgresError: problem(for: error)
        case let error as KafkaError:
            error.isRecordTooLarge
                ? .unprocessable("The event that this would publish is too large.")
                : .unavailable(retryAfterSeconds: retryAfterSeconds, "The event log is not available.")
        case PasswordHash.Failure.tooLong:
            .unprocessable(
                fields: [FieldProblem("password", expected: "at most \(PasswordHash.passwordBytesMax) bytes")])
        case is PasswordHash.Failure:
            .unavailable(retryAfterSeconds: 1, "Too many are signing in at this moment.")
        default: nil
        }
    }

    private static func problem(for error: PostgresError) -> Problem? {
        if error.isInvalidText {
            return .unprocessable("A text holds a character that cannot be stored.")
        }
        if error.isRetriable || error.isUnavailable || error.isConnectionFailure {
            return .unavailable(retryAfterSeconds: retryAfterSeconds, "The database is not available.")
        }
        return nil
    }
}
