// Sends spans to a collector. Whatever becomes of them, the service does not notice.
import HTTP
import Observability
import Runtime
import Synchronization

/// Takes what the tracer has gathered and posts it, a batch at a time. While the collector is away the batch at hand is
/// tried again and the tracer's queue fills; what does not fit is dropped there, and counted.
final class SpanExporter: Component {
    let name = "tracing"

    private static let batchMax = 512
    /// What comes within this time goes together.
    private static let gatherDuration = Duration.milliseconds(500)
    private static let timeoutSeconds = 5.0
    /// How long the last spans may take when the service stops.
    private static let lastDuration = Duration.seconds(2)

    private let tracer: Tracer
    private let url: String
    private let service: String
    private let instance: String
    private let log: Logger
    private let client: HTTPClient
    private let isStopping = Atomic<Bool>(false)
    private let sending = Mutex<Task<Void, Never>?>(nil)

    /// - Parameter endpoint: the collector's address, to which `/v1/traces` is added.
    init(_ tracer: Tracer, endpoint: String, service: String, instance: String, log: Logger) throws(HTTPClientError) {
        self.tracer = tracer
        url = (endpoint.hasSuffix("/") ? String(endpoint.dropLast()) : endpoint) + "/v1/traces"
        self.service = service
        self.instance = instance
        self.log = log
        client = try HTTPClient(connectionsMax: 1, connectionsPerHostMax: 1, requestsWaitingMax: 1, connectSeconds: 3)
    }

    func start() async throws {
        sending.withLock { $0 = Task.detached { [self] in await run() } }
    }

    func stop() async {
        isStopping.store(true, ordering: .relaxed)
        tracer.close()
        let task = sending.withLock { $0 }
        _ = await within(Self.lastDuration) { await task?.value }
        task?.cancel()
        await client.close()
    }

    private func run() async {
        var isAway = false
        for await _ in tracer.wakeups {
            if !isStopping.load(ordering: .relaxed) { try? await Task.sleep(for: Self.gatherDuration) }
            await sendAll(&isAway)
        }
        await sendAll(&isAway)
    }

    private func sendAll(_ isAway: inout Bool) async {
        while case let spans = tracer.take(Self.batchMax), !spans.isEmpty {
            let body = SpanDocument.body(spans, service: service, instance: instance)
            var backoff = Backoff(isJittered: true)
            while true {
                let problem = await send(body)
                if let problem, !isAway {
                    isAway = true
                    log.warning(
                        "traces are not taken", ["collector": url, "reason": problem.reason])
                }
                guard let problem else {
                    if isAway { log.info("traces are taken again", ["collector": url]) }
                    isAway = false
                    break
                }
                guard problem.mayPass, !isStopping.load(ordering: .relaxed), !Task.isCancelled else {
                    tracer.drop(spans.count)
                    break
                }
                try? await Task.sleep(for: backoff.next())
            }
        }
    }

    /// Nil when the collector has taken it.
    private func send(_ body: [UInt8]) async -> (reason: String, mayPass: Bool)? {
        var request = ClientRequest.json(.post, url, body)
        request.timeoutSeconds = Self.timeoutSeconds
        request.responseBytesMax = 64 << 10
        do {
            let response = try await client.send(request)
            if (200...299).contains(response.status) { return nil }
            return ("status \(response.status)", response.status == 429 || response.status >= 500)
        } catch {
            return (error.description, error.isRetriable)
        }
    }
}
