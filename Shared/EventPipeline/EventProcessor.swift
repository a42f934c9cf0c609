// A service's membership in the group that processes a topic.
import Kafka
import Models
import Observability
import Postgres
import Runtime
import ServiceKit
import Synchronization

/// A member of the group that processes a topic for its service. One partition is one sequence of transactions:
///
/// 1. `apply` runs the batch in a transaction that also moves the partition's offset and stores what is to be published.
///    An offset that another instance has moved meanwhile fails the transaction: nothing of the batch is kept.
/// 2. After the commit the records are sent, in order, and every acknowledgement is awaited.
/// 3. The outbox row goes with the next batch's transaction, or soon when none comes.
///
/// Whoever takes a partition over publishes first what it finds in the outbox. Records may so be published twice, never
/// not at all; their `ce_id`s are derived from the input.
public final class EventProcessor: Consumer {
    public let name: String
    public let topic: Topic

    private let handler: any EventHandler
    private let committed: @Sendable () -> Void
    private let recordsMax: Int
    private let pace: Duration
    private let prefetchBytesMax: Int
    private let context: ServiceContext
    private let state = Mutex(State())

    private struct State {
        var consumer: GroupConsumer?
        var run: Task<Void, Never>?
        var watching: Periodic?
        var isStopping = false
        /// The consumer ended by an error and is made anew.
        var failure: String?
        /// Why partitions stand still.
        var standing: [Int32: String] = [:]
    }

    /// How often the broker is asked where the logs end.
    private static let watchInterval = Duration.seconds(5)

    /// - Parameters:
    ///   - name: the processor's name within the service; the consumer group is `<service>.<name>`.
    ///   - batchRecordsMax: records that one transaction applies at the most.
    ///   - pace: how long a partition that is busy but not behind gathers events for one transaction; a few go at once.
    ///   - prefetchBytesMax: what waits in memory for each partition, about 1,000 small records a megabyte: the batches
    ///     of one that is far behind are that large.
    ///   - committed: told after each transaction, before what it published is sent.
    public init(
        _ context: ServiceContext, name: String, topic: Topic, batchRecordsMax: Int = 5000,
        pace: Duration = .milliseconds(100), prefetchBytesMax: Int = 1 << 20, handler: any EventHandler,
        committed: @escaping @Sendable () -> Void = {}
    ) {
        self.name = name
        self.topic = topic
        self.handler = handler
        self.committed = committed
        self.context = context
        recordsMax = batchRecordsMax
        self.pace = pace
        self.prefetchBytesMax = prefetchBytesMax
    }

    public var group: String? { "\(context.serviceName).\(name)" }

    /// False while the group cannot be consumed, or a partition of this instance stands still.
    public var isReady: Bool {
        state.withLock { $0.run != nil && $0.failure == nil && $0.standing.isEmpty }
    }

    /// Why it is not ready.
    public var detail: String? {
        state.withLock { state in
            state.failure
                ?? state.standing.min { $0.key < $1.key }.map { "\(topic.name) [\($0.key)] stands still: \($0.value)" }
        }
    }

    public func start() async throws {
        let clusterID = try await KafkaAdmin(context.kafka).clusterID()
        let work = PartitionWork(
            processor: name, topic: topic, clusterID: clusterID, recordsMax: recordsMax, pace: pace,
            handler: handler, context: context,
            stands: { [weak self] partition, reason in self?.state.withLock { $0.standing[partition] = reason } },
            committed: committed)
        let consumer = try makeConsumer(work)
        try await check(work, consumer)
        let run = Task.detached { [self] in await consume(work, with: consumer) }
        let watching = Periodic(every: Self.watchInterval, runsAtOnce: false) { [self] in await watch(work.progress) }
        watching.start()
        state.withLock {
            $0.consumer = consumer
            $0.run = run
            $0.watching = watching
        }
        tell(work.progress, group: work.tracing.group)
    }

    private func makeConsumer(_ work: PartitionWork) throws(KafkaError) -> GroupConsumer {
        try GroupConsumer(
            context.kafka, group: work.tracing.group, topics: [topic.name], instanceID: context.lastingInstance,
            queueBytesMaxPerPartition: prefetchBytesMax, log: context.log, metrics: context.metrics)
    }

    /// Until `stop`: a consumer that ends by an error is followed by another.
    private func consume(_ work: PartitionWork, with first: GroupConsumer) async {
        var consumer = first
        var backoff = Backoff()
        while true {
            let began = ContinuousClock.now
            do {
                try await run(work, consumer)
                if state.withLock({ $0.isStopping }) { return }
                throw Fatal(reason: "the consumer has ended by itself")
            } catch {
                if state.withLock({ $0.isStopping }) { return }
                state.withLock {
                    $0.failure = "\(error)"
                    $0.standing = [:]
                }
                context.log.error(
                    "the consumer has ended and will be started again", ["processor": name, "error": "\(error)"])
            }
            if ContinuousClock.now - began > .seconds(60) { backoff.reset() }
            while true {
                try? await Task.sleep(for: backoff.next())
                if state.withLock({ $0.isStopping }) { return }
                do {
                    consumer = try makeConsumer(work)
                    break
                } catch {
                    context.log.warning("no consumer yet", ["processor": name, "error": "\(error)"])
                }
            }
            let isStopping = state.withLock { state in
                state.failure = nil
                state.consumer = consumer
                return state.isStopping
            }
            if isStopping { return await consumer.close() }
        }
    }

    private func run(_ work: PartitionWork, _ consumer: GroupConsumer) async throws(KafkaError) {
        try await consumer.run(
            startOffset: { partition in
                // Asked for first: another instance may still move both.
                let committed = try await consumer.committed([partition])[partition]
                let next = try await work.claim(partition.partition)
                try work.requireNotOlder(partition.partition, next, than: committed)
                return next == PipelineSchema.beginning ? nil : next
            },
            process: { feed in
                try await PartitionProcessor(work, feed) { consumer.commit([feed.partition: $0]) }.run()
            },
            failed: { [self] in failed($0, $1) },
            revoked: { [self] partitions in
                state.withLock { for partition in partitions { $0.standing[partition.partition] = nil } }
            })
    }

    /// Before anything of the service acts on what its schema says, whoever gets the partitions then.
    private func check(_ work: PartitionWork, _ consumer: GroupConsumer) async throws {
        let count = try await context.producer.topicPartitions(timeoutSeconds: 5)[topic.name] ?? Int(topic.partitions)
        let partitions = (0..<Int32(count)).map { TopicPartition(topic: topic.name, partition: $0) }
        do {
            try await work.requireNotOlder(than: consumer.committed(partitions))
        } catch let error as OlderSchema {
            throw StartFailure(exitCode: ExitCode.schema, reason: error.description)
        }
    }

    public func stop() async {
        let (consumer, run, watching) = state.withLock {
            $0.isStopping = true
            return ($0.consumer, $0.run, $0.watching.take())
        }
        await watching?.stop()
        await consumer?.close()
        await run?.value
    }

    // MARK: What operators are told

    private func tell(_ progress: Progress, group: String) {
        let (topic, now) = (topic.name, context.now)
        context.metrics.collected(
            "kafka_consumer_lag_records",
            help: "Records in the log that are not applied yet, by partition of this instance",
            labels: ["group": group, "topic": topic]
        ) { progress.lags.map { (["partition": "\($0.partition)"], Double($0.records)) } }
        context.metrics.observed(
            "stampede_oldest_event_seconds", help: "Age of the oldest record that is not applied yet; 0: there is none",
            labels: ["processor": name, "topic": topic]
        ) { progress.oldestSeconds(now: now()) }
    }

    private func watch(_ progress: Progress) async {
        let own = progress.own
        if own.isEmpty { return }
        // By the producer's connection: on the consumer's the question would wait behind fetches that wait for records.
        let found = try? await context.producer.watermarks(of: topic.name, own, timeoutSeconds: 1)
        guard let found else { return }
        progress.observe(found, now: context.now())
    }

    private func failed(_ partition: TopicPartition, _ error: any Error) {
        let details = [
            "processor": name, "topic": partition.topic, "partition": "\(partition.partition)", "error": "\(error)",
        ]
        guard case .fatal(let reason) = Fate(of: error) else {
            return context.log.warning("a partition's start will be tried again", details)
        }
        // It is asked again, and need not be said again.
        let isNew = state.withLock { state in
            state.standing.updateValue(reason, forKey: partition.partition) == nil
        }
        if isNew { context.log.error("a partition stands still until the cause is gone", details) }
    }
}
