// Publishes what commands that came by HTTP committed: woken by the commit, not by a clock.
import HTTP
import Kafka
import Models
import Observability
import Postgres
import ServiceKit
import Synchronization

/// Writes state and outgoing records in one transaction and publishes them right after the commit.
///
/// What is committed is published, by this instance or, if it dies, by another: a sweep takes over rows that stay. It
/// also finds what this instance committed without hearing of it, because the connection broke before the answer.
public final class Relay: Component {
    public let name = "relay"

    /// Committed records that wait to be sent take at most about this much memory; beyond it commands are refused.
    public static let waitingBytesMax = 64 << 20
    /// A row that is older than this and in nobody's hands was left behind.
    private let leftBehindSeconds: Int
    private static let sweepSeconds = 5
    private static let forgetInterval = Duration.milliseconds(250)

    private let context: ServiceContext
    private let origin: EventOrigin
    private let published: PublishedCounters
    private let waitingBytes: Gauge
    private let stream: String
    private let state = Mutex(State())
    private let wakeups: AsyncStream<Void>
    private let wakeup: AsyncStream<Void>.Continuation

    private struct State {
        var clusterID = ""
        var sequence: Int64 = 0
        var waiting: [(sequence: Int64, records: RecordBatch, report: StepReport)] = []
        var waitingBytes = 0
        /// The first of those that are being sent.
        var sending: Int64?
        /// Rows that are sent and still in the outbox.
        var published: [Int64] = []
        var publishing: Task<Void, Never>?
        var forgetting: Task<Void, Never>?
        var sweeping: Task<Void, Never>?
        var stopping = false

        /// Older rows of this instance are not in its hands.
        var oldestInHand: Int64 {
            [waiting.lazy.map(\.sequence).min(), sending, published.min()].compactMap(\.self).min() ?? .max
        }
    }

    public convenience init(_ context: ServiceContext) { self.init(context, leftBehindSeconds: 15) }

    init(_ context: ServiceContext, leftBehindSeconds: Int) {
        self.context = context
        self.leftBehindSeconds = leftBehindSeconds
        origin = EventOrigin(service: context.serviceName, tracer: context.tracer)
        published = PublishedCounters(context.metrics)
        waitingBytes = context.metrics.gauge(
            "stampede_relay_waiting_bytes", help: "Committed records of commands that wait to be sent")
        // Unique per start: the running number begins anew.
        stream = "relay/\(context.newID(of: MessageKind.self))"
        (wakeups, wakeup) = AsyncStream.makeStream(bufferingPolicy: .bufferingNewest(1))
    }

    public func start() async throws {
        let clusterID = try await KafkaAdmin(context.kafka).clusterID()
        try await takeOver()
        state.withLock {
            $0.clusterID = clusterID
            $0.publishing = Task.detached { [self] in await publishForever() }
            $0.forgetting = Task.detached { [self] in await forgetForever() }
            $0.sweeping = Task.detached { [self] in await sweepForever() }
        }
    }

    /// Waits until what is committed is sent; what cannot be sent stays in the outbox.
    public func stop() async {
        let (publishing, forgetting, sweeping) = state.withLock {
            $0.stopping = true
            return ($0.publishing, $0.forgetting, $0.sweeping)
        }
        sweeping?.cancel()
        wakeup.finish()
        await publishing?.value
        forgetting?.cancel()
        await forgetting?.value
        await sweeping?.value
    }

    /// Runs `body` in a transaction; what the step publishes is sent after the commit.
    /// - Throws: `Overloaded` when too much waits to be sent, or what the body or the transaction throws.
    public func commit<Result: Sendable>(
        _ body: @escaping @Sendable (Step) async throws -> Result
    ) async throws -> Result {
        let (sequence, clusterID, full) = state.withLock {
            $0.sequence += 1
            return ($0.sequence, $0.clusterID, $0.waitingBytes > Self.waitingBytesMax)
        }
        if full { throw Overloaded() }
        let began = context.tracer.isOn ? Tracer.now() : 0
        let (result, records, report) = try await context.postgres.transaction { transaction in
            let step = Step(transaction: transaction, now: self.context.now(), origin: self.origin)
            let result = try await body(step)
            let records = step.packed()
            if !records.isEmpty {
                transaction.finish([
                    """
                    INSERT INTO outbox (stream, sequence, cluster_id, records)
                    VALUES (\(self.stream), \(sequence), \(clusterID), \(records.bytes))
                    """
                ])
            }
            return (result, records, step.report)
        }
        report.count()
        if context.tracer.isOn { trace(report, began) }
        if !records.isEmpty {
            state.withLock {
                $0.waiting.append((sequence, records, report))
                $0.waitingBytes += records.bytes.count
                waitingBytes.set(Double($0.waitingBytes))
            }
            wakeup.yield()
        }
        return result
    }

    /// A command's own trace, or those of the commands that shared the transaction.
    private func trace(_ report: StepReport, _ began: Int64) {
        let tracer = context.tracer
        let causes = report.spans.map(\.cause)
        if let current = TraceContext.current, tracer.records(current) {
            tracer.recordTransaction([current] + causes.filter { $0 != current }, start: began, end: Tracer.now())
        } else {
            tracer.recordTransaction(causes, start: began, end: Tracer.now())
        }
    }

    private func publishForever() async {
        for await _ in wakeups { await publishWaiting() }
        await publishWaiting()
    }

    private func publishWaiting() async {
        var backoff = Backoff()
        while true {
            let waiting = state.withLock { state in
                let waiting = state.waiting
                state.sending = waiting.lazy.map(\.sequence).min()
                state.waiting = []
                state.waitingBytes = 0
                waitingBytes.set(0)
                return waiting
            }
            if waiting.isEmpty { return }
            var records = RecordBatch()
            for row in waiting { records.append(contentsOf: row.records) }
            let began = context.tracer.isOn ? Tracer.now() : 0
            do {
                try await context.producer.send(records)
                state.withLock {
                    $0.published.append(contentsOf: waiting.map(\.sequence))
                    $0.sending = nil
                }
                for row in waiting {
                    published.add(row.report.published)
                    context.tracer.recordPublished(row.report.spans, start: began)
                }
            } catch {
                context.log.warning("publishing will be tried again", ["component": name, "error": "\(error)"])
                let stopping = state.withLock { state in
                    state.waiting.insert(contentsOf: waiting, at: 0)
                    state.sending = nil
                    state.waitingBytes += waiting.reduce(0) { $0 + $1.records.bytes.count }
                    waitingBytes.set(Double(state.waitingBytes))
                    return state.stopping
                }
                // What is not sent now is in the outbox: the next instance sends it.
                if stopping { return }
                try? await backoff.wait()
            }
        }
    }

    /// Takes what is sent out of the outbox, many rows at a time: nobody waits for that.
    private func forgetForever() async {
        repeat {
            try? await Task.sleep(for: Self.forgetInterval)
            let published = state.withLock { state in
                defer { state.published = [] }
                return state.published
            }
            if published.isEmpty { continue }
            do {
                try await context.postgres.execute(
                    "DELETE FROM outbox WHERE stream = \(stream) AND sequence = ANY(\(published))")
            } catch {
                context.log.warning("the outbox will be cleared later", ["component": name, "error": "\(error)"])
                state.withLock { $0.published.append(contentsOf: published) }
            }
        } while !Task.isCancelled
    }

    private func sweepForever() async {
        while !Task.isCancelled {
            do {
                try await Task.sleep(for: .seconds(Self.sweepSeconds))
                try await takeOver()
            } catch is CancellationError {
                return
            } catch {
                context.log.warning("the sweep will be tried again", ["component": name, "error": "\(error)"])
            }
        }
    }

    /// Publishes rows that nobody sent and nobody is about to send. Locked while they are sent, so only one sweep does it.
    private func takeOver() async throws {
        let own = stream
        let left = Int64(leftBehindSeconds)
        let oldestInHand = state.withLock { $0.oldestInHand }
        let producer = context.producer
        var found = 0
        repeat {
            found = try await context.postgres.transaction { transaction in
                let rows = try await transaction.query(
                    """
                    SELECT stream, sequence, records FROM outbox
                    WHERE stream LIKE 'relay/%' AND (stream <> \(own) OR sequence < \(oldestInHand))
                        AND created_at < now() - make_interval(secs => \(left)::bigint)
                    ORDER BY created_at, stream, sequence LIMIT 100 FOR UPDATE SKIP LOCKED
                    """)
                if rows.isEmpty { return 0 }
                var records = RecordBatch()
                var streams: [String] = []
                var sequences: [Int64] = []
                for row in rows {
                    streams.append(try row.get(0, as: String.self))
                    sequences.append(try row.get(1, as: Int64.self))
                    records.append(contentsOf: try RecordBatch(bytes: row.get(2, as: [UInt8].self)))
                }
                try await producer.send(records)
                transaction.finish([
                    """
                    DELETE FROM outbox WHERE (stream, sequence) IN (SELECT * FROM unnest(\(streams), \(sequences)))
                    """
                ])
                return rows.count
            }
        } while found > 0
    }
}

/// More is waiting than the service takes on. Answered 503 with Retry-After.
public struct Overloaded: ProblemConvertible, Sendable, CustomStringConvertible {
    public init() {}
    public var problem: Problem { .unavailable(retryAfterSeconds: 1, "More is waiting than the service takes on.") }
    public var description: String { "more is waiting than the service takes on; try again shortly" }
}
