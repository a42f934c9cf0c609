// A program that is started and waited for.
import Foundation
import Synchronization

/// Waiting is for the program's end, told by the system; any number of tasks may wait.
///
/// Started by `posix_spawn` and reaped by a thread of its own. Foundation's `Process` hands every open descriptor on, and
/// learns of an end by one of them: a program that leaves others running never seems to end.
final class ChildProgram: Sendable {
    private struct End {
        var code: Int32?
        var waiters: [CheckedContinuation<Int32, Never>] = []
    }

    let processIdentifier: Int32
    private let end: Ending

    private final class Ending: Sendable {
        let state = Mutex(End())

        func set(_ code: Int32) {
            let waiters = state.withLock { end in
                end.code = code
                defer { end.waiters = [] }
                return end.waiters
            }
            for waiter in waiters { waiter.resume(returning: code) }
        }
    }

    /// - Parameters:
    ///   - output: where standard output goes, and standard error too unless `errors` is given.
    ///   - environment: all of it; nothing is inherited, and no descriptor besides the standard ones.
    init(
        _ path: String, _ arguments: [String] = [], environment: [String: String], output: FileHandle,
        errors: FileHandle? = nil, input: FileHandle = .nullDevice
    ) throws {
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        posix_spawn_file_actions_adddup2(&actions, input.fileDescriptor, 0)
        posix_spawn_file_actions_adddup2(&actions, output.fileDescriptor, 1)
        posix_spawn_file_actions_adddup2(&actions, (errors ?? output).fileDescriptor, 2)
        for name in try FileManager.default.contentsOfDirectory(atPath: "/proc/self/fd") {
            if let descriptor = Int32(name), descriptor > 2 { posix_spawn_file_actions_addclose(&actions, descriptor) }
        }
        // The threads of a Swift program block every signal, and who is started by one would never hear any.
        var attributes = posix_spawnattr_t()
        posix_spawnattr_init(&attributes)
        defer { posix_spawnattr_destroy(&attributes) }
        var none = sigset_t()
        sigemptyset(&none)
        var all = sigset_t()
        sigfillset(&all)
        posix_spawnattr_setsigmask(&attributes, &none)
        posix_spawnattr_setsigdefault(&attributes, &all)
        posix_spawnattr_setflags(&attributes, Int16(POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF))
        var words = ([path] + arguments).map { strdup($0) }
        var settings = environment.map { strdup("\($0.key)=\($0.value)") }
        defer { for text in words + settings { free(text) } }
        words.append(nil)
        settings.append(nil)
        var identifier: pid_t = 0
        let failure = posix_spawn(&identifier, path, &actions, &attributes, words, settings)
        guard failure == 0 else {
            throw CommandError(.usage, "\(path) cannot be started: \(String(cString: strerror(failure)))")
        }
        processIdentifier = identifier
        let end = Ending()
        self.end = end
        let child = identifier
        Thread.detachNewThread {
            var status: Int32 = 0
            while waitpid(child, &status, 0) == -1 && errno == EINTR {}
            // By a signal: as a shell says it.
            let signal = status & 0x7f
            end.set(signal == 0 ? status >> 8 & 0xff : 128 + signal)
        }
    }

    var isRunning: Bool { end.state.withLock { $0.code == nil } }

    /// Its exit code, when it has ended.
    func wait() async -> Int32 {
        await withCheckedContinuation { continuation in
            let code = end.state.withLock { end in
                if end.code == nil { end.waiters.append(continuation) }
                return end.code
            }
            if let code { continuation.resume(returning: code) }
        }
    }

    /// Asks it to end.
    func terminate() { if isRunning { kill(processIdentifier, SIGTERM) } }
}
