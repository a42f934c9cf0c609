// Where commands write: results to standard output, progress and complaints to standard error.
import Foundation
import Synchronization

package struct Console: Sendable {
    private let out: @Sendable (String) -> Void
    private let err: @Sendable (String) -> Void
    /// Progress overwrites its line instead of adding one.
    private let rewritesProgress: Bool
    private let pace = Pace()

    /// Where progress adds lines, it adds one now and then.
    private final class Pace: Sendable {
        private static let interval = Duration.seconds(2)
        private let last = Mutex<ContinuousClock.Instant?>(nil)

        func isDue() -> Bool {
            last.withLock { last in
                let now = ContinuousClock.now
                if let last, now - last < Self.interval { return false }
                last = now
                return true
            }
        }
    }

    package init(
        out: @escaping @Sendable (String) -> Void, err: @escaping @Sendable (String) -> Void,
        rewritesProgress: Bool = false
    ) {
        self.out = out
        self.err = err
        self.rewritesProgress = rewritesProgress
    }

    package static var standard: Console {
        Console(
            out: { FileHandle.standardOutput.write(Data($0.utf8)) },
            err: { FileHandle.standardError.write(Data($0.utf8)) },
            rewritesProgress: isatty(STDERR_FILENO) == 1)
    }

    /// Writes nothing.
    static let silent = Console(out: { _ in }, err: { _ in })

    func print(_ line: String) { out(line + "\n") }
    func print(json: [UInt8]) { out(String(decoding: json, as: UTF8.self) + "\n") }
    func complain(_ line: String) { err(line + "\n") }

    /// Says how far something is.
    func progress(_ line: String) {
        if rewritesProgress { return err("\r\u{1B}[K\(line)") }
        if pace.isDue() { err(line + "\n") }
    }
    /// Leaves the last progress standing.
    func endProgress() { if rewritesProgress { err("\n") } }
}
