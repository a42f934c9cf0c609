// One partition's events, applied exactly once: offset, effect and outbox in one transaction, published after it.
import Kafka
import Models
import Observability
import Postgres
import ServiceKit

/// What all partitions of a processor have in common.
struct PartitionWork: Sendable {
    let processor: String
    let topic: Topic
    let clusterID: String
    let recordsMax: Int
    let pace: Duration
    let handler: any EventHandler
    let context: ServiceContext
    let origin: EventOrigin
    let counters: EventCounters
    let published: PublishedCounters
    let tracing: ConsumerTracing
    let batchSeconds: Histogram
    let progress = Progress()
    /// Partitions that are worked on at a time: batches and their answers are what takes memory.
    let turns = Turns(Self.turnsMax)

    private static let turnsMax = 4

    init(
        processor: String, topic: Topic, clusterID: String, recordsMax: Int, pace: Duration,
        handler: any EventHandler, context: ServiceContext
    ) {
        self.processor = processor
        self.topic = topic
        self.clusterID = clusterID
        self.recordsMax = recordsMax
        self.pace = pace
        self.handler = handler
        self.context = context
        counters = EventCounters(context.metrics, processor: processor, topic: topic)
        origin = EventOrigin(service: context.serviceName, tracer: context.tracer)
        tracing = ConsumerTracing(context.tracer, group: "\(context.serviceName).\(processor)")
        published = PublishedCounters(context.metrics)
        batchSeconds = context.metrics.histogram(
            "stampede_batch_seconds", help: "From taking a batch to the last acknowledgement of what it published",
            labels: ["processor": processor], buckets: [0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5])
    }

    /// The stored offset, `PipelineSchema.beginning` where nothing of this cluster's partition was processed yet.
    func claim(_ partition: Int32) async throws(PostgresError) -> Int64 {
        let rows = try await context.postgres.query(
            "SELECT claim_partition(\(processor), \(topic.name), \(partition), \(clusterID))")
        return try rows[0].get(0)
    }

    /// Kafka's copies of the offsets are written after the stored ones: where one is ahead, the database has gone back
    /// in time.
    func requireNotOlder(than committed: [TopicPartition: Int64]) async throws {
        let rows = try await context.postgres.query(
            """
            SELECT partition, next_offset FROM consumer_offsets
            WHERE processor = \(processor) AND topic = \(topic.name) AND cluster_id = \(clusterID)
            """)
        var stored: [Int32: Int64] = [:]
        for row in rows { stored[try row.get(0)] = try row.get(1, as: Int64.self) }
        for (partition, offset) in committed.sorted(by: { $0.key < $1.key }) {
            try requireNotOlder(
                partition.partition, stored[partition.partition] ?? PipelineSchema.beginning, than: offset)
        }
    }

    /// - Parameter known: an offset that was stored once.
    func requireNotOlder(_ partition: Int32, _ stored: Int64, than known: Int64?) throws(OlderSchema) {
        guard let known, stored < known else { return }
        throw OlderSchema(
            service: context.serviceName, topic: topic, partition: partition, stored: stored, known: known)
    }
}

/// The service would apply once more what it has applied and published already, and not always in the same way.
struct OlderSchema: Error, CustomStringConvertible {
    let service: String
    let topic: Topic
    let partition: Int32
    let stored: Int64
    let known: Int64

    var description: String {
        "the schema \(service) is older than what the service has published: it goes on with offset \(max(0, stored)) of "
            + "\(topic.name) [\(partition)], but everything before \(known) was applied already; see docs/backup.md, "
            + "\"A schema that came back older\""
    }
}

/// The processing of one partition while it is assigned to this instance. One task runs it.
final class PartitionProcessor {
    private let work: PartitionWork
    private let feed: PartitionFeed
    private let tellKafka: (Int64) -> Void
    private let partition: Int32
    private let stream: String
    /// Where the partition's offset stands in the database.
    private var next: Int64 = PipelineSchema.beginning
    /// The outbox still holds rows that are published.
    private var outboxIsStale = false
    /// When the next batch may be taken if it is not a large one.
    private var nextTurn = ContinuousClock.now
    private var nextCommitToKafka = ContinuousClock.now
    /// What Kafka was told last.
    private var committedToKafka: Int64 = PipelineSchema.beginning

    private var log: Logger { work.context.log }
    private var tracer: Tracer { work.tracing.tracer }
    private var postgres: PostgresPool { work.context.postgres }

    /// How long a published outbox row waits for the next batch's transaction to take it along, and Kafka for its copy of
    /// the offset.
    private static let idleMilliseconds = 500
    /// Kafka's copy of the offset is for lag tools, which do not look more often, and for noticing a database that has
    /// gone back further than that.
    private static let commitToKafkaInterval = Duration.seconds(1)
    /// Dead letters of one transaction that are told in the log; all of them are counted.
    private static let deadLoggedMax = 10
    /// Times that a batch may collide with what another partition or instance wrote meanwhile.
    private static let conflictsMax = 5

    init(_ work: PartitionWork, _ feed: PartitionFeed, commitToKafka: @escaping (Int64) -> Void) {
        self.work = work
        self.feed = feed
        tellKafka = commitToKafka
        partition = feed.partition.partition
        stream = "\(work.processor)/\(work.topic.name)/\(partition)"
    }

    /// Returns when the partition goes. Throws when it must stand still: its log no longer holds the stored offset, or the
    /// database has gone back in time.
    func run() async throws {
        defer { work.progress.ended(partition) }
        do {
            next = try await stored()
            work.progress.began(partition, next: next)
            try await publishLeftovers()
            while let batch = try await feed.next(
                recordsMax: work.recordsMax,
                waitMilliseconds: outboxIsStale || committedToKafka != next ? Self.idleMilliseconds : nil)
            {
                if batch.isEmpty {
                    commitToKafka()
                    if outboxIsStale { try await clearOutbox() }
                } else {
                    try await take(batch)
                    if batch.count < work.recordsMax / 2 { try await waitForTurn() }
                }
            }
            commitToKafka()
            if outboxIsStale { try await clearOutbox() }
        } catch is PartitionGone {
            // What is not applied comes again, to whoever has the partition then.
        }
    }

    /// The first event after a pause is applied at once; under load a batch gathers what comes within the pace, because a
    /// transaction costs the same for one event and for hundreds.
    private func waitForTurn() async throws {
        try? await Task.sleep(until: nextTurn)
    }

    private func commitToKafka() {
        tellKafka(next)
        committedToKafka = next
    }

    private func take(_ batch: ConsumedBatch) async throws {
        let started = ContinuousClock.now
        nextTurn = started + work.pace
        work.progress.took(partition, firstAt: Timestamp(milliseconds: batch.first?.timestamp ?? 0))
        do {
            try await work.turns.take { try await apply(Array(batch)[...]) }
            if started >= nextCommitToKafka {
                commitToKafka()
                nextCommitToKafka = started + Self.commitToKafkaInterval
            }
            work.batchSeconds.observe(ContinuousClock.now - started)
            work.progress.applied(partition, next: next)
        } catch is Superseded {
            log.warning(
                "another instance has taken this partition over", ["processor": work.processor, "stream": stream])
            next = try await stored()
            work.progress.applied(partition, next: next)
            try await feed.seek(to: max(next, 0))
        }
    }

    /// Applies the records in as many transactions as the handler cuts them into, and in halves when one of them cannot be
    /// applied, until that one is found.
    private func apply(_ records: ArraySlice<ConsumedRecord>) async throws {
        var rest = records
        while let first = rest.first {
            let batch = EventBatch(
                topic: work.topic, records: rest, counters: work.counters, tracing: work.tracing)
            let outcome: Outcome
            do {
                outcome = try await commit(batch) { try await self.work.handler.apply(batch, $0) }
            } catch let error as Unappliable {
                if rest.count > 1 {
                    let middle = rest.startIndex + rest.count / 2
                    try await apply(rest[..<middle])
                    return try await apply(rest[middle...])
                }
                log.error(
                    "a record cannot be applied and goes to the dead letters",
                    ["stream": stream, "offset": "\(first.offset)", "error": error.reason])
                outcome = try await commit(batch) { $0.dead(first, reason: error.reason) }
            }
            next = outcome.nextOffset
            let applied = batch.prefix(before: outcome.nextOffset)
            try await publish(outcome, applied)
            rest = rest.dropFirst(applied.count)
        }
    }

    // MARK: The transaction

    private struct Outcome {
        var records = RecordBatch()
        var report = StepReport()
        var recipe: [UInt8]?
        var nextOffset: Int64
        /// The commit's answer was lost, but its offset is there: what it published is in the outbox.
        var isRecovered = false
    }

    /// Runs `body` in a transaction that also moves the offset and fills the outbox; again and again while what it needs
    /// is away.
    private func commit(_ batch: EventBatch, _ body: (Step) async throws -> Void) async throws -> Outcome {
        var backoff = Backoff()
        var conflicts = 0
        var preparations = 0
        while true {
            let obstacle: any Error
            do {
                let began = tracer.isOn ? Tracer.now() : 0
                let outcome = try await attempt(batch, body)
                committed(outcome.report, began)
                return outcome
            } catch let again as TryAgain {
                preparations += 1
                // Others may take away what was prepared; they make progress then.
                if preparations > TryAgain.promptMax { try await pause(&backoff) }
                do {
                    try await again.preparation()
                    continue
                } catch {
                    obstacle = error
                }
            } catch let error as PostgresError {
                if error.sqlState == PipelineSchema.supersededState { throw Superseded() }
                if error.isUniqueViolation, conflicts < Self.conflictsMax {
                    // Another partition, or another instance, wrote the same key meanwhile: now it can be seen.
                    conflicts += 1
                    continue
                }
                if error.isOfTheData { throw Unappliable(reason: error.description) }
                obstacle = error
            } catch {
                obstacle = error
            }
            log.warning("a batch will be tried again", ["stream": stream, "error": "\(obstacle)"])
            try await pause(&backoff)
            // The commit may have happened before the connection broke.
            let stands = try await stored()
            if stands == next { continue }
            guard stands > batch.firstOffset, stands <= batch.nextOffset else { throw Superseded() }
            return Outcome(nextOffset: stands, isRecovered: true)
        }
    }

    private func committed(_ report: StepReport, _ began: Int64) {
        report.count()
        if tracer.isOn { trace(report, began) }
        if report.dead.isEmpty { return }
        work.counters.dead.add(report.dead.count)
        for (record, reason) in report.dead.prefix(Self.deadLoggedMax) {
            TraceContext.$current.withValue(TraceContext(of: record)) {
                log.warning(
                    "a record went to the dead letters",
                    ["stream": stream, "offset": "\(record.offset)", "reason": reason])
            }
        }
    }

    private func trace(_ report: StepReport, _ began: Int64) {
        let end = Tracer.now()
        let failed = report.dead.compactMap { ConsumedSpan($0.record, work.tracing, failure: $0.reason) }
        let failedAt = Set(failed.map(\.offset))
        let spans = report.consumed.filter { !failedAt.contains($0.offset) } + failed
        tracer.recordConsumed(
            spans, topic: work.topic, partition: partition, group: work.tracing.group, start: began, end: end)
        tracer.recordTransaction(spans.map(\.context), start: began, end: end)
    }

    private func attempt(_ batch: EventBatch, _ body: (Step) async throws -> Void) async throws -> Outcome {
        try await postgres.transaction { transaction in
            let step = Step(transaction: transaction, now: work.context.now(), origin: work.origin)
            try await body(step)
            let outcome = Outcome(
                records: step.packed(), report: step.report, recipe: step.recipe,
                nextOffset: step.stopOffset ?? batch.nextOffset)
            var last: [SQL] = [
                """
                SELECT advance_offset(\(work.processor), \(work.topic.name), \(partition), \(work.clusterID), \(next),
                    \(outcome.nextOffset))
                """
            ]
            if outboxIsStale {
                last.append("DELETE FROM outbox WHERE stream = \(stream) AND sequence < \(batch.firstOffset)")
            }
            if !outcome.records.isEmpty || outcome.recipe != nil {
                last.append(
                    """
                    INSERT INTO outbox (stream, sequence, cluster_id, records, recipe, next_offset)
                    VALUES (\(stream), \(batch.firstOffset), \(work.clusterID), \(outcome.records.bytes), \(outcome.recipe as [UInt8]?),
                        \(outcome.nextOffset))
                    """)
            }
            transaction.finish(last)
            return outcome
        }
    }

    /// Where the database has it now, which is never before where this instance left it.
    private func stored() async throws -> Int64 {
        let stored = try await untilItWorks { () throws in try await self.work.claim(self.partition) }
        try work.requireNotOlder(partition, stored, than: next)
        return stored
    }

    // MARK: The outbox

    private func publish(_ outcome: Outcome, _ batch: EventBatch) async throws {
        if outcome.isRecovered { return try await publishLeftovers() }
        outboxIsStale = false
        if !outcome.records.isEmpty {
            let began = tracer.isOn ? Tracer.now() : 0
            try await send(outcome.records)
            work.published.add(outcome.report.published)
            tracer.recordPublished(outcome.report.spans, start: began)
        }
        if let recipe = outcome.recipe { try await sendRendered(batch, recipe) }
        outboxIsStale = !outcome.records.isEmpty || outcome.recipe != nil
    }

    private func sendRendered(_ batch: EventBatch, _ recipe: [UInt8]) async throws {
        var outgoing = Outgoing(origin: work.origin)
        try work.handler.render(batch, recipe: recipe, into: &outgoing)
        let began = tracer.isOn ? Tracer.now() : 0
        try await send(outgoing.records)
        work.published.add(outgoing.published)
        tracer.recordPublished(outgoing.spans, start: began)
    }

    /// Publishes what an earlier owner of the partition, or this one before a fault, committed and may not have sent.
    private func publishLeftovers() async throws {
        let rows = try await untilItWorks { () throws in
            try await self.postgres.query(
                """
                SELECT sequence, cluster_id, records, recipe, next_offset FROM outbox
                WHERE stream = \(self.stream) ORDER BY sequence
                """)
        }
        for row in rows {
            try await send(try RecordBatch(bytes: row.get(2)))
            guard let recipe: [UInt8] = try row.get(3) else { continue }
            let (first, end): (Int64, Int64) = (try row.get(0), try row.get(4))
            guard try row.get(1, as: String.self) == work.clusterID else {
                log.error(
                    "answers to records of a broker that is gone cannot be published: their input is gone with it",
                    ["stream": stream, "first_offset": "\(first)", "next_offset": "\(end)"])
                continue
            }
            try await sendRendered(try await reread(from: first, to: end), recipe)
        }
        outboxIsStale = !rows.isEmpty
    }

    /// The records of a committed batch, read from the log again.
    private func reread(from first: Int64, to end: Int64) async throws -> EventBatch {
        let reader = try await TopicReader(
            work.context.kafka, topic: work.topic.name, partitions: [partition], from: .offsets([partition: first]),
            log: log, metrics: work.context.metrics)
        var records: [ConsumedRecord] = []
        var position = first
        while position < end, let batches = try await reader.next(recordsMax: work.recordsMax) {
            for record in batches.joined() where record.offset < end { records.append(record) }
            position = batches.map(\.nextOffset).max() ?? position
        }
        await reader.close()
        return EventBatch(
            topic: work.topic, records: records[...], counters: work.counters, tracing: work.tracing)
    }

    /// Nothing more to do: forgets what is published.
    private func clearOutbox() async throws {
        _ = try await untilItWorks { () throws in
            try await self.postgres.execute("DELETE FROM outbox WHERE stream = \(self.stream)")
        }
        outboxIsStale = false
    }

    // MARK: Waiting for what is away

    private func send(_ records: RecordBatch) async throws {
        if records.isEmpty { return }
        try await untilItWorks { () throws in try await self.work.context.producer.send(records) }
    }

    /// Ends with `PartitionGone` when the partition goes before the work is done.
    private func untilItWorks<Result>(_ body: () async throws -> Result) async throws -> Result {
        var backoff = Backoff()
        while true {
            do {
                return try await body()
            } catch {
                log.warning("will be tried again", ["stream": stream, "error": "\(error)"])
                try await pause(&backoff)
            }
        }
    }

    private func pause(_ backoff: inout Backoff) async throws {
        if feed.hasEnded || Task.isCancelled { throw PartitionGone() }
        try? await backoff.wait()
        if feed.hasEnded || Task.isCancelled { throw PartitionGone() }
    }
}

/// Another instance has moved the partition's offset.
private struct Superseded: Error {}

/// The partition is no longer this instance's.
private struct PartitionGone: Error {}

/// The batch fails whenever it is tried.
private struct Unappliable: Error { let reason: String }

/// Waits longer with every failure: 50 ms to 5 s.
struct Backoff {
    private var milliseconds = 50

    mutating func wait() async throws {
        try await Task.sleep(for: .milliseconds(milliseconds))
        milliseconds = min(milliseconds * 2, 5000)
    }
}

extension PostgresError {
    /// The values are at fault (classes 22, 23 and 54 of SQLSTATE): no retry helps, and another record may do well.
    fileprivate var isOfTheData: Bool { ["22", "23", "54"].contains(sqlState.prefix(2)) }
}
