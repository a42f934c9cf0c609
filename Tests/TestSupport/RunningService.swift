// Services inside a test's process.
import Models
import Observability
import ServiceKit

/// A service that runs as its program would, without a process of its own: several fit into one test.
package final class RunningService<Running: Service>: Sendable {
    package let service: Running
    package let context: ServiceContext
    package let httpPort: UInt16
    private let runner: ServiceRunner<Running>

    package var httpURL: String { "http://127.0.0.1:\(httpPort)" }

    /// Starts and returns when the service is ready.
    ///
    /// What the environment does not say is chosen for tests: a free port, the name of the service as the instance, a
    /// short drain, warnings and errors logged.
    /// - Throws: `ConfigurationError`, `StartFailure`.
    package static func start(
        _ type: Running.Type, environment: [String: String], sink: LogSink = .standardError,
        now: @escaping @Sendable () -> Timestamp = { .now() }
    ) async throws -> RunningService {
        let choices = [
            StandardKeys.httpPort: "0", StandardKeys.instance: Running.name, StandardKeys.drainSeconds: "20",
            StandardKeys.startSeconds: "60", StandardKeys.logLevel: "warning",
        ]
        let runner = try ServiceRunner<Running>(
            environment: choices.merging(environment) { $1 }, sink: sink, now: now)
        do {
            return RunningService(runner, port: try await runner.start())
        } catch {
            await runner.stop()
            throw error
        }
    }

    /// The service as it would start, which nothing has been asked of yet: what it is made of can be looked at.
    package static func assembled(environment: [String: String]) throws -> Running {
        let log = LogSink.discarding
        return try ServiceRunner<Running>(environment: environment, sink: log, now: { .now() }).service
    }

    private init(_ runner: ServiceRunner<Running>, port: UInt16) {
        self.runner = runner
        service = runner.service
        context = runner.context
        httpPort = port
    }

    /// Drains and ends it. Whether everything ended within the drain time.
    @discardableResult
    package func stop() async -> Bool { await runner.stop() }
}
