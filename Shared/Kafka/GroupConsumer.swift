// A member of a consumer group. `run` is one loop that is woken by rebalances and by what its partitions' tasks report;
// everything it decides by lives in that loop, so there is nothing to lock.
import CRdKafka
import Observability
import Runtime
import Synchronization

/// Consumes topics together with the other members of a group, each partition by one member at a time.
///
/// Rebalancing is cooperative: a partition that stays with this member is read on without a pause. Where reading starts
/// is the service's to say (`startOffset`): it keeps its offsets with its data, and Kafka has a copy (`commit`).
public final class GroupConsumer: Sendable {
    private let configuration: KafkaConfiguration
    private let topics: [String]
    private let bounds: FetchBounds
    private let fixed: [String: String]
    /// Replaced once at the most, by one with a longer session.
    private let client: Mutex<GroupClient>
    private let revokeTimeoutSeconds: Double
    private let log: Logger
    private let taken: Counter
    private let mailbox: Mailbox
    private let lifecycle = Mutex(Lifecycle.new)
    private let finished = Latch()

    private enum Lifecycle { case new, running, closed }

    /// A member that is lost is missed after its session; each sends a sign of life several times within one. Librdkafka
    /// looks twice a second whether it is time for that.
    private static let session = ["session.timeout.ms": "4000", "heartbeat.interval.ms": "400"]
    /// What every broker takes that says nothing else by `group.min.session.timeout.ms`.
    private static let longSession = ["session.timeout.ms": "6000", "heartbeat.interval.ms": "400"]

    /// - Parameters:
    ///   - instanceID: makes the member static: started again within the session's time-out, after a crash, it gets the
    ///     same partitions without a rebalance. Unique in the group: of two members with one ID the older is expelled, and
    ///     its `run` throws. Letters, digits, '.', '_' and '-'.
    ///   - queueBytesMaxPerPartition: how much memory what is fetched ahead of one partition may take: by default about
    ///     3,000 small records.
    ///   - revokeTimeoutSeconds: how long a revoked partition waits for `process` to return before the next owner gets
    ///     it all the same.
    public init(
        _ configuration: KafkaConfiguration, group: String, topics: [String], instanceID: String? = nil,
        queueBytesMaxPerPartition: Int = 3 << 20, revokeTimeoutSeconds: Double = 30, log: Logger, metrics: Metrics
    ) throws(KafkaError) {
        var fixed = [
            "group.id": group,
            "enable.auto.commit": "false",
            "enable.auto.offset.store": "false",
            "auto.offset.reset": "error",
            "enable.partition.eof": "false",
            "partition.assignment.strategy": "cooperative-sticky",
        ]
        if let instanceID {
            guard instanceID.utf8.count <= 249, instanceID.wholeMatch(of: #/[A-Za-z0-9_-][A-Za-z0-9._-]*/#) != nil
            else {
                throw .invalid(
                    "group.instance.id '\(instanceID)': expected letters, digits, '.', '_' and '-', 249 at most")
            }
            fixed["group.instance.id"] = instanceID
        }
        let log = log.with(["group": group])
        let bounds = FetchBounds(queueBytesMax: queueBytesMaxPerPartition, configuration)
        let client = try GroupClient(configuration, fixed: fixed, session: Self.session, bounds: bounds, log: log)
        self.configuration = configuration
        self.topics = topics
        self.bounds = bounds
        self.fixed = fixed
        self.revokeTimeoutSeconds = revokeTimeoutSeconds
        self.log = log
        taken = metrics.counter(
            "kafka_records_consumed_total", help: "Records given to a partition's processor", labels: ["group": group])
        mailbox = Mailbox(client.queue.wakeup)
        self.client = Mutex(client)
    }

    /// Consumes until `close`, or until the task is cancelled. To be called once.
    ///
    /// For each partition that this member gets: asks `startOffset` (nil: from the beginning), then runs `process` with
    /// the partition's feed in a task of its own. When the partition goes, the feed ends, and the next owner gets it
    /// only after `process` has returned (or `revokeTimeoutSeconds` have passed). A member that the group has expelled
    /// learns of it as soon as it runs again, and its feeds end in the same way.
    ///
    /// When `startOffset` or `process` fails, or `process` returns although the partition is still this member's, `failed`
    /// is told, and after a pause (0.2 s, longer with every failure, 5 s at the most) the partition begins anew with
    /// `startOffset`; the other partitions go on meanwhile. `revoked` is told of what has gone.
    ///
    /// Returns after `close`. Throws when the topics cannot be subscribed to, or when the client is beyond repair, as when
    /// another member came with the same `instanceID`: all feeds have ended then, and the way on is a new consumer, after a
    /// pause, for as long as the cause lasts.
    public func run(
        startOffset: @escaping @Sendable (TopicPartition) async throws -> Int64?,
        process: @escaping @Sendable (PartitionFeed) async throws -> Void,
        failed: @escaping @Sendable (TopicPartition, any Error) -> Void,
        revoked: @escaping @Sendable ([TopicPartition]) -> Void = { _ in }
    ) async throws(KafkaError) {
        let mayRun = lifecycle.withLock { lifecycle in
            defer { if lifecycle == .new { lifecycle = .running } }
            return lifecycle == .new
        }
        guard mayRun else { throw .closed("the consumer") }
        defer {
            lifecycle.withLock { $0 = .closed }
            finished.open()
        }
        while true {
            let client = client.withLock { $0 }
            try subscribe(client.handle)
            let membership = Membership(
                handle: client.handle, queue: client.queue, mailbox: mailbox, bounds: bounds,
                probe: BatchProbe(configuration: configuration, bounds: bounds), taken: taken, log: log,
                revokeTimeout: .milliseconds(Int(revokeTimeoutSeconds * 1_000)),
                serveInterval: .milliseconds(
                    (configuration.properties["max.poll.interval.ms"].flatMap { Int($0) } ?? 300_000) / 2),
                startOffset: startOffset, process: process, failed: failed, revoked: revoked)
            let mailbox = mailbox
            let end = await withTaskCancellationHandler {
                await membership.run()
            } onCancel: {
                mailbox.post(.close)
            }
            switch end {
            case .asked: return
            case .broken(let error): throw error
            case .sessionRefused(let error): try lengthenSession(error)
            }
        }
    }

    /// A broker's `group.min.session.timeout.ms` is 6 s unless somebody has changed it.
    private func lengthenSession(_ refusal: KafkaError) throws(KafkaError) {
        let long = Self.longSession
        guard configuration.properties["session.timeout.ms"] == nil, !client.withLock({ $0.session == long }) else {
            throw refusal
        }
        log.warning(
            "the broker takes no session as short as asked for: a lost instance is missed later",
            [
                "asked_ms": Self.session["session.timeout.ms"] ?? "", "used_ms": long["session.timeout.ms"] ?? "",
                "to_change": "group.min.session.timeout.ms on the broker",
            ])
        let longer = try GroupClient(configuration, fixed: fixed, session: long, bounds: bounds, log: log)
        mailbox.signal(through: longer.queue.wakeup)
        client.withLock { $0 = longer }
    }

    /// Tells Kafka how far this member has come, for lag tools, autoscalers and `committed`. Does not wait. Partitions that
    /// are not this member's are left out.
    public func commit(_ offsets: [TopicPartition: Int64]) {
        if !offsets.isEmpty { mailbox.post(commit: offsets) }
    }

    /// What the group's members have told by `commit`; without the partitions of which nobody has told anything.
    public func committed(_ partitions: [TopicPartition]) async throws(KafkaError) -> [TopicPartition: Int64] {
        let handle = client.withLock { $0.handle }
        return try await blocking { () throws(KafkaError) in
            try handle.committed(partitions, timeoutMilliseconds: 5_000)
        }
    }

    /// Ends the feeds, waits for `process` to return, leaves the group, and returns when `run` has.
    public func close() async {
        let wasRunning = lifecycle.withLock { lifecycle in
            if lifecycle == .running { return true }
            lifecycle = .closed
            return false
        }
        guard wasRunning else { return }
        mailbox.post(.close)
        await finished.wait()
    }

    private func subscribe(_ handle: KafkaHandle) throws(KafkaError) {
        let list = rd_kafka_topic_partition_list_new(Int32(clamping: topics.count))
        defer { rd_kafka_topic_partition_list_destroy(list) }
        for topic in topics { rd_kafka_topic_partition_list_add(list, topic, -1) }
        handle.joinsGroup()
        let code = rd_kafka_subscribe(handle.pointer, list)
        guard code == RD_KAFKA_RESP_ERR_NO_ERROR else {
            throw KafkaError(code, "subscribe to \(topics.joined(separator: ", "))")
        }
    }
}

/// A consumer of librdkafka and the queue on which it tells what happens.
private struct GroupClient: Sendable {
    let handle: KafkaHandle
    let queue: KafkaQueue
    let session: [String: String]

    init(
        _ configuration: KafkaConfiguration, fixed: [String: String], session: [String: String], bounds: FetchBounds,
        log: Logger
    ) throws(KafkaError) {
        var defaults = bounds.properties.merging(session) { $1 }
        // A topic that is made after this consumer has started is found within this time.
        defaults["topic.metadata.refresh.interval.ms"] = "10000"
        handle = try KafkaHandle(
            RD_KAFKA_CONSUMER, configuration, fixed: fixed, defaults: defaults,
            events: RD_KAFKA_EVENT_REBALANCE | RD_KAFKA_EVENT_ERROR, log: log)
        rd_kafka_poll_set_consumer(handle.pointer)
        queue = try KafkaQueue(rd_kafka_queue_get_consumer(handle.pointer), of: handle)
        self.session = session
    }
}

/// What the membership's loop is told by other tasks.
private enum Note: Sendable {
    case start(TopicPartition, token: UInt64, Result<Int64?, any Error>)
    case ended(TopicPartition, token: UInt64, (any Error)?)
    case close
}

/// Bounded by what posts: at most one note a partition and task, and what callers ask.
private final class Mailbox: Sendable {
    private struct State {
        var notes: [Note] = []
        var commits: [TopicPartition: Int64] = [:]
        var wakeup: Wakeup
    }

    private let state: Mutex<State>

    init(_ wakeup: Wakeup) { state = Mutex(State(wakeup: wakeup)) }

    /// From now on this is what wakes the reader.
    func signal(through wakeup: Wakeup) { state.withLock { $0.wakeup = wakeup } }

    func post(_ note: Note) {
        state.withLock { state in
            state.notes.append(note)
            return state.wakeup
        }.signal()
    }

    func post(commit offsets: [TopicPartition: Int64]) {
        state.withLock { state in
            state.commits.merge(offsets) { $1 }
            return state.wakeup
        }.signal()
    }

    func take() -> (notes: [Note], commits: [TopicPartition: Int64]) {
        state.withLock { state in
            defer { (state.notes, state.commits) = ([], [:]) }
            return (state.notes, state.commits)
        }
    }
}

/// The loop of `run`. Not shared: one task uses it.
private final class Membership {
    private struct Slot {
        enum Phase {
            /// A task of an earlier assignment of the same partition has not returned yet.
            case waiting
            /// `startOffset` was asked.
            case starting
            /// `startOffset` or `process` failed: it begins anew.
            case retrying(at: ContinuousClock.Instant)
            case running(since: ContinuousClock.Instant)
        }

        /// Tells this assignment's tasks from those of an earlier one.
        let token: UInt64
        var phase: Phase
        var failures = 0
        var isAssigned = false
        var feed: PartitionFeed?
        var task: Task<Void, Never>?

        var isRunning: Bool { if case .running = phase { true } else { false } }

        /// 0.2 s, 0.4 s, … 5 s
        mutating func retryLater() {
            failures += 1
            phase = .retrying(at: .now + .milliseconds(min(100 << min(failures, 6), 5_000)))
        }
    }

    /// How the loop ends.
    enum End {
        case asked
        case broken(KafkaError)
        case sessionRefused(KafkaError)
    }

    private enum Closing {
        /// The group has not heard yet that this member goes.
        case leaving
        case closing
        /// The client is beyond repair, and does not close itself either: only what runs has to end.
        case abandoned
    }

    /// The answer that librdkafka waits for.
    private struct Revocation {
        let partitions: [TopicPartition]
        var waitingFor: Set<TopicPartition>
        let deadline: ContinuousClock.Instant
    }

    private let handle: KafkaHandle
    private let queue: KafkaQueue
    private let mailbox: Mailbox
    private let bounds: FetchBounds
    private let probe: BatchProbe
    private let taken: Counter
    private let log: Logger
    private let revokeTimeout: Duration
    private let serveInterval: Duration
    private let startOffset: @Sendable (TopicPartition) async throws -> Int64?
    private let process: @Sendable (PartitionFeed) async throws -> Void
    private let failed: @Sendable (TopicPartition, any Error) -> Void
    private let revoked: @Sendable ([TopicPartition]) -> Void

    private var slots: [TopicPartition: Slot] = [:]
    /// Tasks that did not return in time when their partition went.
    private var leftBehind: [TopicPartition: UInt64] = [:]
    private var revocation: Revocation?
    private var tokens: UInt64 = 0
    /// What has run for so long and fails is not what failed before.
    private static let soundDuration = Duration.seconds(30)
    private var closing: (step: Closing, deadline: ContinuousClock.Instant)?
    private var end = End.asked
    private var commits: Commits

    init(
        handle: KafkaHandle, queue: KafkaQueue, mailbox: Mailbox, bounds: FetchBounds, probe: BatchProbe,
        taken: Counter, log: Logger, revokeTimeout: Duration, serveInterval: Duration,
        startOffset: @escaping @Sendable (TopicPartition) async throws -> Int64?,
        process: @escaping @Sendable (PartitionFeed) async throws -> Void,
        failed: @escaping @Sendable (TopicPartition, any Error) -> Void,
        revoked: @escaping @Sendable ([TopicPartition]) -> Void
    ) {
        self.handle = handle
        self.queue = queue
        self.mailbox = mailbox
        self.bounds = bounds
        self.probe = probe
        self.taken = taken
        self.log = log
        self.revokeTimeout = revokeTimeout
        self.serveInterval = serveInterval
        self.startOffset = startOffset
        self.process = process
        self.failed = failed
        self.revoked = revoked
        commits = Commits(handle, queue, log)
    }

    /// Returns when the group was left, or the client is beyond repair.
    func run() async -> End {
        while true {
            let (notes, offsets) = mailbox.take()
            // First: a partition that goes is told of before it does.
            commits.add(offsets)
            commits.send { slots[$0]?.isAssigned == true }
            for note in notes { read(note) }
            // Also counts as this member's sign of life for `max.poll.interval.ms`.
            while let event = rd_kafka_queue_poll(queue.pointer, 0) {
                handle(event)
                rd_kafka_event_destroy(event)
            }
            let now = ContinuousClock.now
            completeRevocation(now)
            retryStarts(now)
            if let closing {
                if closing.step == .closing, rd_kafka_consumer_closed(handle.pointer) != 0 { break }
                if now > closing.deadline {
                    log.error("Kafka consumer did not leave its group in time")
                    break
                }
                if closing.step == .leaving, revocation == nil, !isMember { finishClosing() }
                if closing.step == .abandoned, !slots.values.contains(where: \.isRunning) { break }
            }
            _ = await queue.wakeup.wait(milliseconds: milliseconds(until: nextDeadline(now), from: now))
        }
        for (partition, slot) in slots {
            slot.feed?.end()
            slot.task?.cancel()
            log.warning("Kafka partition ended with its consumer", ["partition": "\(partition)"])
        }
        return end
    }

    // MARK: What happens

    private func read(_ note: Note) {
        switch note {
        case .start(let partition, let token, let result): started(partition, token, result)
        case .ended(let partition, let token, let error): ended(partition, token, error)
        case .close: close()
        }
    }

    private func handle(_ event: OpaquePointer) {
        switch rd_kafka_event_type(event) {
        case RD_KAFKA_EVENT_REBALANCE:
            let partitions = partitions(rd_kafka_event_topic_partition_list(event))
            if rd_kafka_event_error(event) == RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS {
                assign(partitions)
            } else {
                revoke(partitions, areLost: rd_kafka_assignment_lost(handle.pointer) != 0)
            }
        case RD_KAFKA_EVENT_ERROR:
            let error = KafkaError(
                rd_kafka_event_error(event), rd_kafka_event_error_string(event).map { String(cString: $0) },
                isFatal: rd_kafka_event_error_is_fatal(event) != 0)
            if error.code == RD_KAFKA_RESP_ERR_INVALID_SESSION_TIMEOUT.rawValue {
                return close(.sessionRefused(error))
            }
            if error.isFatal {
                let cause = handle.fatalError ?? error
                log.error("Kafka consumer failed for good", ["error": "\(cause)"])
                return close(.broken(cause))
            }
            log.warning("Kafka consumer", ["error": "\(error)"])
        case RD_KAFKA_EVENT_OFFSET_COMMIT: commits.answered(event)
        default: break
        }
    }

    /// The group gave this member partitions. They are fetched from as soon as their start is known; the group's
    /// rebalance does not wait for that.
    private func assign(_ partitions: [TopicPartition]) {
        handle.gotAssignment()
        log.info("Kafka partitions assigned", ["partitions": names(partitions)])
        call("assign") { list in rd_kafka_incremental_assign(handle.pointer, list) }
        for partition in partitions {
            slots[partition] = Slot(token: newToken(), phase: .waiting)
            if leftBehind[partition] == nil { ask(partition) }
        }
    }

    private func started(_ partition: TopicPartition, _ token: UInt64, _ result: Result<Int64?, any Error>) {
        guard var slot = slots[partition], slot.token == token, case .starting = slot.phase else { return }
        guard revocation?.partitions.contains(partition) != true else { return }
        do {
            let offset = try result.get()
            let feed = try PartitionFeed(
                partition, start: offset, handle: handle, bounds: bounds, probe: probe, taken: taken)
            // Librdkafka remembers a pause beyond the assignment in which it was asked for.
            feed.resume()
            if let error = assign(partition, from: offset ?? Int64(RD_KAFKA_OFFSET_BEGINNING)) { throw error }
            let (process, mailbox) = (process, mailbox)
            slot.task = Task.detached {
                do {
                    try await process(feed)
                    mailbox.post(.ended(partition, token: token, nil))
                } catch {
                    mailbox.post(.ended(partition, token: token, error))
                }
            }
            slot.feed = feed
            slot.isAssigned = true
            slot.phase = .running(since: .now)
            log.info(
                "Kafka partition started",
                ["partition": "\(partition)", "offset": offset.map { "\($0)" } ?? "beginning"])
        } catch {
            slot.retryLater()
            failed(partition, error)
        }
        slots[partition] = slot
    }

    private func ended(_ partition: TopicPartition, _ token: UInt64, _ error: (any Error)?) {
        if leftBehind[partition] == token {
            leftBehind[partition] = nil
            log.warning("Kafka partition's late task returned", ["partition": "\(partition)"])
            if let slot = slots[partition], case .waiting = slot.phase { ask(partition) }
            return
        }
        guard var slot = slots[partition], slot.token == token else { return }
        slot.task = nil
        slot.feed?.end()
        if case .running(let since) = slot.phase, since < .now - Self.soundDuration { slot.failures = 0 }
        slot.retryLater()
        slots[partition] = slot
        if revocation?.waitingFor.remove(partition) != nil || closing != nil {
            if let error { failed(partition, error) }
            return
        }
        // What is fetched until it begins anew would be dropped.
        slot.feed?.pause()
        let why =
            error
            ?? KafkaError(RD_KAFKA_RESP_ERR__STATE, "\(partition): its processing ended although it is this member's")
        log.warning("Kafka partition begins anew", ["partition": "\(partition)", "error": "\(why)"])
        failed(partition, why)
    }

    private func revoke(_ partitions: [TopicPartition], areLost: Bool) {
        log.info("Kafka partitions revoked", ["partitions": names(partitions), "lost": "\(areLost)"])
        var waitingFor: Set<TopicPartition> = []
        for partition in partitions {
            guard let slot = slots[partition] else { continue }
            slot.feed?.end()
            switch slot.phase {
            case .running: waitingFor.insert(partition)
            case .starting: slot.task?.cancel()
            default: break
            }
        }
        revocation = Revocation(partitions: partitions, waitingFor: waitingFor, deadline: .now + revokeTimeout)
    }

    private func completeRevocation(_ now: ContinuousClock.Instant) {
        guard let revocation, revocation.waitingFor.isEmpty || now >= revocation.deadline else { return }
        for partition in revocation.waitingFor {
            guard let slot = slots[partition] else { continue }
            slot.task?.cancel()
            leftBehind[partition] = slot.token
            log.error("Kafka partition goes while it is still processed", ["partition": "\(partition)"])
        }
        unassign(revocation.partitions.filter { slots[$0]?.isAssigned == true })
        for partition in revocation.partitions {
            slots[partition]?.feed?.discard()
            slots[partition] = nil
        }
        revoked(revocation.partitions)
        self.revocation = nil
    }

    /// Librdkafka's own way of closing can end before it has said good-bye (then the others wait for the session's end),
    /// and a static member never says it. So the subscription goes first, which takes the partitions back and leaves the
    /// group, and the rest is closed when that is done.
    private func close(_ end: End = .asked) {
        guard closing == nil else { return }
        self.end = end
        closing = (.leaving, .now + revokeTimeout + .seconds(10))
        for slot in slots.values { slot.feed?.end() }
        if case .broken = end {
            closing?.step = .abandoned
            return handle.isBroken()
        }
        guard case .asked = end else { return finishClosing() }
        let code = rd_kafka_unsubscribe(handle.pointer)
        if code != RD_KAFKA_RESP_ERR_NO_ERROR {
            log.warning("Kafka consumer's leaving", ["error": "\(KafkaError(code))"])
            finishClosing()
        }
    }

    /// Whether the group knows this member, as far as librdkafka knows.
    private var isMember: Bool {
        guard let id = rd_kafka_memberid(handle.pointer) else { return false }
        defer { rd_kafka_mem_free(handle.pointer, id) }
        return id.pointee != 0
    }

    private func finishClosing() {
        closing?.step = .closing
        if let error = rd_kafka_consumer_close_queue(handle.pointer, queue.pointer) {
            log.warning("Kafka consumer's close", ["error": "\(KafkaError(consuming: error))"])
        }
    }

    // MARK: Helpers

    private func ask(_ partition: TopicPartition) {
        guard let token = slots[partition]?.token else { return }
        let (startOffset, mailbox) = (startOffset, mailbox)
        slots[partition]?.phase = .starting
        slots[partition]?.task = Task.detached {
            let result: Result<Int64?, any Error>
            do {
                result = .success(try await startOffset(partition))
            } catch {
                result = .failure(error)
            }
            mailbox.post(.start(partition, token: token, result))
        }
    }

    /// While librdkafka waits for the answer to a revocation, it would take any unassignment for that.
    private func retryStarts(_ now: ContinuousClock.Instant) {
        guard revocation == nil, closing == nil else { return }
        for (partition, slot) in slots {
            guard case .retrying(let at) = slot.phase, at <= now else { continue }
            // Librdkafka would go on where it was: take the partition out, and in again at the new offset.
            if slot.isAssigned {
                unassign([partition])
                slot.feed?.discard()
                slots[partition]?.feed = nil
                slots[partition]?.isAssigned = false
            }
            ask(partition)
        }
    }

    private func assign(_ partition: TopicPartition, from offset: Int64) -> KafkaError? {
        call("assign \(partition)", [partition], offset: offset) { rd_kafka_incremental_assign(handle.pointer, $0) }
    }

    /// Also called with none: librdkafka waits for the answer to its rebalance.
    private func unassign(_ partitions: [TopicPartition]) {
        let error = call("unassign", partitions) { rd_kafka_incremental_unassign(handle.pointer, $0) }
        if let error { log.error("Kafka consumer", ["error": "\(error)"]) }
    }

    @discardableResult
    private func call(
        _ what: String, _ partitions: [TopicPartition] = [], offset: Int64? = nil,
        _ body: (UnsafeMutablePointer<rd_kafka_topic_partition_list_t>?) -> OpaquePointer?
    ) -> KafkaError? {
        let list = rd_kafka_topic_partition_list_new(Int32(clamping: partitions.count))
        defer { rd_kafka_topic_partition_list_destroy(list) }
        for partition in partitions {
            let element = rd_kafka_topic_partition_list_add(list, partition.topic, partition.partition)
            if let offset { element?.pointee.offset = offset }
        }
        return body(list).map { KafkaError(consuming: $0, what) }
    }

    private func partitions(
        _ list: UnsafeMutablePointer<rd_kafka_topic_partition_list_t>?
    ) -> [TopicPartition] {
        guard let list else { return [] }
        return UnsafeBufferPointer(start: list.pointee.elems, count: Int(list.pointee.cnt)).map {
            TopicPartition(topic: String(cString: $0.topic), partition: $0.partition)
        }
    }

    private func newToken() -> UInt64 {
        tokens += 1
        return tokens
    }

    private func nextDeadline(_ now: ContinuousClock.Instant) -> ContinuousClock.Instant {
        var next = now + serveInterval
        if let revocation { next = min(next, revocation.deadline) }
        if let again = commits.nextAt { next = min(next, again) }
        if revocation == nil, closing == nil {
            for slot in slots.values {
                if case .retrying(let at) = slot.phase { next = min(next, at) }
            }
        }
        // Librdkafka has no event for "left" and "closed".
        if closing != nil { next = min(next, now + .milliseconds(20)) }
        return next
    }

    private func milliseconds(until deadline: ContinuousClock.Instant, from now: ContinuousClock.Instant) -> Int {
        max(1, Int(((deadline - now) / .milliseconds(1)).rounded(.up)))
    }

    private func names(_ partitions: [TopicPartition]) -> String {
        partitions.sorted().map(\.description).joined(separator: " ")
    }
}
