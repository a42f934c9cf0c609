// A service's membership in the group that processes a topic.
import Kafka
import Models
import Observability
import Postgres
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
public final class EventProcessor: Component {
    public let name: String

    private let topic: Topic
    private let handler: any EventHandler
    private let recordsMax: Int
    private let pace: Duration
    private let prefetchBytesMax: Int
    private let context: ServiceContext
    private let state = Mutex(State())

    private struct State {
        var consumer: GroupConsumer?
        var run: Task<Void, Never>?
        var watching: Task<Void, Never>?
        var stoppedPartitions: Set<TopicPartition> = []
    }

    /// How often the broker is asked where the logs end.
    private static let watchInterval = Duration.seconds(5)

    /// - Parameters:
    ///   - name: the processor's name within the service; the consumer group is `<service>.<name>`.
    ///   - batchRecordsMax: records that one transaction applies at the most.
    ///   - pace: how long a partition that is busy but not behind gathers events for one transaction.
    ///   - prefetchBytesMax: what waits in memory for each partition, about 1,000 small records a megabyte: the batches
    ///     of one that is far behind are that large.
    public init(
        _ context: ServiceContext, name: String, topic: Topic, batchRecordsMax: Int = 5000,
        pace: Duration = .milliseconds(100), prefetchBytesMax: Int = 1 << 20, handler: any EventHandler
    ) {
        self.name = name
        self.topic = topic
        self.handler = handler
        self.context = context
        recordsMax = batchRecordsMax
        self.pace = pace
        self.prefetchBytesMax = prefetchBytesMax
    }

    /// False while a partition of this instance stands still.
    public var isReady: Bool {
        state.withLock { $0.run != nil && $0.stoppedPartitions.isEmpty }
    }

    public func start() async throws {
        let clusterID = try await KafkaAdmin(context.kafka).clusterID()
        let work = PartitionWork(
            processor: name, topic: topic, clusterID: clusterID, recordsMax: recordsMax, pace: pace,
            handler: handler, context: context)
        let group = work.tracing.group
        let consumer = try GroupConsumer(
            context.kafka, group: group, topics: [topic.name], instanceID: context.lastingInstance,
            queueBytesMaxPerPartition: prefetchBytesMax, log: context.log, metrics: context.metrics)
        try await check(work, consumer)
        let run = Task.detached { [self] in
            do {
                try await consumer.run(
                    startOffset: { partition in
                        let next: Int64
                        do {
                            // Asked for first: another instance may still move both.
                            let committed = try await consumer.committed([partition])[partition]
                            next = try await work.claim(partition.partition)
                            try work.requireNotOlder(partition.partition, next, than: committed)
                        } catch let error as PostgresError where error.isUnavailable {
                            throw NotYet(cause: error)
                        } catch let error as KafkaError {
                            throw NotYet(cause: error)
                        }
                        self.state.withLock { _ = $0.stoppedPartitions.remove(partition) }
                        return next == PipelineSchema.beginning ? nil : next
                    },
                    process: { feed in
                        let partition = PartitionProcessor(work, feed) { consumer.commit([feed.partition: $0]) }
                        try await partition.run()
                    },
                    failed: { self.failed($0, $1) },
                    revoked: { partitions in
                        self.state.withLock { $0.stoppedPartitions.subtract(partitions) }
                    })
            } catch {
                context.log.error("the consumer has ended", ["processor": name, "error": "\(error)"])
            }
            state.withLock { $0.run = nil }
        }
        let watching = Task.detached { [self] in await watch(work.progress, consumer) }
        state.withLock {
            $0.consumer = consumer
            $0.run = run
            $0.watching = watching
        }
        tell(work.progress, group: group)
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
        let (consumer, run, watching) = state.withLock { ($0.consumer, $0.run, $0.watching) }
        watching?.cancel()
        await watching?.value
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

    private func watch(_ progress: Progress, _ consumer: GroupConsumer) async {
        while (try? await Task.sleep(for: Self.watchInterval)) != nil {
            let own = progress.own.map { TopicPartition(topic: topic.name, partition: $0) }
            if own.isEmpty { continue }
            let found = await consumer.watermarks(own)
            progress.observe(
                Dictionary(uniqueKeysWithValues: found.map { ($0.key.partition, $0.value) }), now: context.now())
        }
    }

    /// Postgres or Kafka could not be asked where a partition begins: no reason for it to stand still. The consumer asks
    /// again.
    private struct NotYet: Error, CustomStringConvertible {
        let cause: any Error
        var description: String { "\(cause)" }
    }

    private func failed(_ partition: TopicPartition, _ error: any Error) {
        let details = [
            "processor": name, "topic": partition.topic, "partition": "\(partition.partition)", "error": "\(error)",
        ]
        if error is NotYet { return context.log.warning("a partition's start will be tried again", details) }
        // It is asked again, and need not be said again.
        let isNew = state.withLock { $0.stoppedPartitions.insert(partition).inserted }
        if isNew { context.log.error("a partition has stopped", details) }
    }
}
