// What a member tells the group of how far it has come. The truth is with the service's data: what fails here is told
// later, and is no reason for alarm.
import CRdKafka
import Observability

/// Offsets on their way to the group's coordinator. Used by the loop of one member.
struct Commits {
    private let handle: KafkaHandle
    private let queue: KafkaQueue
    private let log: Logger
    private var waiting: [TopicPartition: Int64] = [:]
    /// What was sent last: an older answer does not bring an older offset back.
    private var sent: [TopicPartition: Int64] = [:]
    /// When what failed is told again.
    private(set) var nextAt: ContinuousClock.Instant?

    private static let retryAfter = Duration.seconds(1)

    init(_ handle: KafkaHandle, _ queue: KafkaQueue, _ log: Logger) {
        self.handle = handle
        self.queue = queue
        self.log = log
    }

    mutating func add(_ offsets: [TopicPartition: Int64]) {
        if offsets.isEmpty { return }
        waiting.merge(offsets) { $1 }
        nextAt = nil
    }

    /// Sends what waits and is this member's; forgets the rest. The answers come as events of the member's queue.
    mutating func send(where isOwned: (TopicPartition) -> Bool) {
        guard !waiting.isEmpty, nextAt.map({ $0 <= .now }) ?? true else { return }
        nextAt = nil
        let offsets = waiting.filter { isOwned($0.key) }
        waiting = [:]
        sent = sent.filter { isOwned($0.key) }.merging(offsets) { $1 }
        guard !offsets.isEmpty else { return }
        let list = rd_kafka_topic_partition_list_new(Int32(clamping: offsets.count))
        defer { rd_kafka_topic_partition_list_destroy(list) }
        for (partition, offset) in offsets {
            rd_kafka_topic_partition_list_add(list, partition.topic, partition.partition).pointee.offset = offset
        }
        let code = rd_kafka_commit_queue(handle.pointer, list, queue.pointer, nil, nil)
        if code != RD_KAFKA_RESP_ERR_NO_ERROR { log.debug("Kafka commit", ["error": "\(KafkaError(code))"]) }
    }

    /// A group that is just sharing out its partitions, and a coordinator that is away, take nothing for a while.
    mutating func answered(_ event: OpaquePointer) {
        let whole = rd_kafka_event_error(event)
        guard let list = rd_kafka_event_topic_partition_list(event) else { return }
        for element in UnsafeBufferPointer(start: list.pointee.elems, count: Int(list.pointee.cnt)) {
            let code = element.err == RD_KAFKA_RESP_ERR_NO_ERROR ? whole : element.err
            guard code != RD_KAFKA_RESP_ERR_NO_ERROR else { continue }
            let partition = TopicPartition(topic: String(cString: element.topic), partition: element.partition)
            let error = KafkaError(code)
            let facts = ["partition": "\(partition)", "offset": "\(element.offset)", "error": "\(error)"]
            guard error.isRetriable || Self.membersCome.contains(code.rawValue) else {
                log.warning("Kafka takes no offset", facts)
                continue
            }
            log.debug("Kafka takes no offset now", facts)
            guard sent[partition] == element.offset, waiting[partition] == nil else { continue }
            waiting[partition] = element.offset
            nextAt = nextAt ?? .now + Self.retryAfter
        }
    }

    /// The member has to join again first, or is gone.
    private static let membersCome: Set<Int32> = Set(
        [
            RD_KAFKA_RESP_ERR_ILLEGAL_GENERATION, RD_KAFKA_RESP_ERR_UNKNOWN_MEMBER_ID,
            RD_KAFKA_RESP_ERR_FENCED_INSTANCE_ID, RD_KAFKA_RESP_ERR__DESTROY, RD_KAFKA_RESP_ERR__STATE,
        ].map(\.rawValue))
}
