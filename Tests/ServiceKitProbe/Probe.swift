// A service whose requests and components can be made to take their time: what the tests of signals start.
import HTTP
import Observability
import ServiceKit

@main
struct App {
    static func main() async { await Program.run(Probe.self) }
}

struct Probe: Service {
    static let name = "probe"
    static let summary = "Tests how a service's process starts and ends."
    static let configurationKeys = [
        ConfigurationKey("STAMPEDE_PROBE_STUCK", "Whether a component never stops.", .boolean, default: "false"),
        ConfigurationKey("STAMPEDE_PROBE_SECRET", "Nobody may see it.", .secret, required: true),
        ConfigurationKey("STAMPEDE_PROBE_WORK_SECONDS", "What /task takes", .seconds(0...60), default: "0.5"),
    ]

    let features: [any Feature]

    init(_ context: ServiceContext) {
        let log = context.log
        let work = context.configuration.duration("STAMPEDE_PROBE_WORK_SECONDS")
        let routes = [
            Endpoint(.get, "/task", for: .everybody) { _ in
                log.info("at work", ["secret": context.configuration.secret("STAMPEDE_PROBE_SECRET").value])
                try await Task.sleep(for: work)
                return .text("done")
            }
        ]
        let components = [
            Stopping(name: "first", isStuck: false, log: log),
            Stopping(name: "second", isStuck: context.configuration.boolean("STAMPEDE_PROBE_STUCK"), log: log),
        ]
        features = [Probed(serves: routes, repeats: components)]
    }
}

private struct Probed: Feature {
    let serves: [Endpoint]
    let repeats: [any Component]
}

/// Says that it is stopping; then is, or never will be.
private struct Stopping: Component {
    let name: String
    let isStuck: Bool
    let log: Logger

    func start() async throws {}

    func stop() async {
        log.info("stopping", ["component": name])
        if isStuck { await withUnsafeContinuation { (_: UnsafeContinuation<Void, Never>) in } }
    }
}
