// A log that nobody reads.
import Observability

extension LogSink {
    /// Nowhere.
    package static let discarding = LogSink { _ in }
}
