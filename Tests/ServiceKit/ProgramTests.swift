import Foundation
import HTTP
import TestSupport
import Testing

@testable import ServiceKit

/// Real processes of the probe service: arguments, exit codes, signals.
@Suite(.timeLimit(.minutes(2))) struct ProgramTests {
    let client: HTTPClient

    init() throws { client = try HTTPClient() }

    /// A process of `ServiceKitProbe` whose log can be waited on. The build puts it beside the tests.
    final class Running: Sendable {
        let log = TestLog()
        private let process: Process
        private let ended: Task<Int32, Never>
        private let output: Task<String, Never>

        init(arguments: [String] = [], environment: [String: String]) throws {
            let process = Process()
            process.executableURL = URL(fileURLWithPath: CommandLine.arguments[0]).deletingLastPathComponent()
                .appendingPathComponent("ServiceKitProbe")
            process.arguments = arguments
            process.environment = environment.merging(
                ["STAMPEDE_HTTP_PORT": "0", "STAMPEDE_PROBE_SECRET": "open-sesame"]
            ) { a, _ in a }
            let (standardOutput, standardError) = (Pipe(), Pipe())
            process.standardOutput = standardOutput
            process.standardError = standardError
            let (ends, end) = AsyncStream.makeStream(of: Int32.self)
            process.terminationHandler = { process in
                end.yield(
                    process.terminationReason == .uncaughtSignal
                        ? -process.terminationStatus : process.terminationStatus)
                end.finish()
            }
            try process.run()
            self.process = process
            ended = Task {
                for await code in ends { return code }
                return .min
            }
            let log = log
            output = Task {
                async let errors = Self.read(standardError) { log.append($0) }
                return await Self.read(standardOutput) { _ in } + errors
            }
        }

        func send(_ signal: Int32) { kill(process.processIdentifier, signal) }

        /// The exit code, or minus the signal that ended it. It is killed when the task is cancelled, as by a time limit.
        var exitCode: Int32 {
            get async {
                await withTaskCancellationHandler {
                    await ended.value
                } onCancel: {
                    send(SIGKILL)
                }
            }
        }

        /// All that it wrote, to either side.
        var allOutput: String { get async { await output.value } }

        /// All that comes, on a thread of its own, since reading blocks; what is a JSON object as it comes.
        private static func read(_ pipe: Pipe, _ take: @escaping @Sendable ([String: String]) -> Void) async -> String {
            await withCheckedContinuation { continuation in
                Thread.detachNewThread {
                    var (all, rest) = (Data(), Data())
                    while case let data = pipe.fileHandleForReading.availableData, !data.isEmpty {
                        all += data
                        rest += data
                        while let newline = rest.firstIndex(of: UInt8(ascii: "\n")) {
                            let line = rest[rest.startIndex..<newline]
                            rest = Data(rest[(newline + 1)...])
                            if let object = try? JSONSerialization.jsonObject(with: line) as? [String: String] {
                                take(object)
                            }
                        }
                    }
                    continuation.resume(returning: String(decoding: all, as: UTF8.self))
                }
            }
        }
    }

    func run(_ arguments: [String], _ environment: [String: String] = [:]) async throws -> (code: Int32, output: String)
    {
        let process = try Running(arguments: arguments, environment: environment)
        return (await process.exitCode, await process.allOutput)
    }

    @Test func helpListsTheConfigurationAndEndsWell() async throws {
        let (code, output) = try await run(["--help"])
        #expect(code == ExitCode.success)
        for key in Plain.allConfigurationKeys { #expect(output.contains(key.name)) }
        #expect(output.contains("STAMPEDE_PROBE_SECRET"))
        #expect(!output.contains("sesame"))
    }

    /// Of all that the service needs it takes the DSN alone, and says what is wrong with it.
    @Test func migrateNeedsNothingButTheDSN() async throws {
        let missing = try await run(["migrate"])
        #expect(missing.code == ExitCode.configuration && missing.output.contains("STAMPEDE_POSTGRES_DSN: required"))
        #expect(!missing.output.contains("KAFKA_BOOTSTRAP_SERVERS"))
        let away = try await run(
            ["migrate"],
            ["STAMPEDE_POSTGRES_DSN": "postgresql://u:open-sesame@127.0.0.1:1/d", "STAMPEDE_START_SECONDS": "0"])
        #expect(away.code == ExitCode.unavailable && !away.output.contains("sesame"), "\(away.output)")
        #expect(try await run(["migrate", "now"]).code == ExitCode.usage)
    }

    private struct Plain: TestedService { init(_ context: ServiceContext) {} }

    @Test func versionIsOneLine() async throws {
        let (code, output) = try await run(["--version"])
        #expect(code == ExitCode.success)
        #expect(output == "probe \(Version.current)\n")
    }

    @Test func anUnknownArgumentIsAUsageError() async throws {
        let (code, output) = try await run(["--verbose"])
        #expect(code == ExitCode.usage)
        #expect(output == "probe: unknown argument \"--verbose\"; --help tells what there is\n")
    }

    @Test func wrongConfigurationIsNamedLineByLine() async throws {
        let (code, output) = try await run(
            [],
            [
                "KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:1", "STAMPEDE_POSTGRES_DSN": "postgresql://u:open-sesame@h/d",
                "STAMPEDE_HTTP_THREADS": "many", "STAMPEDE_PROBE_STUK": "true",
            ])
        #expect(code == ExitCode.configuration)
        #expect(
            output == """
                probe: STAMPEDE_HTTP_THREADS: expected an integer from 1 to 64, got "many"
                probe: STAMPEDE_PROBE_STUK: unknown; did you mean STAMPEDE_PROBE_STUCK?

                """)
    }

    @Test func anUnreachablePostgresIsExitCode69() async throws {
        let environment = try await TestEnvironment.make()
        let (code, output) = try await run(
            [],
            environment.variables.merging([
                "STAMPEDE_POSTGRES_DSN": "postgresql://u:open-sesame@127.0.0.1:1/d", "STAMPEDE_START_SECONDS": "0",
            ]) { $1 })
        #expect(code == ExitCode.unavailable)
        #expect(output.contains("Connection refused"))
        #expect(!output.contains("sesame"))
    }

    @Test(arguments: [SIGTERM, SIGINT])
    func aSignalLetsWhatRunsEndInReverseOrder(signal: Int32) async throws {
        let environment = try await TestEnvironment.make()
        let process = try Running(environment: environment.variables)
        let address = try #require(await process.log.line("starting")["http"])
        _ = await process.log.line("ready")
        async let answer = client.get("http://\(address)/task")
        let work = await process.log.line("at work")
        #expect(work["secret"] == "***")
        process.send(signal)

        // The request that was at work is answered; a new one finds nobody.
        #expect(try await answer.body == "done")
        #expect(await process.exitCode == ExitCode.success)
        await #expect(throws: HTTPClientError.self) { try await client.get("http://\(address)/health/live") }
        let stops = process.log.lines.compactMap { $0["message"] == "stopping" ? $0["component"] : nil }
        #expect(stops == ["second", "first"])
        #expect(process.log.lines.last?["message"] == "stopped")
        #expect(await !process.allOutput.contains("sesame"))
    }

    @Test func aSecondSignalEndsItAtOnce() async throws {
        let environment = try await TestEnvironment.make()
        let process = try Running(
            environment: environment.variables.merging([
                "STAMPEDE_PROBE_STUCK": "true", "STAMPEDE_DRAIN_SECONDS": "3600",
            ]) {
                $1
            })
        _ = await process.log.line("ready")
        process.send(SIGTERM)
        _ = await process.log.line("stopping")
        process.send(SIGTERM)
        #expect(await process.exitCode == 128 + SIGTERM)
    }

    @Test func whatDoesNotEndWithinTheDrainTimeIsLeftAndTold() async throws {
        let environment = try await TestEnvironment.make()
        let process = try Running(
            environment: environment.variables.merging([
                "STAMPEDE_PROBE_STUCK": "true", "STAMPEDE_DRAIN_SECONDS": "0.3",
            ]) {
                $1
            })
        _ = await process.log.line("ready")
        process.send(SIGTERM)
        #expect(await process.exitCode == ExitCode.failure)
        #expect(process.log.lines.contains { $0["message"] == "did not stop in time" && $0["component"] == "second" })
        #expect(process.log.lines.contains { $0["message"] == "stopping" && $0["component"] == "first" })
    }

    @Test func aSignalWhileItStillWaitsForPostgresEndsItWell() async throws {
        let environment = try await TestEnvironment.make()
        let process = try Running(
            environment: environment.variables.merging(["STAMPEDE_POSTGRES_DSN": "host=127.0.0.1 port=1 user=u"]) { $1 }
        )
        _ = await process.log.line("starting")
        process.send(SIGTERM)
        #expect(await process.exitCode == ExitCode.success)
    }

    @Test func everyLineOfTheLogIsAJSONObject() async throws {
        let environment = try await TestEnvironment.make()
        let process = try Running(environment: environment.variables)
        _ = await process.log.line("ready")
        process.send(SIGTERM)
        #expect(await process.exitCode == ExitCode.success)
        let lines = await process.allOutput.split(separator: "\n")
        #expect(lines.count >= 4)
        for line in lines {
            let object = try JSONSerialization.jsonObject(with: Data(line.utf8)) as? [String: String]
            #expect(object?["time"] != nil && object?["level"] != nil && object?["service"] == "probe")
        }
    }
}
