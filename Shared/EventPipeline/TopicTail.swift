// Every record of a topic from now on, in every instance: what is pushed live to whoever is connected here.
import Kafka
import Models
import Observability
import ServiceKit
import Synchronization

/// Reads a topic from its end, without a group. What is missed while the service is down is not made up for: whoever
/// needs all of a topic uses an `EventProcessor`.
public final class TopicTail: Component {
    public let name: String
    private let topic: Topic
    private let context: ServiceContext
    private let apply: @Sendable (ConsumedRecord) -> Void
    private let following = Mutex<(reader: TopicReader, task: Task<Void, Never>)?>(nil)

    public init(_ context: ServiceContext, topic: Topic, apply: @escaping @Sendable (ConsumedRecord) -> Void) {
        name = "tail of \(topic.name)"
        self.topic = topic
        self.context = context
        self.apply = apply
    }

    public var isReady: Bool { following.withLock { $0 != nil } }

    public func start() async throws {
        let reader = try await TopicReader(
            context.kafka, topic: topic.name, partitions: nil, from: .end, log: context.log, metrics: context.metrics)
        let task = Task.detached { [self] in
            do {
                while let batches = try await reader.next(recordsMax: 10_000, waitMilliseconds: nil) {
                    for record in batches.joined() { apply(record) }
                }
            } catch {
                context.log.error("a tail has ended", ["topic": topic.name, "error": "\(error)"])
            }
        }
        following.withLock { $0 = (reader, task) }
    }

    public func stop() async {
        let last = following.withLock { following in
            defer { following = nil }
            return following
        }
        await last?.reader.close()
        await last?.task.value
    }
}
