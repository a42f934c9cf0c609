// How a program says why it ended: numbers of BSD's sysexits.h, one for each thing that an operator has to see to.

public enum ExitCode {
    public static let success: Int32 = 0
    /// It ran, and something was wrong that none of the others names.
    public static let failure: Int32 = 1
    /// Arguments that mean nothing.
    public static let usage: Int32 = 64
    /// The schema was left by another version of the program than this one can work with, or is older than what the
    /// service has published.
    public static let schema: Int32 = 65
    /// Kafka has not got a topic that the service needs, and did not get it in time.
    public static let noTopic: Int32 = 66
    /// No Kafka broker answered in time.
    public static let noBroker: Int32 = 68
    /// Postgres could not be reached in time, or something else that was waited for did not come.
    public static let unavailable: Int32 = 69
    /// The system refused the port to listen on.
    public static let system: Int32 = 71
    /// Postgres is there and cannot be written to.
    public static let readOnly: Int32 = 74
    /// A topic has fewer partitions than the service needs.
    public static let partitions: Int32 = 76
    /// Postgres does not let this user in, or has no such database.
    public static let notPermitted: Int32 = 77
    /// A configuration value is missing, unknown or out of range.
    public static let configuration: Int32 = 78

    /// What stays wrong however often the program is started: somebody has to change something first.
    public static let final: Set<Int32> = [usage, schema, partitions, notPermitted, configuration]
}
