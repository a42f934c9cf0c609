// What the partitions of a processor have in common, and where their offsets are kept.
import Kafka
import Models
import Observability
import Postgres
import Runtime
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
    /// Told why a partition stands still, and nil when it goes on.
    let stands: @Sendable (Int32, String?) -> Void
    /// Told after each commit.
    let committed: @Sendable () -> Void
    let progress = Progress()
    /// Partitions that are worked on at a time: batches and their answers are what takes memory.
    let turns = AsyncSemaphore(Self.turnsMax)

    private static let turnsMax = 4

    init(
        processor: String, topic: Topic, clusterID: String, recordsMax: Int, pace: Duration,
        handler: any EventHandler, context: ServiceContext, stands: @escaping @Sendable (Int32, String?) -> Void,
        committed: @escaping @Sendable () -> Void
    ) {
        self.stands = stands
        self.committed = committed
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
