// How a program says why it ended (the numbers of BSD's sysexits.h).

public enum ExitCode {
    public static let success: Int32 = 0
    /// It ran, and something was wrong that none of the others names.
    public static let failure: Int32 = 1
    /// Arguments that mean nothing.
    public static let usage: Int32 = 64
    /// Postgres or Kafka could not be reached in time.
    public static let unavailable: Int32 = 69
    /// A configuration value is missing, unknown or out of range.
    public static let configuration: Int32 = 78
}
