// The life of a service's process.
import CMalloc
import Dispatch
import Foundation
import Observability
import Runtime
import Synchronization

/// Runs a service as a program: arguments, configuration, signals, exit code.
public enum Program {
    /// Never returns: the process ends with one of `ExitCode`.
    public static func run<Running: Service>(_ type: Running.Type) async -> Never {
        limitArenas()
        if wantsMigration(type) { await migrate(type) }
        let runner: ServiceRunner<Running>
        do {
            runner = try ServiceRunner(
                environment: ProcessInfo.processInfo.environment, sink: .standardError)
        } catch {
            for problem in error.problems { complain("\(Running.name): \(problem)") }
            end(ExitCode.configuration)
        }
        let (occurrences, occurrence) = AsyncStream.makeStream(of: Occurrence.self)
        let signals = Signals { occurrence.yield(.signal($0)) }
        let starting = Task {
            do {
                _ = try await runner.start()
            } catch let failure as StartFailure {
                occurrence.yield(.failedToStart(failure))
            } catch {
                occurrence.yield(.failedToStart(StartFailure(exitCode: ExitCode.failure, reason: "\(error)")))
            }
        }
        let log = runner.context.log
        for await occurrence in occurrences {
            switch occurrence {
            case .failedToStart(let failure):
                log.error("cannot start", ["reason": failure.reason, "exit_code": "\(failure.exitCode)"])
                await runner.stop()
                end(failure.exitCode)
            case .signal(let number):
                log.info("told to stop", ["signal": number == SIGTERM ? "SIGTERM" : "SIGINT"])
                starting.cancel()
                // What does not hear of it in time is left to the end of the process.
                _ = await within(runner.drainDuration) { await starting.value }
                let allEnded = await runner.stop()
                end(allEnded ? ExitCode.success : ExitCode.failure)
            }
        }
        withExtendedLifetime(signals) {}
        end(ExitCode.failure)
    }

    private enum Occurrence: Sendable {
        case failedToStart(StartFailure)
        case signal(Int32)
    }

    private static func migrate<Running: Service>(_ type: Running.Type) async -> Never {
        do {
            try await MigrateCommand<Running>(
                environment: ProcessInfo.processInfo.environment, sink: .standardError
            ).run()
            end(ExitCode.success)
        } catch let error as ConfigurationError {
            for problem in error.problems { complain("\(Running.name): \(problem)") }
            end(ExitCode.configuration)
        } catch {
            complain("\(Running.name): \(error)")
            end((error as? StartFailure)?.exitCode ?? ExitCode.failure)
        }
    }

    /// Whether to migrate only. What the arguments ask for besides is answered at once, and ends the process.
    private static func wantsMigration<Running: Service>(_ type: Running.Type) -> Bool {
        let arguments = CommandLine.arguments.dropFirst()
        guard let first = arguments.first else { return false }
        switch first {
        case "migrate" where arguments.count == 1: return true
        case "--help", "-h":
            print(
                HelpText.text(name: Running.name, summary: Running.summary, keys: Running.allConfigurationKeys),
                terminator: "")
            end(ExitCode.success)
        case "--version":
            print("\(Running.name) \(Version.current)")
            end(ExitCode.success)
        default:
            complain("\(Running.name): unknown argument \"\(first)\"; --help tells what there is")
            end(ExitCode.usage)
        }
    }

    /// glibc gives each thread an arena of its own, which keep what was freed; two are enough here and spare tens of
    /// megabytes.
    private static func limitArenas() {
        mallopt(M_ARENA_MAX, 2)
    }

    private static func complain(_ line: String) {
        LogSink.standardError.write(Array((line + "\n").utf8))
    }

    /// Ends the process without running destructors under threads that are still there.
    private static func end(_ code: Int32) -> Never {
        fflush(nil)
        _exit(code)
    }
}

/// Receives SIGTERM and SIGINT. The first of them is reported; a second one ends the process at once with 128 + its
/// number.
private final class Signals {
    private let sources: [any DispatchSourceSignal]

    init(report: @escaping @Sendable (Int32) -> Void) {
        let count = Counted()
        signal(SIGPIPE, SIG_IGN)
        sources = [SIGTERM, SIGINT].map { number in
            signal(number, SIG_IGN)
            let source = DispatchSource.makeSignalSource(signal: number, queue: count.queue)
            source.setEventHandler {
                if count.isFirst() { report(number) } else { _exit(128 + number) }
            }
            source.activate()
            return source
        }
    }

    private final class Counted: Sendable {
        let queue = DispatchQueue(label: "stampede.signals")
        private let seen = Atomic<Int>(0)

        func isFirst() -> Bool { seen.wrappingAdd(1, ordering: .relaxed).oldValue == 0 }
    }
}
