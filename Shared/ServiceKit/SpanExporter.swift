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

    private struct Batch {
        let body: [UInt8]
        let count: Int
    }

    /// The collector does not take a batch.
    private struct Refusal: Error, CustomStringConvertible {
        let description: String
        let mayPass: Bool
    }

    private let tracer: Tracer
    private let url: String
    private let service: String
    private let instance: String
    private let log: Logger
    private let client: HTTPClient
    /// The batch at hand.
    private let unsent = Mutex<Batch?>(nil)
    private let sending = Mutex<Periodic?>(nil)

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
        let (log, url) = (log, url)
        let sending = Periodic(
            every: Self.gatherDuration,
            told: { outcome in
                switch outcome {
                case .failed(let error, isFirst: true):
                    log.warning("traces are not taken", ["collector": url, "reason": "\(error)"])
                case .failed: break
                case .recovered: log.info("traces are taken again", ["collector": url])
                }
            }
        ) { [self] in try await sendAll() }
        sending.start()
        self.sending.withLock { $0 = sending }
    }

    func stop() async {
        await sending.withLock { $0 }?.stop()
        _ = await within(Self.lastDuration) { try? await self.sendAll() }
        dropUnsent()
        await client.close()
    }

    /// Once: a last attempt that goes on beyond its time finds nothing to drop any more.
    private func dropUnsent() {
        if let lost = unsent.withLock({ $0.take() }) { tracer.drop(lost.count) }
    }

    /// - Throws: `Refusal`. A batch that may be taken later is at hand again; another is dropped.
    private func sendAll() async throws {
        while let batch = next() {
            guard let refusal = await send(batch.body) else {
                unsent.withLock { $0 = nil }
                continue
            }
            if !refusal.mayPass { dropUnsent() }
            throw refusal
        }
    }

    private func next() -> Batch? {
        unsent.withLock { unsent in
            if unsent == nil, case let spans = tracer.take(Self.batchMax), !spans.isEmpty {
                unsent = Batch(
                    body: SpanDocument.body(spans, service: service, instance: instance), count: spans.count)
            }
            return unsent
        }
    }

    /// Nil when the collector has taken it.
    private func send(_ body: [UInt8]) async -> Refusal? {
        var request = ClientRequest.json(.post, url, body)
        request.timeoutSeconds = Self.timeoutSeconds
        request.responseBytesMax = 64 << 10
        do {
            let status = try await client.send(request).status
            if (200...299).contains(status) { return nil }
            return Refusal(description: "status \(status)", mayPass: status == 429 || status >= 500)
        } catch {
            return Refusal(description: error.description, mayPass: error.isRetriable)
        }
    }
}
