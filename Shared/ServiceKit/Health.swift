// What a service says about its state: to the operator, to load balancers, to orchestrators.
import HTTP
import JSON
import Observability
import Synchronization

/// The states of the service and its components. Read by `/health/ready` and by the gate before the routes.
final class Health: Sendable {
    enum Phase: String {
        case starting, ready, draining
    }

    private enum State {
        case pending
        /// Starting, and why it waits where it does.
        case starting(String?)
        case started
        case stopped
    }

    private struct Contents {
        var phase = Phase.starting
        var order: [any Component] = []
        var states: [State] = []
    }

    private let service: String
    private let instance: String
    private let contents = Mutex(Contents())
    /// Read at every request, hence without a lock.
    private let isOpen = Atomic<Bool>(false)

    init(service: String, instance: String) {
        self.service = service
        self.instance = instance
    }

    func setComponents(_ components: [any Component]) {
        contents.withLock { contents in
            contents.order = components
            contents.states = components.map { _ in .pending }
        }
    }

    func setPhase(_ phase: Phase) {
        contents.withLock { $0.phase = phase }
        // What is on its way when draining begins is still answered.
        if phase == .ready { isOpen.store(true, ordering: .releasing) }
    }

    func setStarting(_ index: Int, waitingFor reason: String? = nil) {
        contents.withLock { $0.states[index] = .starting(reason) }
    }

    func setStarted(_ index: Int) { contents.withLock { $0.states[index] = .started } }

    func setStopped(_ index: Int) { contents.withLock { $0.states[index] = .stopped } }

    /// Lets requests pass once the service has been ready.
    func gate() throws(Problem) {
        guard isOpen.load(ordering: .acquiring) else {
            throw .unavailable(retryAfterSeconds: 1, "The service is starting.")
        }
    }

    /// Whether load should come here, and the document that says why.
    func report() -> (isReady: Bool, json: [UInt8]) {
        let contents = contents.withLock { $0 }
        var isReady = contents.phase == .ready
        var lines: [(name: String, state: String, detail: String?)] = []
        for (component, state) in zip(contents.order, contents.states) {
            switch state {
            case .pending: lines.append((component.name, "pending", nil))
            case .starting(let reason): lines.append((component.name, reason == nil ? "starting" : "waiting", reason))
            case .stopped: lines.append((component.name, "stopped", nil))
            case .started:
                let isUp = component.isReady
                if !isUp { isReady = false }
                lines.append((component.name, isUp ? "ready" : "not ready", isUp ? nil : component.detail))
            }
        }
        var writer = JSONWriter()
        writer.object { writer in
            writer.field("status", !isReady && contents.phase == .ready ? "not ready" : contents.phase.rawValue)
            writer.field("service", service)
            writer.field("version", Version.current)
            writer.field("instance", instance)
            writer.name("components")
            writer.array { writer in
                for line in lines {
                    writer.object { writer in
                        writer.field("name", line.name)
                        writer.field("state", line.state)
                        writer.field("detail", optional: line.detail)
                    }
                }
            }
        }
        return (isReady, writer.bytes)
    }

    /// `/health/live`, `/health/ready` and `/metrics`. The gateway does not pass them on.
    func routes(_ metrics: Metrics) -> [Route] {
        [
            .inline(.get, "/health/live", answerLive),
            .inline(.get, "/health/ready") { [self] _ in
                let (isReady, json) = report()
                return .json(isReady ? 200 : 503, json).with("Cache-Control", "no-store")
            },
            // Reading /proc and writing some kilobytes is no work for an event loop.
            Route(.get, "/metrics", computes: true) { _ in .text(metrics.render(), type: Metrics.contentType) },
        ]
    }

    private func answerLive(_ request: HTTPRequest) -> HTTPResponse {
        var writer = JSONWriter()
        writer.object { $0.field("status", "live") }
        return .json(200, writer.bytes).with("Cache-Control", "no-store")
    }
}
