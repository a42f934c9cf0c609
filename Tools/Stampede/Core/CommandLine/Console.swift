// Where commands write: results to standard output, progress and complaints to standard error.
import Foundation

public struct Console: Sendable {
    private let out: @Sendable (String) -> Void
    private let err: @Sendable (String) -> Void
    /// Progress overwrites its line instead of adding one.
    private let rewritesProgress: Bool

    public init(
        out: @escaping @Sendable (String) -> Void, err: @escaping @Sendable (String) -> Void,
        rewritesProgress: Bool = false
    ) {
        self.out = out
        self.err = err
        self.rewritesProgress = rewritesProgress
    }

    public static var standard: Console {
        Console(
            out: { FileHandle.standardOutput.write(Data($0.utf8)) },
            err: { FileHandle.standardError.write(Data($0.utf8)) },
            rewritesProgress: isatty(STDERR_FILENO) == 1)
    }

    func print(_ line: String) { out(line + "\n") }
    func print(json: [UInt8]) { out(String(decoding: json, as: UTF8.self) + "\n") }
    func complain(_ line: String) { err(line + "\n") }

    /// Says how far something is.
    func progress(_ line: String) { err(rewritesProgress ? "\r\u{1B}[K\(line)" : line + "\n") }
    /// Leaves the last progress standing.
    func endProgress() { if rewritesProgress { err("\n") } }
}
