// Parts of the scripts, run in a shell that has read lib.sh, in a folder of its own.
import Foundation
import TestSupport
import Testing

@testable import StampedeCore

enum Scripts {
    static func run(_ script: String) async throws -> (code: Int32, output: String) {
        let folder = "/tmp/stampede-scripts-\(getpid())-\(UUID().uuidString.prefix(8))"
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(atPath: folder) }
        let log = "\(folder)/output"
        _ = FileManager.default.createFile(atPath: log, contents: nil)
        let output = try #require(FileHandle(forWritingAtPath: log))
        let prologue = """
            cd '\(Stack.root)/scripts'
            source lib.sh
            make_state
            until_true() {
                local tries
                for ((tries = 600; tries > 0; tries--)); do
                    if "$@" >/dev/null 2>&1; then return; fi
                    sleep 0.05
                done
                fail 70 "it never came true: $*"
            }
            has_members() { (($(members "$1" | wc -l) == $2)); }
            another() { local now && now=$(running "$1.pid") && [[ $now != "$2" ]]; }

            """
        let program = try ChildProgram(
            "/bin/bash", ["-c", prologue + script],
            environment: [
                "PATH": "/usr/sbin:/usr/bin:/bin", "STACK_DIR": folder, "CONFIGURATION": "debug",
                "GATEWAY_PORT": "\(try FreePorts.take())",
            ], output: output)
        let code = await program.wait()
        return (code, try String(contentsOfFile: log, encoding: .utf8))
    }
}
