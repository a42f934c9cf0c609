// Publishes what commands committed, in the order of their commits: carries out what `PublisherMachine` decides.
import HTTP
import Kafka
import Models
import Observability
import Postgres
import Runtime
import ServiceKit
import Synchronization

/// Writes state and outgoing records in one transaction; the service's one publisher, in whichever instance it is at the
/// moment, sends them right after the commit. It is woken by commits, and looks by itself for what it was not woken for.
public final class Relay: Component {
    public let name = "relay"

    /// Records that are committed and not sent take at most about this many bytes of the outbox; beyond it commands are
    /// refused.
    public static let waitingBytesMax = 64 << 20
    /// What one look takes out of the outbox at most.
    private static let rowsMax = 500
    private static let bytesMax = 4 << 20

    private let context: ServiceContext
    private let origin: EventOrigin
    private let sender: RecordSender
    private let published: PublishedCounters
    private let waitingBytes: Gauge
    private let channel: String
    private let holder: String
    private let state = Mutex(State())
    private let wakeup = Wakeup()

    private struct State {
        var clusterID: String?
        var isLeading = false
        var isStopping = false
        var standing: String?
        /// What the outbox held at the last look, and what was committed here since.
        var waitingBytes = 0
        var publishing: Task<Void, Never>?
        var listening: PostgresListener?
    }

    public init(_ context: ServiceContext) {
        self.context = context
        origin = EventOrigin(service: context.serviceName, tracer: context.tracer)
        sender = RecordSender(producer: context.producer, service: context.serviceName, log: context.log)
        published = PublishedCounters(context.metrics)
        waitingBytes = context.metrics.gauge(
            "stampede_relay_waiting_bytes", help: "Records of commands that are committed and not known to be sent")
        channel = "stampede_\(context.serviceName)_outbox"
        // Of this start: what an earlier one of the same name held is not ours.
        holder = "\(context.instance)/\(context.newID(of: MessageKind.self))"
    }

    public var isReady: Bool { state.withLock { $0.publishing != nil && $0.standing == nil } }
    public var detail: String? { state.withLock { $0.standing } }

    public func start() async throws {
        _ = try await knownClusterID()
        try await adoptOlderRows()
        let listener = context.postgres.listen(channel) { [wakeup] in wakeup.signal() }
        state.withLock {
            $0.listening = listener
            $0.publishing = Task.detached { [self] in await publish() }
        }
    }

    /// Sends what can be sent at once; the rest stays in the outbox for the next publisher.
    public func stop() async {
        let (publishing, listening) = state.withLock {
            $0.isStopping = true
            return ($0.publishing, $0.listening)
        }
        wakeup.signal()
        await publishing?.value
        await listening?.close()
    }

    /// Runs `body` in a transaction; what the unit of work publishes is sent after the commit. Runs it again where it lost a race
    /// against another transaction: what it did besides must be as good done twice.
    /// - Throws: `Overloaded` when too much waits to be sent, `Unpublishable` for an event that is too large, or what the
    ///   body or the transaction throws.
    public func commit<Result: Sendable>(
        _ body: @escaping @Sendable (UnitOfWork) async throws -> Result
    ) async throws -> Result {
        let (isLeading, isFull) = state.withLock { ($0.isLeading, $0.waitingBytes > Self.waitingBytesMax) }
        if isFull { throw Overloaded() }
        let clusterID = try await knownClusterID()
        let began = context.tracer.isOn ? Tracer.now() : 0
        let (result, bytes, report) = try await context.postgres.retryingTransaction { transaction in
            let unit = UnitOfWork(transaction: transaction, now: self.context.now(), origin: self.origin)
            let result = try await body(unit)
            let records: RecordBatch
            do throws(Unappliable) {
                records = try unit.packed()
            } catch {
                throw Unpublishable(reason: error.reason)
            }
            if !records.isEmpty {
                // Last: behind every lock of the transaction, so that the numbers of one key are in the order of commits.
                transaction.finish(
                    """
                    INSERT INTO outbox (stream, sequence, cluster_id, records)
                    VALUES (\(PipelineSchema.commandStream), nextval('outbox_commands'), \(clusterID), \(records.bytes))
                    """)
                if !isLeading { transaction.finish("SELECT pg_notify(\(self.channel), '')") }
            }
            return (result, records.bytes.count, unit.report)
        }
        report.count()
        if context.tracer.isOn { trace(report, began) }
        if bytes > 0 {
            state.withLock {
                $0.waitingBytes += bytes
                waitingBytes.set(Double($0.waitingBytes))
            }
            context.tracer.recordPublished(report.spans, start: began)
            if isLeading { wakeup.signal() }
        }
        return result
    }

    /// Asked for once. A component that started before may commit before `start`.
    private func knownClusterID() async throws(KafkaError) -> String {
        if let known = state.withLock({ $0.clusterID }) { return known }
        let clusterID = try await KafkaAdmin(context.kafka).clusterID()
        state.withLock { $0.clusterID = clusterID }
        return clusterID
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

    /// Versions before the publisher was one for all instances left their rows in a stream of each instance: those that
    /// nobody has sent for a while are put into the one line.
    private func adoptOlderRows() async throws {
        try await context.postgres.execute(
            """
            WITH gone AS (
                -- Reads more: all that is not published yet, once at the start.
                DELETE FROM outbox WHERE stream LIKE 'relay/%' AND created_at < now() - interval '15 seconds'
                RETURNING cluster_id, records, created_at, stream, sequence
            )
            INSERT INTO outbox (stream, sequence, cluster_id, records)
            SELECT \(PipelineSchema.commandStream), nextval('outbox_commands'), cluster_id, records
            FROM (SELECT * FROM gone ORDER BY created_at, stream, sequence) AS ordered
            """)
    }

    // MARK: The publisher

    private func publish() async {
        var machine = PublisherMachine()
        var rows: [Int64: RecordBatch] = [:]
        var action = machine.last
        while action != .end {
            let event = await perform(action, &rows)
            if case .failed(let fate) = event {
                let details = ["component": name, "error": fate.reason]
                if case .fatal = fate {
                    if machine.standing == nil {
                        context.log.error("nothing is published until the cause is gone", details)
                    }
                } else {
                    context.log.warning("publishing will be tried again", details)
                }
            }
            action = machine.handle(event)
            state.withLock {
                $0.isLeading = machine.isLeading
                $0.standing = machine.standing
            }
        }
    }

    private func perform(
        _ action: PublisherMachine.Action, _ rows: inout [Int64: RecordBatch]
    ) async -> PublisherMachine.Event {
        do {
            switch action {
            case .look(let forget): return .looked(try await look(forget, &rows))
            case .send(let numbers):
                var records = RecordBatch()
                for number in numbers { if let row = rows[number] { records.append(contentsOf: row) } }
                try await sender.send(records)
                published.add(records.counts(ofHeader: "ce_type"))
                return .sent
            case .wait(let duration):
                _ = await wakeup.wait(milliseconds: Int(duration / .milliseconds(1)))
                return isStopping ? .ending : .woken
            case .rest(let duration):
                try? await Task.sleep(for: duration)
                return isStopping ? .ending : .rested
            case .release(let forget):
                try await context.postgres.transaction { transaction in
                    transaction.finish([
                        self.delete(forget),
                        "DELETE FROM publishers WHERE name = \(PipelineSchema.commandStream) AND holder = \(self.holder)",
                        "SELECT pg_notify(\(self.channel), '')",
                    ])
                }
                return .released
            case .end: return .released
            }
        } catch {
            return .failed(Fate(of: error))
        }
    }

    private var isStopping: Bool { state.withLock { $0.isStopping } }

    private func delete(_ rows: [Int64]) -> SQL {
        PipelineSchema.forget(rows, of: PipelineSchema.commandStream)
    }

    private func look(
        _ forget: [Int64], _ rows: inout [Int64: RecordBatch]
    ) async throws -> PublisherMachine.Look {
        let stream = PipelineSchema.commandStream
        let (holder, delete) = (holder, delete(forget))
        let found = try await context.postgres.transaction { transaction in
            try await transaction.pipeline([
                // Who sees a row after a crash that was deleted before it sends it again, in its place before all that
                // came later: nothing to wait for the disk for.
                "SET LOCAL synchronous_commit = off",
                delete,
                "SELECT hold_publisher(\(stream), \(holder), \(Int32(PublisherMachine.leaseSeconds)))",
                """
                SELECT coalesce(sum(octet_length(records)), 0)::bigint FROM outbox
                -- Reads more: adds up what is not published yet, of which there are so many bytes at most.
                WHERE stream = \(stream)
                """,
                """
                SELECT sequence, records FROM (
                    SELECT sequence, records, sum(octet_length(records)) OVER (ORDER BY sequence) AS upto
                    FROM (SELECT sequence, records FROM outbox WHERE stream = \(stream)
                        ORDER BY sequence LIMIT \(Int64(Self.rowsMax))) AS first
                ) AS counted
                WHERE upto - octet_length(records) < \(Int64(Self.bytesMax))
                    AND EXISTS (SELECT FROM publishers WHERE name = \(stream) AND holder = \(holder))
                ORDER BY sequence
                """,
            ])
        }
        let waiting = Int(try found[3][0].get(0, as: Int64.self))
        state.withLock {
            $0.waitingBytes = waiting
            waitingBytes.set(Double(waiting))
        }
        rows = [:]
        guard try found[2][0].get(0, as: Bool.self) else { return .follows }
        var numbers: [Int64] = []
        var bytes = 0
        for row in found[4] {
            let number: Int64 = try row.get(0)
            let records = try RecordBatch(bytes: row.get(1))
            numbers.append(number)
            bytes += records.bytes.count
            rows[number] = records
        }
        return .leads(numbers, more: bytes < waiting)
    }
}

/// More is waiting than the service takes on. Answered 503 with Retry-After.
public struct Overloaded: ProblemConvertible, Sendable, CustomStringConvertible {
    public init() {}
    public var problem: Problem { .unavailable(retryAfterSeconds: 1, "More is waiting than the service takes on.") }
    public var description: String { "more is waiting than the service takes on; try again shortly" }
}

/// What a command would publish cannot be sent. Answered 422; nothing was changed.
public struct Unpublishable: ProblemConvertible, Sendable, CustomStringConvertible {
    public let reason: String
    public var problem: Problem { .unprocessable("The event that this would publish is too large.") }
    public var description: String { reason }
}
