// What went wrong, as Postgres says it: an SQLSTATE, a message, and where it happened.

/// An error of the server, of the connection or of this module. `sqlState` is Postgres's own code also where the server
/// had no part in it, so that one table (Appendix A of its manual) names them all.
public struct PostgresError: Error, Sendable, Equatable {
    /// Five characters, such as `23505` for a unique violation.
    public let sqlState: String
    public let message: String
    public let detail: String?
    /// The constraint that refused, where one did.
    public let constraint: String?
    /// The text of the statement that failed, with placeholders; parameters are never part of an error.
    public let statement: String?

    public init(
        sqlState: String, message: String, detail: String? = nil, constraint: String? = nil, statement: String? = nil
    ) {
        self.sqlState = sqlState
        self.message = message
        self.detail = detail
        self.constraint = constraint
        self.statement = statement
    }

    /// The connection could not be made, or died. Nothing was committed unless `isOutcomeUnknown`.
    public var isConnectionFailure: Bool {
        sqlState.hasPrefix("08") || Self.terminations.contains(sqlState)
    }

    /// The connection died while a commit was under way: it may have happened or not. Look before trying again.
    public var isOutcomeUnknown: Bool { sqlState == Code.outcomeUnknown }

    /// Nobody could serve this now: no connection, or no free one within the bound; a server that is out of disk, memory
    /// or time, or that takes no writes at the moment. An HTTP server answers 503.
    public var isUnavailable: Bool {
        isConnectionFailure || sqlState.hasPrefix("53") || sqlState.hasPrefix("58") || Self.notNow.contains(sqlState)
    }

    /// The same work may succeed when it is done again from its start: it lost a race (serialization, deadlock, a table
    /// that a migration changed, a statement that a pooler lost), there was no connection, or no free one. Never true where
    /// the outcome is unknown.
    public var isRetriable: Bool { isLostRace || (isUnavailable && !isOutcomeUnknown) }

    /// Nothing was wrong but the moment: another transaction was first, or a statement was prepared before a migration.
    public var isLostRace: Bool { sqlState == "40001" || sqlState == "40P01" || isStaleStatement }

    /// A prepared statement's tables have changed since it was prepared, or the server no longer has it. It has not run;
    /// the connection forgets it.
    var isStaleStatement: Bool {
        isVanishedStatement
            || sqlState == Code.featureNotSupported && message == "cached plan must not change result type"
    }

    /// The server does not have the prepared statement: a pooler put another session behind the connection, or somebody
    /// ran `DISCARD ALL`.
    var isVanishedStatement: Bool { sqlState == Code.undefinedStatement }

    /// The SQLSTATE of a unique or primary key that refused a row.
    public static let uniqueViolation = "23505"
    /// The SQLSTATE of a reference to a row that is not there, or is not any more.
    public static let foreignKeyViolation = "23503"
    public var isUniqueViolation: Bool { sqlState == Self.uniqueViolation }

    /// The schema lacks what its owner has yet to apply.
    public var isSchemaOlder: Bool { sqlState == Code.schemaIsOlder }

    /// What was applied to the schema is not what this program would have applied.
    public var isSchemaMismatch: Bool { sqlState == Code.invalidConfiguration || sqlState == Code.schemaIsNewer }

    /// A value that Postgres cannot store whatever the statement: U+0000 in a text, say. The sender's fault.
    public var isInvalidText: Bool { sqlState == "22021" || sqlState == "22P05" || sqlState == "22P02" }

    enum Code {
        static let unableToConnect = "08001"
        static let connectionDoesNotExist = "08003"
        static let connectionFailure = "08006"
        static let outcomeUnknown = "08007"
        static let protocolViolation = "08P01"
        static let featureNotSupported = "0A000"
        static let unexpectedNull = "22002"
        static let noActiveTransaction = "25P01"
        static let transactionAborted = "25P02"
        static let undefinedStatement = "26000"
        static let datatypeMismatch = "42804"
        static let undefinedColumn = "42703"
        static let tooManyConnections = "53300"
        static let programLimitExceeded = "54000"
        static let cancelled = "57014"
        static let internalError = "XX000"
        static let invalidConfiguration = "F0000"
        /// Of Stampede's own class `ST`: a newer program was here.
        static let schemaIsNewer = "ST002"
        /// Its owner has not migrated yet.
        static let schemaIsOlder = "ST003"
    }

    /// The server ended the session: shutdown, crash, start-up, a dropped database, an idle time-out.
    private static let terminations: Set<String> = ["57P01", "57P02", "57P03", "57P04", "57P05", "25P03"]

    /// A statement that took too long, a lock that was not free in time, a server that is a replica or read-only.
    private static let notNow: Set<String> = [Code.cancelled, "55P03", "25006"]

    /// An administrator ended the session, or stopped the server.
    var isShutdown: Bool { sqlState == "57P01" || sqlState == "57P02" }

    func naming(statement: String?) -> PostgresError {
        PostgresError(
            sqlState: sqlState, message: message, detail: detail, constraint: constraint,
            statement: self.statement ?? statement)
    }
}

extension PostgresError: CustomStringConvertible {
    public var description: String {
        var text = "\(sqlState): \(message)"
        if let detail { text += " (\(detail))" }
        if let constraint { text += " [constraint \(constraint)]" }
        if let statement { text += " in: \(statement)" }
        return text
    }
}
