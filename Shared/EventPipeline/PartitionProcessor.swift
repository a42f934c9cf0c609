// One partition's events, applied exactly once: carries out what `PartitionMachine` decides.
import Kafka
import Models
import Observability
import Postgres
import ServiceKit

/// The processing of one partition while it is assigned to this instance. One task runs it.
final class PartitionProcessor {
    private let work: PartitionWork
    private let feed: PartitionFeed
    private let tellKafka: (Int64) -> Void
    private let partition: Int32
    private let stream: String
    private let sender: RecordSender

    private var machine: PartitionMachine
    /// The records at hand.
    private var records: [ConsumedRecord] = []
    /// What was committed last, and the records that it came from.
    private var outcome: (made: Outcome, from: EventBatch)?
    /// The rows that were found in the outbox.
    private var leftovers: [Int64: Leftover] = [:]
    private var preparation: (@Sendable () async throws -> Void)?
    private var pace: Pace
    /// When the next batch may be taken if the last was not a large one; nil: at once.
    private var nextTurn: ContinuousClock.Instant?
    private var batchTaken: ContinuousClock.Instant?
    private var nextCommitToKafka = ContinuousClock.now
    /// What Kafka was told last.
    private var committedToKafka: Int64 = PipelineSchema.beginning
    /// An offset that was stored, and at which the log went on: one that is stored later is not before it.
    private var known: Int64 = PipelineSchema.beginning
    /// The log has given records, or has none: where fetching goes on from is right.
    private var hasFetched = false
    private var hasTurn = false
    private var hasBegun = false

    private var log: Logger { work.context.log }
    private var tracer: Tracer { work.tracing.tracer }
    private var postgres: PostgresPool { work.context.postgres }

    /// How long a published outbox row waits for the next batch's transaction to take it along, and Kafka for its copy of
    /// the offset.
    private static let idleMilliseconds = 500
    /// Kafka's copy of the offset is for lag tools, which do not look more often, and for noticing a database that has
    /// gone back further than that.
    private static let commitToKafkaInterval = Duration.seconds(1)
    /// Events within each pace that need not gather.
    private static let freeMax = 8
    /// Dead letters of one transaction that are told in the log; all of them are counted.
    private static let deadLoggedMax = 10
    /// How long a batch that was committed is read again before that counts as failed.
    private static let rereadMilliseconds = 10_000

    private struct Outcome {
        var records = RecordBatch()
        var report = StepReport()
        var deferred: [UInt8]?
        var nextOffset: Int64

        var owes: Bool { !records.isEmpty || deferred != nil }
    }

    private struct Leftover {
        let clusterID: String
        let records: RecordBatch
        let deferred: [UInt8]?
        let nextOffset: Int64?
    }

    init(_ work: PartitionWork, _ feed: PartitionFeed, commitToKafka: @escaping (Int64) -> Void) {
        self.work = work
        self.feed = feed
        tellKafka = commitToKafka
        pace = Pace(interval: work.pace, freeMax: Self.freeMax)
        machine = PartitionMachine(fetchesFrom: feed.start ?? PipelineSchema.beginning)
        partition = feed.partition.partition
        stream = "\(work.processor)/\(work.topic.name)/\(partition)"
        sender = RecordSender(producer: work.context.producer, service: work.context.serviceName, log: work.context.log)
    }

    /// Returns when the partition goes. Whatever fails meanwhile ends in its fate; only where fetching itself has failed
    /// it throws, to be started anew.
    func run() async throws {
        var action = machine.last
        while action != .end {
            let event = await perform(action)
            if case .failed(let fate) = event { tell(fate, of: action) }
            let stood = machine.standing
            action = machine.handle(event)
            switch event {
            case .taken, .committed: known = machine.next
            default: break
            }
            if machine.standing != stood { work.stands(partition, machine.standing) }
        }
        giveTurn()
        work.progress.ended(partition)
        if let failure = machine.failure { throw failure }
        work.stands(partition, nil)
    }

    private func tell(_ fate: Fate, of action: PartitionMachine.Action) {
        let details = ["stream": stream, "error": fate.reason]
        switch fate {
        case .unappliable: log.debug("a run of records cannot be applied", details)
        case .outage, .transient: log.warning("a batch will be tried again", details)
        case .fatal where machine.standing != nil: break
        case .fatal: log.error("the partition stands still until the cause is gone", details)
        }
    }

    private func perform(_ action: PartitionMachine.Action) async -> PartitionMachine.Event {
        do {
            switch action {
            case .claim: return .claimed(try await claim())
            case .load: return .loaded(try await load())
            case .seek(let offset):
                try await feed.seek(to: offset == PipelineSchema.beginning ? nil : offset)
                return .sought
            case .take(let isBounded): return try await take(isBounded)
            case .commit(let run, let expected, let forget):
                return try await commit(batch(run), expected, forget) { [work] batch, unit in
                    try await work.handler.apply(batch, unit)
                }
            case .bury(let index, let reason, let expected, let forget):
                let record = records[index]
                log.error(
                    "a record cannot be applied and goes to the dead letters",
                    ["stream": stream, "offset": "\(record.offset)", "error": reason])
                return try await commit(batch(index..<index + 1), expected, forget) { _, unit in
                    unit.dead(record, reason: reason)
                }
            case .prepare:
                try await preparation?()
                return .prepared
            case .send:
                try await sendOutcome()
                return .sent
            case .sendLeftover(let row):
                try await sendLeftover(row)
                return .sent
            case .clear(let rows):
                try await postgres.execute(PipelineSchema.forget(rows, of: stream))
                return .cleared
            case .rest(let duration):
                giveTurn()
                await feed.waitForEnd(atMost: duration)
                return isGone ? .gone : .rested
            case .end: return .gone
            }
        } catch let error as TryAgain {
            preparation = error.preparation
            return .unprepared
        } catch is PartitionGone {
            return .gone
        } catch let error as PostgresError where error.sqlState == PipelineSchema.supersededState {
            log.warning(
                "another instance has taken this partition over", ["processor": work.processor, "stream": stream])
            return .superseded
        } catch {
            return .failed(Fate(of: error))
        }
    }

    private var isGone: Bool { feed.hasEnded || Task.isCancelled }

    // MARK: Records

    private func take(_ isBounded: Bool) async throws -> PartitionMachine.Event {
        let wasLarge = records.count >= work.recordsMax / 2
        // Nothing of the last batch stays while this partition waits: only those whose turn it is take memory.
        records = []
        finishBatch()
        giveTurn()
        // A few events are applied as they come; under load a batch gathers what comes within the pace, because a
        // transaction costs the same for one event and for hundreds.
        if let nextTurn, !wasLarge { try? await Task.sleep(until: nextTurn) }
        let mayIdle = isBounded || committedToKafka != machine.next || !hasFetched
        guard
            let batch = try await feed.next(
                recordsMax: work.recordsMax, waitMilliseconds: mayIdle ? Self.idleMilliseconds : nil)
        else {
            commitToKafka()
            return .gone
        }
        if !hasFetched {
            hasFetched = if batch.isEmpty { await logHolds(machine.next) } else { true }
            if hasFetched { work.stands(partition, nil) }
        }
        if batch.isEmpty {
            commitToKafka()
            return .idle
        }
        let now = ContinuousClock.now
        batchTaken = now
        nextTurn = pace.took(batch.count, at: now)
        work.progress.took(partition, firstAt: Timestamp(milliseconds: batch.first?.timestamp ?? 0))
        records = Array(batch)
        await takeTurn()
        return .taken(records.map(\.offset))
    }

    private func finishBatch() {
        guard let batchTaken else { return }
        self.batchTaken = nil
        if batchTaken >= nextCommitToKafka {
            commitToKafka()
            nextCommitToKafka = batchTaken + Self.commitToKafkaInterval
        }
        work.batchSeconds.observe(ContinuousClock.now - batchTaken)
        work.progress.applied(partition, next: machine.next)
        outcome = nil
    }

    /// Whether fetching from the offset can be right. That nothing came says nothing of it: that the log does not hold it may
    /// come later.
    private func logHolds(_ offset: Int64) async -> Bool {
        if offset == PipelineSchema.beginning { return true }
        let logs = try? await work.context.producer.watermarks(of: work.topic.name, [partition], timeoutSeconds: 1)
        return logs?[partition].map { $0.low <= offset && offset <= $0.high } ?? false
    }

    /// An offset that the log was never seen to hold is nobody's to believe in: whoever sets it right would go back.
    private func commitToKafka() {
        guard hasFetched, machine.next != PipelineSchema.beginning else { return }
        tellKafka(machine.next)
        committedToKafka = machine.next
    }

    private func batch(_ run: Range<Int>) -> EventBatch {
        EventBatch(topic: work.topic, records: records[run], counters: work.counters, tracing: work.tracing)
    }

    /// Batches and their answers are what takes memory: only so many partitions of a processor work at a time.
    private func takeTurn() async {
        if hasTurn { return }
        // Who is cancelled while it waits goes on without, to end at whatever it does next.
        hasTurn = (try? await work.turns.enter()) != nil
    }

    private func giveTurn() {
        if hasTurn { work.turns.leave() }
        hasTurn = false
    }

    // MARK: The transaction

    private func claim() async throws -> Int64 {
        let stored = try await work.claim(partition)
        try work.requireNotOlder(partition, stored, than: known)
        return stored
    }

    /// Runs `body` in a transaction that also moves the offset, fills the outbox and takes out of it what is acknowledged.
    private func commit(
        _ batch: EventBatch, _ expected: Int64, _ forget: [Int64], _ body: (EventBatch, UnitOfWork) async throws -> Void
    ) async throws -> PartitionMachine.Event {
        await takeTurn()
        let began = tracer.isOn ? Tracer.now() : 0
        let outcome = try await postgres.transaction { transaction in
            let unit = UnitOfWork(transaction: transaction, now: work.context.now(), origin: work.origin)
            try await body(batch, unit)
            let outcome = Outcome(
                records: try unit.packed(), report: unit.report, deferred: unit.deferred,
                nextOffset: unit.stopOffset ?? batch.nextOffset)
            var last: [SQL] = [
                """
                SELECT advance_offset(\(work.processor), \(work.topic.name), \(partition), \(work.clusterID), \(expected),
                    \(outcome.nextOffset))
                """
            ]
            if !forget.isEmpty {
                last.append(PipelineSchema.forget(forget, of: stream))
            }
            if outcome.owes {
                last.append(
                    """
                    INSERT INTO outbox (stream, sequence, cluster_id, records, recipe, next_offset)
                    VALUES (\(stream), \(batch.firstOffset), \(work.clusterID), \(outcome.records.bytes),
                        \(outcome.deferred as [UInt8]?), \(outcome.nextOffset))
                    """)
            }
            transaction.finish(last)
            return outcome
        }
        committed(outcome.report, began)
        let applied = batch.prefix(before: outcome.nextOffset)
        self.outcome = (outcome, applied)
        return .committed(.init(next: outcome.nextOffset, count: applied.count, owes: outcome.owes))
    }

    private func committed(_ report: StepReport, _ began: Int64) {
        report.count()
        work.committed()
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

    // MARK: The outbox

    /// What an earlier owner of the partition, or this one before a fault, committed and may not have sent.
    private func load() async throws -> [Int64] {
        let rows = try await postgres.query(
            """
            SELECT sequence, cluster_id, records, recipe, next_offset FROM outbox
            WHERE stream = \(stream) ORDER BY sequence
            """)
        leftovers = [:]
        var order: [Int64] = []
        for row in rows {
            let sequence: Int64 = try row.get(0)
            order.append(sequence)
            leftovers[sequence] = Leftover(
                clusterID: try row.get(1), records: try RecordBatch(bytes: row.get(2)), deferred: try row.get(3),
                nextOffset: try row.get(4))
        }
        if !hasBegun { work.progress.began(partition, next: machine.next) }
        hasBegun = true
        return order
    }

    private func sendOutcome() async throws {
        guard let (made, batch) = outcome else { return }
        if !made.records.isEmpty {
            let began = tracer.isOn ? Tracer.now() : 0
            try await deliver(made.records)
            work.published.add(made.report.published)
            tracer.recordPublished(made.report.spans, start: began)
        }
        if let deferred = made.deferred { try await sendRendered(batch, deferred) }
    }

    private func sendRendered(_ batch: EventBatch, _ deferred: [UInt8]) async throws {
        var outgoing = Outgoing(origin: work.origin)
        do {
            try work.handler.render(batch, deferred: deferred, into: &outgoing)
        } catch {
            throw Fatal(
                reason:
                    "what was committed for \(stream) from offset \(batch.firstOffset) cannot be written as events by "
                    + "this version of \(work.context.serviceName), start the one that committed it: \(error)")
        }
        let began = tracer.isOn ? Tracer.now() : 0
        try await deliver(outgoing.records)
        work.published.add(outgoing.published)
        tracer.recordPublished(outgoing.spans, start: began)
    }

    private func sendLeftover(_ sequence: Int64) async throws {
        guard let row = leftovers[sequence] else { return }
        try await deliver(row.records)
        guard let deferred = row.deferred, let end = row.nextOffset else { return }
        guard row.clusterID == work.clusterID else {
            return log.error(
                "answers to records of a broker that is gone cannot be published: their input is gone with it",
                ["stream": stream, "first_offset": "\(sequence)", "next_offset": "\(end)"])
        }
        try await sendRendered(try await reread(from: sequence, to: end), deferred)
    }

    /// The records of a committed batch, read from the log again.
    private func reread(from first: Int64, to end: Int64) async throws -> EventBatch {
        let reader = try await TopicReader(
            work.context.kafka, topic: work.topic.name, partitions: [partition], from: .offsets([partition: first]),
            log: log, metrics: work.context.metrics)
        var records: [ConsumedRecord] = []
        var position = first
        do {
            while position < end,
                let batches = try await reader.next(
                    recordsMax: work.recordsMax, waitMilliseconds: Self.rereadMilliseconds)
            {
                for record in batches.joined() where record.offset < end { records.append(record) }
                position = batches.map(\.nextOffset).max() ?? position
                if batches.isEmpty {
                    if reader.isAtEnd { break }
                    throw Fatal(
                        reason: "\(work.topic.name) [\(partition)] gave nothing from offset \(position) on for "
                            + "\(Self.rereadMilliseconds / 1000) s: see whether the broker serves it")
                }
            }
        } catch {
            await reader.close()
            throw error
        }
        await reader.close()
        return EventBatch(
            topic: work.topic, records: records[...], counters: work.counters, tracing: work.tracing)
    }

    /// Sends, and gives up waiting, not the work, when the partition goes: what is under way may still arrive, and is in
    /// the outbox.
    private func deliver(_ records: RecordBatch) async throws {
        if isGone { throw PartitionGone() }
        let (outcomes, outcome) = AsyncStream.makeStream(
            of: Result<Void, any Error>.self, bufferingPolicy: .bufferingOldest(1))
        Task { [sender] in
            do {
                try await sender.send(records)
                outcome.yield(.success(()))
            } catch {
                outcome.yield(.failure(error))
            }
        }
        let ending = Task { [feed] in
            await feed.waitForEnd()
            outcome.yield(.failure(PartitionGone()))
        }
        defer { ending.cancel() }
        for await result in outcomes { return try result.get() }
        throw PartitionGone()
    }
}

/// The partition is no longer this instance's.
private struct PartitionGone: Error {}
