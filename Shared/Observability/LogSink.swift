// Where log lines go.
import Foundation
import Synchronization

/// Takes finished lines, each with its newline.
public struct LogSink: Sendable {
    public let write: @Sendable ([UInt8]) -> Void

    public init(_ write: @escaping @Sendable ([UInt8]) -> Void) { self.write = write }

    /// Standard error, a line at a time: lines of several tasks never mix. What standard error refuses is lost.
    public static let standardError = LogSink { line in
        standardErrorLock.withLock { _ in
            var rest = line
            while !rest.isEmpty {
                let written = Foundation.write(STDERR_FILENO, rest, rest.count)
                if written < 0 && errno == EINTR { continue }
                guard written > 0 else { return }
                if written == rest.count { return }
                rest.removeFirst(written)
            }
        }
    }

    private static let standardErrorLock = Mutex(())
}
