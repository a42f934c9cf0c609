// A program that is started and waited for.
import Foundation
import Synchronization

/// Waiting is for the program's end, told by the system; any number of tasks may wait.
///
/// `@unchecked Sendable`: `Process` is started in `init` alone, and what is used after, `terminate` and its number, may
/// be used from any thread.
final class ChildProgram: @unchecked Sendable {
    private struct End {
        var code: Int32?
        var waiters: [CheckedContinuation<Int32, Never>] = []
    }

    private let process = Process()
    private let end = Mutex(End())

    /// - Parameters:
    ///   - output: where standard output goes, and standard error too unless `errors` is given.
    ///   - environment: all of it; nothing is inherited.
    init(
        _ path: String, _ arguments: [String] = [], environment: [String: String], output: FileHandle,
        errors: FileHandle? = nil, input: FileHandle = .nullDevice
    ) throws {
        process.executableURL = URL(fileURLWithPath: path)
        process.arguments = arguments
        process.environment = environment
        process.standardInput = input
        process.standardOutput = output
        process.standardError = errors ?? output
        process.terminationHandler = { [weak self] process in
            // By a signal: as a shell says it.
            let code = process.terminationStatus + (process.terminationReason == .uncaughtSignal ? 128 : 0)
            let waiters = self?.end.withLock { end in
                end.code = code
                defer { end.waiters = [] }
                return end.waiters
            }
            for waiter in waiters ?? [] { waiter.resume(returning: code) }
        }
        do { try process.run() } catch { throw CommandError(.usage, "\(path) cannot be started: \(error)") }
    }

    var processIdentifier: Int32 { process.processIdentifier }
    var isRunning: Bool { end.withLock { $0.code == nil } }

    /// Its exit code, when it has ended.
    func wait() async -> Int32 {
        await withCheckedContinuation { continuation in
            let code = end.withLock { end in
                if end.code == nil { end.waiters.append(continuation) }
                return end.code
            }
            if let code { continuation.resume(returning: code) }
        }
    }

    /// Asks it to end.
    func terminate() { if isRunning { process.terminate() } }
}
