// The whole stack, started and ended by the same scripts that `make up` and `make down` run, in a folder and on ports
// of its own.
import Foundation
import JSON
import Models
import Postgres
import TestSupport

@testable import StampedeCore

struct Stack: Sendable {
    enum Broker: String, CaseIterable, Sendable { case embedded, apache }

    /// What end-to-end tests run on: Apache Kafka as well where `KAFKA_HOME` says that there is one.
    static let brokers: [Broker] = inherited["KAFKA_HOME"]?.isEmpty ?? true ? [.embedded] : Broker.allCases

    let folder: String
    let environment: [String: String]

    /// Runs a test on a fresh stack, and takes it down whatever happens.
    /// - Parameters:
    ///   - adding: variables for the scripts.
    ///   - prepare: runs before anything is started.
    static func with(
        _ broker: Broker, adding variables: [String: String] = [:], prepare: (Stack) async throws -> Void = { _ in },
        _ body: (Stack) async throws -> Void
    ) async throws {
        let stack = try Stack(broker, variables)
        let keeper = try stack.startKeeper()
        do {
            try await prepare(stack)
            try await stack.script("up").requireSuccess()
            try await body(stack)
        } catch {
            await stack.keepLogs()
            try await keeper.end()
            throw error
        }
        try await keeper.end()
    }

    private init(_ broker: Broker, _ variables: [String: String]) throws {
        folder = "/tmp/stampede-end-to-end-\(getpid())-\(UUID().uuidString.prefix(8))"
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        var environment = Self.inherited.filter { ["PATH", "HOME", "LANG", "TMPDIR", "KAFKA_OPTS"].contains($0.key) }
        // Kafka's controller has the port behind the broker's.
        for (name, count) in [("GATEWAY", 1), ("POSTGRES", 1), ("KAFKA", 2)] {
            environment["\(name)_PORT"] = "\(try FreePorts.take(count))"
        }
        for service in Settings.Service.allCases.map({ $0.rawValue.uppercased() }) {
            // The scripts put a service's instances 10 ports apart. Some tests start three where they began with one.
            let count = variables["\(service)_INSTANCES"].flatMap { Int($0) } ?? 1
            environment["\(service)_PORT"] = "\(try FreePorts.take(max(3, count), step: 10))"
        }
        environment["STACK_DIR"] = folder
        environment["CONFIGURATION"] = "debug"
        environment["BUILD"] = "no"
        if broker == .apache { environment["KAFKA_HOME"] = Self.inherited["KAFKA_HOME"] }
        environment["SETTINGS_DIR"] = "\(folder)/settings"
        try FileManager.default.createDirectory(
            atPath: "\(folder)/settings", withIntermediateDirectories: true)
        self.environment = environment.merging(variables) { $1 }
    }

    /// Adds lines to what the scripts start a program with: `reservation.environment`, `kafka.properties`.
    func add(_ lines: String..., to file: String) throws {
        let before = (try? String(contentsOfFile: "\(folder)/settings/\(file)", encoding: .utf8)) ?? ""
        try (before + lines.map { $0 + "\n" }.joined()).write(
            toFile: "\(folder)/settings/\(file)", atomically: true, encoding: .utf8)
    }

    /// Forgets what was added.
    func clear(_ file: String) throws { try FileManager.default.removeItem(atPath: "\(folder)/settings/\(file)") }

    func port(_ name: String) -> Int { environment["\(name)_PORT"].flatMap { Int($0) } ?? 0 }

    private static let inherited = ProcessInfo.processInfo.environment

    static let root = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
        .deletingLastPathComponent().path

    // MARK: Programs

    struct Ended: Sendable {
        let code: Int32
        let output: String
        let errors: String

        struct Failure: Error, CustomStringConvertible { let description: String }

        @discardableResult
        func requireSuccess() throws -> Ended {
            guard code == 0 else { throw Failure(description: "exit code \(code)\n\(errors)\n\(output)") }
            return self
        }
    }

    func script(_ name: String) async throws -> Ended { try await run("\(Self.root)/scripts/\(name)") }

    /// Runs the `stampede` executable against this stack.
    func stampede(_ arguments: String...) async throws -> Ended {
        try await run(
            "\(Self.root)/.build/debug/stampede", arguments + ["--environment", "\(folder)/environment"])
    }

    func run(
        _ path: String, _ arguments: [String] = [], input: String? = nil, adding variables: [String: String] = [:]
    ) async throws -> Ended {
        let name = "\(folder)/test-\(UUID().uuidString)"
        func open(_ suffix: String, _ text: String = "") throws -> FileHandle {
            _ = FileManager.default.createFile(atPath: name + suffix, contents: Data(text.utf8))
            guard let handle = FileHandle(forUpdatingAtPath: name + suffix) else {
                throw Ended.Failure(description: "\(name + suffix) cannot be opened")
            }
            return handle
        }
        let (output, errors) = (try open(".out"), try open(".err"))
        let program = try ChildProgram(
            path, arguments, environment: environment.merging(variables) { $1 }, output: output, errors: errors,
            input: try input.map { try open(".in", $0) } ?? .nullDevice)
        let code = await program.wait()
        return Ended(
            code: code, output: try String(contentsOfFile: name + ".out", encoding: .utf8),
            errors: try String(contentsOfFile: name + ".err", encoding: .utf8))
    }

    /// Ends the stack when the test is over, and also when this process is killed: its input ends then.
    private func startKeeper() throws -> Keeper {
        let pipe = Pipe()
        // No program that is started from here on may hold the other end open.
        _ = fcntl(pipe.fileHandleForWriting.fileDescriptor, F_SETFD, FD_CLOEXEC)
        // A test may have put Postgres on a small disk of its own.
        let command =
            "cat >/dev/null; '\(Self.root)/scripts/down' >/dev/null; code=$?; "
            + "if mountpoint -q '\(folder)/postgres'; then umount '\(folder)/postgres'; fi; "
            + "rm -rf '\(folder)'; exit $code"
        let program = try ChildProgram(
            "/bin/bash", ["-c", command], environment: environment, output: .nullDevice,
            input: pipe.fileHandleForReading)
        try pipe.fileHandleForReading.close()
        return Keeper(program: program, input: pipe.fileHandleForWriting)
    }

    private struct Keeper: Sendable {
        let program: ChildProgram
        let input: FileHandle

        func end() async throws {
            try input.close()
            let code = await program.wait()
            guard code == 0 else { throw Ended.Failure(description: "scripts/down: exit code \(code)") }
        }
    }

    // MARK: What runs

    func settings() throws -> Settings { try Settings(environment: [:], file: "\(folder)/environment") }

    /// A password that the scripts made.
    func secret(_ name: String) -> String {
        (try? String(contentsOfFile: "\(folder)/secrets/\(name)", encoding: .utf8)) ?? ""
    }

    /// What the instances of a service are called.
    func instances(of service: String) -> [String] {
        let count = environment["\(service.uppercased())_INSTANCES"].flatMap { Int($0) } ?? 1
        return (0..<count).map { $0 == 0 ? service : "\(service)-\($0 + 1)" }
    }

    /// - Parameter name: a program, or the one that starts it again: `reservation-2.supervisor`.
    func processNumber(_ name: String) -> Int32? {
        let file = name.hasSuffix(".supervisor") ? name : "\(name).pid"
        let text = try? String(contentsOfFile: "\(folder)/run/\(file)", encoding: .utf8)
        return text?.split(separator: " ").first.flatMap { Int32($0) }
    }

    /// Kills a service as a crash would, and waits until its supervisor has started another.
    func crash(_ name: String) async throws {
        guard let before = processNumber(name) else { throw Ended.Failure(description: "\(name) does not run") }
        kill(before, SIGKILL)
        try await eventually { (processNumber(name) ?? before) != before }
    }

    /// Ends programs for good; `scripts/up` starts them again.
    func stop(_ names: String...) async throws { try await stop(names) }
    func stop(_ names: [String]) async throws { try await run("\(Self.root)/scripts/down", names).requireSuccess() }

    func signal(_ name: String, _ signal: Int32) throws {
        guard let process = processNumber(name), kill(process, signal) == 0 else {
            throw Ended.Failure(description: "\(name) does not run")
        }
    }

    func log(_ name: String) throws -> String {
        try String(contentsOfFile: "\(folder)/log/\(name).log", encoding: .utf8)
    }

    func eventually(within time: Duration = .seconds(60), _ isTrue: () async throws -> Bool) async throws {
        let deadline = ContinuousClock.now + time
        while try await !isTrue() {
            guard ContinuousClock.now < deadline else { throw Ended.Failure(description: "it never came true") }
            try await Task.sleep(for: .milliseconds(50))
        }
    }
}
