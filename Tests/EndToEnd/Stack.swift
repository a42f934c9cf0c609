// The whole stack, started and ended by the same scripts that `make up` and `make down` run, in a folder and on ports
// of its own.
import Foundation
import JSON
import Models
import Postgres

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
        let ports = try FreePorts.pick(4)
        var environment = Self.inherited.filter { ["PATH", "HOME", "LANG", "TMPDIR"].contains($0.key) }
        for (name, port) in zip(["GATEWAY_PORT", "POSTGRES_PORT", "KAFKA_PORT"], ports) {
            environment[name] = "\(port)"
        }
        let services = Settings.Service.allCases.map { $0.rawValue.uppercased() }
        // The scripts put a service's instances 10 ports apart.
        let counts = services.map { variables["\($0)_INSTANCES"].flatMap { Int($0) } ?? 1 }
        for (service, port) in zip(services, try FreePorts.series(counts, step: 10)) {
            environment["\(service)_PORT"] = "\(port)"
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
        let path = "\(folder)/settings/\(file)"
        let before = (try? String(contentsOfFile: path, encoding: .utf8)) ?? ""
        try (before + lines.map { $0 + "\n" }.joined()).write(toFile: path, atomically: true, encoding: .utf8)
    }

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

    /// Ends a program for good; `scripts/up` starts it again.
    func stop(_ name: String) async throws { try await run("\(Self.root)/scripts/down", [name]).requireSuccess() }

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

enum FreePorts {
    /// Ports that nothing listens on now, the last two of them neighbours.
    static func pick(_ count: Int) throws -> [Int] {
        // Held until all are chosen, so that none is chosen twice.
        var held: [Int32] = []
        defer { for socket in held { close(socket) } }
        var ports: [Int] = []
        for _ in 0..<1000 where ports.count < count {
            let isPair = ports.count == count - 2
            guard let (first, port) = bind(0) else { continue }
            held.append(first)
            if isPair {
                guard let (second, _) = bind(port + 1) else { continue }
                held.append(second)
                ports += [port, port + 1]
            } else {
                ports.append(port)
            }
        }
        guard ports.count == count else { throw Stack.Ended.Failure(description: "no \(count) free ports") }
        return ports
    }

    /// For each count the first of so many ports that nothing listens on now, `step` apart.
    static func series(_ counts: [Int], step: Int) throws -> [Int] {
        var held: [Int32] = []
        defer { for socket in held { close(socket) } }
        var firsts: [Int] = []
        for _ in 0..<10_000 where firsts.count < counts.count {
            guard let (socket, port) = bind(0) else { continue }
            held.append(socket)
            let others = (1..<max(1, counts[firsts.count])).map { bind(port + step * $0)?.socket }
            held += others.compactMap { $0 }
            if !others.contains(nil) { firsts.append(port) }
        }
        guard firsts.count == counts.count else { throw Stack.Ended.Failure(description: "no free ports in a row") }
        return firsts
    }

    /// A port that is taken as long as its socket is open.
    static func hold() -> (socket: Int32, port: Int)? {
        guard let held = bind(0), listen(held.socket, 1) == 0 else { return nil }
        return held
    }

    private static func bind(_ port: Int) -> (socket: Int32, port: Int)? {
        let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        guard descriptor >= 0 else { return nil }
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = UInt16(port).bigEndian
        address.sin_addr.s_addr = UInt32(0x7f00_0001).bigEndian
        var length = socklen_t(MemoryLayout<sockaddr_in>.size)
        let isBound = withUnsafeMutablePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                Glibc.bind(descriptor, $0, length) == 0 && getsockname(descriptor, $0, &length) == 0
            }
        }
        guard isBound else {
            close(descriptor)
            return nil
        }
        return (descriptor, Int(UInt16(bigEndian: address.sin_port)))
    }
}
