// What a failure means for the record, the batch or the partition that met it. Every error of every layer is one of these.
import JSON
import Kafka
import Postgres

/// Thrown by a handler, or found by the pipeline: this record can never be applied, whoever tries. Where a batch of
/// several throws it, the processor looks for the one by halves; that one goes to the dead letters with the reason.
public struct Unappliable: Error, Sendable, CustomStringConvertible {
    public let reason: String

    public init(reason: String) { self.reason = reason }

    public var description: String { reason }
}

/// Nothing goes on until somebody has changed something: a right, a schema, an offset that the log no longer holds. The
/// partition stands still, the service is not ready and says why; it looks again and again whether the cause is gone.
public struct Fatal: Error, Sendable, CustomStringConvertible {
    /// What is wrong, and what to do.
    public let reason: String

    public init(reason: String) { self.reason = reason }

    public var description: String { reason }
}

/// What becomes of whatever met an error. Thrown where it is known already.
enum Fate: Error, Equatable, Sendable, CustomStringConvertible {
    /// Dead letter, with this reason.
    case unappliable(String)
    /// Something that everybody needs is away: again with back-off, as long as it takes. No record is to blame.
    case outage(String)
    /// Again with back-off, a bounded number of times; then the batch is cut in halves until the record that keeps failing
    /// stands alone, so that the others go on.
    case transient(String)
    /// Stand still, say so, look again.
    case fatal(String)

    init(of error: any Error) {
        switch error {
        case let fate as Fate: self = fate
        case let error as Unappliable: self = .unappliable(error.reason)
        case let error as Fatal: self = .fatal(error.reason)
        case let error as OlderSchema: self = .fatal(error.description)
        case let error as JSONError: self = .unappliable(error.description)
        case let error as DeferredRecordsError: self = .unappliable(error.description)
        case let error as PostgresError: self = Self.postgres(error)
        case let error as KafkaError: self = Self.kafka(error)
        case let error as TableNotCurrent: self = .outage(error.description)
        case is CancellationError: self = .outage("cancelled")
        default: self = .transient("\(error)")
        }
    }

    private static func postgres(_ error: PostgresError) -> Fate {
        // A statement that ran out of time (57014), waited in vain for a lock (55P03) or a transaction that idled too long
        // (25P03) may do so because of its batch.
        if ["57014", "55P03", "25P03"].contains(error.sqlState) { return .transient(error.description) }
        if error.isUnavailable || error.isOutcomeUnknown || error.isConnectionFailure {
            return .outage(error.description)
        }
        if error.isRetriable { return .transient(error.description) }
        switch error.sqlState.prefix(2) {
        // Another partition or instance wrote the same key meanwhile: the next attempt sees it.
        case "23" where error.isUniqueViolation: return .transient(error.description)
        // Data, integrity, limits of the program: of the values.
        case "22", "23", "54": return .unappliable(error.description)
        // No such table or function, no right to it, no such schema: of the installation.
        case "42", "3F", "28", "3D", "F0", "ST":
            return .fatal(
                "\(error); bring schema and rights to what this version of the service expects")
        default: return .transient(error.description)
        }
    }

    private static func kafka(_ error: KafkaError) -> Fate {
        if error.isRecordTooLarge { return .unappliable(error.description) }
        if error.isOffsetOutOfRange { return .fatal(error.description) }
        if error.isUnknownTopic {
            return .fatal("\(error); make the topics by `stampede topics create`")
        }
        if error.isNotAuthorised {
            return .fatal("\(error); give the service the rights that `stampede topics rights` lists")
        }
        // A client that is closed or beyond repair is made anew by whoever asks next.
        if error.isRetriable || error.isFatal || error.isClosed { return .outage(error.description) }
        return .fatal(error.description)
    }

    var reason: String {
        switch self {
        case .unappliable(let reason), .outage(let reason), .transient(let reason), .fatal(let reason): reason
        }
    }

    var description: String { reason }
}
