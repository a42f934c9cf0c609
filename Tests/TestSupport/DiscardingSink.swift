// A log that nobody reads.
import Observability

extension LogSink {
    /// Nowhere.
    public static let discarding = LogSink { _ in }
}
