// Programs that tests start. Foundation's `Process` knows a program's end by a socket that every program inherits which is
// started meanwhile: one that stays, a server, keeps the others from ever being waited for. These inherit nothing.
import Foundation

/// A program of its own, which has no open file but those that it is given.
package struct Subprocess: Sendable {
    package let processID: pid_t

    package struct Failure: Error, CustomStringConvertible { package let description: String }

    /// Starts a program. What is not given of its standard files is `/dev/null`.
    /// - Parameters:
    ///   - arguments: the program's path first.
    ///   - environment: nil: that of the tests.
    package init(
        _ arguments: [String], environment: [String: String]? = nil, input: Int32? = nil, output: Int32? = nil,
        errors: Int32? = nil, folder: String? = nil
    ) throws {
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        for (number, file) in [input, output, errors].enumerated() {
            if let file {
                posix_spawn_file_actions_adddup2(&actions, file, Int32(number))
            } else {
                posix_spawn_file_actions_addopen(&actions, Int32(number), "/dev/null", O_RDWR, 0)
            }
        }
        let environment = environment ?? ProcessInfo.processInfo.environment
        var processID: pid_t = 0
        // The shell is replaced by the program: the process is the same.
        let shell = ["/bin/bash", "-c", Self.closeInherited, "bash", folder ?? "."] + arguments
        let code = Self.withCStrings(shell) { arguments in
            Self.withCStrings(environment.map { "\($0.key)=\($0.value)" }) { environment in
                posix_spawn(&processID, "/bin/bash", &actions, nil, arguments, environment)
            }
        }
        guard code == 0 else {
            throw Failure(description: "\(arguments[0]) does not start: \(String(cString: strerror(code)))")
        }
        self.processID = processID
    }

    private static let closeInherited =
        #"for fd in /proc/$$/fd/*; do fd=${fd##*/}; [ "$fd" -gt 2 ] && eval "exec $fd>&-"; done; "#
        + #"cd "$1" && shift && exec "$@""#

    /// Blocks until the program has ended: its exit code, or minus the signal that ended it. To be called once.
    package func wait() -> Int32 {
        var status: Int32 = 0
        while waitpid(processID, &status, 0) == -1, errno == EINTR {}
        let signal = status & 0x7f
        return signal == 0 ? (status >> 8) & 0xff : -signal
    }

    package func send(_ signal: Int32) { _ = kill(processID, signal) }

    private static func withCStrings<R>(
        _ strings: [String], _ body: (UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>) -> R
    ) -> R {
        var pointers: [UnsafeMutablePointer<CChar>?] = strings.map { strdup($0) }
        defer { for pointer in pointers { free(pointer) } }
        pointers.append(nil)
        return pointers.withUnsafeMutableBufferPointer { buffer in
            guard let base = buffer.baseAddress else { preconditionFailure("an array with an element") }
            return body(base)
        }
    }
}
