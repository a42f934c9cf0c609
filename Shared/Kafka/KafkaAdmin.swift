// Looking after a cluster: its topics, its ID, how far its groups have come. Rare calls; none is on a busy path.
import CRdKafka
import Foundation
import Observability

/// A topic to be made.
public struct TopicSpecification: Sendable, Equatable {
    public var name: String
    public var partitions: Int32
    /// -1: the broker's default.
    public var replicationFactor: Int32
    /// The topic's configuration (`cleanup.policy`, `retention.ms`, `message.timestamp.type`, …).
    public var configuration: [String: String]

    public init(
        name: String, partitions: Int32, replicationFactor: Int32 = -1, configuration: [String: String] = [:]
    ) {
        self.name = name
        self.partitions = partitions
        self.replicationFactor = replicationFactor
        self.configuration = configuration
    }
}

/// What the broker says of a topic.
public struct TopicDescription: Sendable, Equatable {
    public struct Partition: Sendable, Equatable {
        public let id: Int32
        /// The broker's ID; -1: none at the moment.
        public let leader: Int32
        public let replicas: [Int32]
        public let inSyncReplicas: [Int32]
        /// The oldest offset that the log holds.
        public let lowWatermark: Int64
        /// The offset that the next record gets.
        public let highWatermark: Int64
    }

    public let name: String
    public let partitions: [Partition]
    /// Empty where the broker cannot say (the embedded one).
    public let configuration: [String: String]
}

/// What `KafkaAdmin.create` did.
public struct TopicCreation: Sendable, Equatable {
    public var created: [String] = []
    public var existing: [String] = []
}

public final class KafkaAdmin: Sendable {
    private let configuration: KafkaConfiguration
    let handle: KafkaHandle
    static let timeoutMilliseconds: Int32 = 15_000

    public init(_ configuration: KafkaConfiguration, log: Logger? = nil) throws(KafkaError) {
        self.configuration = configuration
        // A consumer: a producer's question about a topic would make it, where the broker allows that.
        handle = try KafkaHandle(
            RD_KAFKA_CONSUMER, configuration, fixed: ["allow.auto.create.topics": "false"], log: log)
    }

    /// Names this cluster and its data: an embedded broker has a new one at every start.
    public func clusterID() async throws(KafkaError) -> String {
        let handle = handle
        return try await blocking { () throws(KafkaError) in
            guard let id = rd_kafka_clusterid(handle.pointer, Self.timeoutMilliseconds) else {
                throw KafkaError(
                    RD_KAFKA_RESP_ERR__TIMED_OUT, "no broker told its cluster's ID within 15 s: is one running?")
            }
            defer { rd_kafka_mem_free(handle.pointer, id) }
            return String(cString: id)
        }
    }

    /// Makes the topics that do not exist. One that exists is left as it is, but must have as many partitions as asked
    /// for: the partition that a key maps to depends on it.
    ///
    /// The embedded broker cannot make topics this way; there, all of them must exist already.
    @discardableResult
    public func create(topics: [TopicSpecification]) async throws(KafkaError) -> TopicCreation {
        guard !topics.isEmpty else { return TopicCreation() }
        let handle = handle
        return try await blocking { () throws(KafkaError) in
            var result = try Self.create(topics, handle)
            try Self.check(topics, &result, handle)
            return result
        }
    }

    /// Every topic when `topics` is nil, sorted by name. Throws `isUnknownTopic` for one that there is not.
    public func describe(topics: [String]? = nil) async throws(KafkaError) -> [TopicDescription] {
        let handle = handle
        return try await blocking { () throws(KafkaError) in
            let known = try handle.topics()
            var descriptions: [TopicDescription] = []
            for name in (topics ?? known.keys.filter { !$0.hasPrefix("__") }).sorted() {
                guard let partitions = known[name] else {
                    throw KafkaError(RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC, "there is no topic \(name)")
                }
                var described: [TopicDescription.Partition] = []
                for partition in partitions {
                    let (low, high) =
                        partition.leader < 0
                        ? (-1, -1)
                        : try handle.watermarks(
                            TopicPartition(topic: name, partition: partition.id),
                            timeoutMilliseconds: Self.timeoutMilliseconds)
                    described.append(
                        TopicDescription.Partition(
                            id: partition.id, leader: partition.leader, replicas: partition.replicas,
                            inSyncReplicas: partition.inSyncReplicas, lowWatermark: low, highWatermark: high))
                }
                descriptions.append(
                    TopicDescription(
                        name: name, partitions: described, configuration: try Self.configuration(of: name, handle)))
            }
            return descriptions
        }
    }

    /// How many records the group has yet to consume, by what it has committed; from the log's beginning where it has
    /// committed nothing.
    public func lag(group: String, topics: [String]) async throws(KafkaError) -> [TopicPartition: Int64] {
        let (handle, configuration) = (handle, configuration)
        return try await blocking { () throws(KafkaError) in
            let known = try handle.topics()
            var partitions: [TopicPartition] = []
            for topic in topics {
                guard let found = known[topic] else {
                    throw KafkaError(RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC, "there is no topic \(topic)")
                }
                partitions += found.map { TopicPartition(topic: topic, partition: $0.id) }
            }
            let committed = try Self.committed(group, partitions, configuration)
            var lag: [TopicPartition: Int64] = [:]
            for partition in partitions {
                let (low, high) = try handle.watermarks(partition, timeoutMilliseconds: Self.timeoutMilliseconds)
                lag[partition] = max(0, high - max(low, committed[partition] ?? low))
            }
            return lag
        }
    }

    // MARK: Requests, blocking

    private static func create(
        _ topics: [TopicSpecification], _ handle: KafkaHandle
    ) throws(KafkaError) -> TopicCreation {
        var text = [CChar](repeating: 0, count: 512)
        var requests: [OpaquePointer?] = []
        defer { for request in requests { rd_kafka_NewTopic_destroy(request) } }
        for topic in topics {
            guard
                let request = rd_kafka_NewTopic_new(
                    topic.name, topic.partitions, topic.replicationFactor, &text, text.count)
            else { throw .invalid("topic \(topic.name): \(KafkaHandle.string(text))") }
            requests.append(request)
            for (name, value) in topic.configuration.sorted(by: { $0.key < $1.key }) {
                let code = rd_kafka_NewTopic_set_config(request, name, value)
                guard code == RD_KAFKA_RESP_ERR_NO_ERROR else { throw KafkaError(code, "topic \(topic.name): \(name)") }
            }
        }
        var result = TopicCreation()
        do throws(KafkaError) {
            try requireController(handle)
            try handle.ask(RD_KAFKA_ADMIN_OP_CREATETOPICS, timeoutMilliseconds) { options, queue in
                rd_kafka_CreateTopics(handle.pointer, &requests, requests.count, options, queue)
            } answer: { event throws(KafkaError) in
                var count = 0
                let results = rd_kafka_CreateTopics_result_topics(rd_kafka_event_CreateTopics_result(event), &count)
                for index in 0..<count {
                    guard let one = results?[index], let name = rd_kafka_topic_result_name(one) else { continue }
                    let topic = String(cString: name)
                    switch rd_kafka_topic_result_error(one) {
                    case RD_KAFKA_RESP_ERR_NO_ERROR: result.created.append(topic)
                    case RD_KAFKA_RESP_ERR_TOPIC_ALREADY_EXISTS: result.existing.append(topic)
                    case let code:
                        let why = rd_kafka_topic_result_error_string(one).map { String(cString: $0) } ?? ""
                        throw KafkaError(code, "topic \(topic): \(why)")
                    }
                }
            }
        } catch {
            // The embedded broker has no CreateTopics: then `check` finds out whether the topics are there.
            guard error.code == RD_KAFKA_RESP_ERR__UNSUPPORTED_FEATURE.rawValue else { throw error }
            let known = try handle.topics()
            if let missing = topics.first(where: { known[$0.name] == nil }) {
                throw KafkaError(
                    RD_KAFKA_RESP_ERR__UNSUPPORTED_FEATURE,
                    "topic \(missing.name) does not exist and this broker cannot be asked to make it: "
                        + "name it when the broker is started")
            }
            result.existing = topics.map(\.name)
        }
        return result
    }

    /// Waits until the new topics are known with a leader for every partition, and compares the partitions' number.
    private static func check(
        _ topics: [TopicSpecification], _ result: inout TopicCreation, _ handle: KafkaHandle
    ) throws(KafkaError) {
        let deadline = ContinuousClock.now + .milliseconds(Int(timeoutMilliseconds))
        while true {
            let known = try handle.topics()
            let ready = topics.allSatisfy { topic in
                known[topic.name].map { !$0.isEmpty && $0.allSatisfy { $0.leader >= 0 } } ?? false
            }
            if ready {
                for topic in topics where known[topic.name]?.count != Int(topic.partitions) {
                    throw KafkaError(
                        RD_KAFKA_RESP_ERR_INVALID_PARTITIONS,
                        "topic \(topic.name) has \(known[topic.name]?.count ?? 0) partitions, expected "
                            + "\(topic.partitions): keys would map to others")
                }
                return
            }
            guard ContinuousClock.now < deadline else {
                throw KafkaError(RD_KAFKA_RESP_ERR__TIMED_OUT, "the new topics have no leaders yet")
            }
            // Metadata travels between brokers within milliseconds; each question waits for an answer itself.
            Thread.sleep(forTimeInterval: 0.02)
        }
    }

    private static func configuration(of topic: String, _ handle: KafkaHandle) throws(KafkaError) -> [String: String] {
        var request = rd_kafka_ConfigResource_new(RD_KAFKA_RESOURCE_TOPIC, topic)
        defer { rd_kafka_ConfigResource_destroy(request) }
        var configuration: [String: String] = [:]
        do throws(KafkaError) {
            try requireController(handle)
            try handle.ask(RD_KAFKA_ADMIN_OP_DESCRIBECONFIGS, timeoutMilliseconds) { options, queue in
                rd_kafka_DescribeConfigs(handle.pointer, &request, 1, options, queue)
            } answer: { event throws(KafkaError) in
                var count = 0
                let resources = rd_kafka_DescribeConfigs_result_resources(
                    rd_kafka_event_DescribeConfigs_result(event), &count)
                guard count > 0, let resource = resources?[0] else { return }
                let code = rd_kafka_ConfigResource_error(resource)
                guard code == RD_KAFKA_RESP_ERR_NO_ERROR else { throw KafkaError(code, "configuration of \(topic)") }
                var entryCount = 0
                let entries = rd_kafka_ConfigResource_configs(resource, &entryCount)
                for index in 0..<entryCount {
                    guard let entry = entries?[index], let name = rd_kafka_ConfigEntry_name(entry),
                        let value = rd_kafka_ConfigEntry_value(entry)
                    else { continue }
                    configuration[String(cString: name)] = String(cString: value)
                }
            }
        } catch {
            guard error.code == RD_KAFKA_RESP_ERR__UNSUPPORTED_FEATURE.rawValue else { throw error }
        }
        return configuration
    }

    /// The embedded broker names no controller: librdkafka would wait for one until the time is over.
    private static func requireController(_ handle: KafkaHandle) throws(KafkaError) {
        guard let id = rd_kafka_clusterid(handle.pointer, timeoutMilliseconds) else { return }
        defer { rd_kafka_mem_free(handle.pointer, id) }
        if String(cString: id).hasPrefix("mockCluster") {
            throw KafkaError(RD_KAFKA_RESP_ERR__UNSUPPORTED_FEATURE, "the embedded broker has no controller")
        }
    }

    /// By a consumer of that group that never joins it. The admin API's ListConsumerGroupOffsets ends the process in
    /// librdkafka 2.0.2 when the group's coordinator is still loading or has moved.
    private static func committed(
        _ group: String, _ partitions: [TopicPartition], _ configuration: KafkaConfiguration
    ) throws(KafkaError) -> [TopicPartition: Int64] {
        let member = try KafkaHandle(
            RD_KAFKA_CONSUMER, configuration, fixed: ["group.id": group, "enable.auto.commit": "false"], log: nil)
        return try member.committed(partitions, timeoutMilliseconds: timeoutMilliseconds)
    }
}

extension KafkaHandle {
    /// The offsets that this client's group has committed; without those partitions where it has committed none. Blocks.
    func committed(
        _ partitions: [TopicPartition], timeoutMilliseconds: Int32
    ) throws(KafkaError) -> [TopicPartition: Int64] {
        let list = rd_kafka_topic_partition_list_new(Int32(clamping: partitions.count))
        defer { rd_kafka_topic_partition_list_destroy(list) }
        for partition in partitions { rd_kafka_topic_partition_list_add(list, partition.topic, partition.partition) }
        let code = askAgain(timeoutMilliseconds, while: Self.coordinatorComes) {
            rd_kafka_committed(pointer, list, timeoutMilliseconds)
        }
        guard code == RD_KAFKA_RESP_ERR_NO_ERROR, let list else { throw KafkaError(code, "the group's offsets") }
        var committed: [TopicPartition: Int64] = [:]
        for index in 0..<Int(list.pointee.cnt) {
            let element = list.pointee.elems[index]
            guard element.err == RD_KAFKA_RESP_ERR_NO_ERROR else {
                throw KafkaError(element.err, "the group's offsets")
            }
            guard element.offset >= 0 else { continue }
            committed[TopicPartition(topic: String(cString: element.topic), partition: element.partition)] =
                element.offset
        }
        return committed
    }

    struct PartitionMetadata: Sendable {
        let id: Int32
        let leader: Int32
        let replicas: [Int32]
        let inSyncReplicas: [Int32]
    }

    /// Every topic of the cluster with its partitions in order. Blocks. Asking for all of them never makes one.
    func topics(timeoutMilliseconds: Int32 = 15_000) throws(KafkaError) -> [String: [PartitionMetadata]] {
        var answer: UnsafePointer<rd_kafka_metadata>?
        let code = rd_kafka_metadata(pointer, 1, nil, &answer, timeoutMilliseconds)
        guard code == RD_KAFKA_RESP_ERR_NO_ERROR, let answer else {
            throw KafkaError(code, "asking the cluster for its topics: \(KafkaError(code).message)")
        }
        defer { rd_kafka_metadata_destroy(answer) }
        var topics: [String: [PartitionMetadata]] = [:]
        for topic in UnsafeBufferPointer(start: answer.pointee.topics, count: Int(answer.pointee.topic_cnt))
        where topic.err == RD_KAFKA_RESP_ERR_NO_ERROR || topic.err == RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE {
            let partitions = UnsafeBufferPointer(start: topic.partitions, count: Int(topic.partition_cnt))
            topics[String(cString: topic.topic)] = partitions.map { partition in
                PartitionMetadata(
                    id: partition.id, leader: partition.leader,
                    replicas: Array(
                        UnsafeBufferPointer(start: partition.replicas, count: Int(partition.replica_cnt))),
                    inSyncReplicas: Array(UnsafeBufferPointer(start: partition.isrs, count: Int(partition.isr_cnt))))
            }.sorted { $0.id < $1.id }
        }
        return topics
    }

    func partitions(of topic: String) throws(KafkaError) -> [Int32] {
        guard let partitions = try topics()[topic] else {
            throw KafkaError(RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC, "there is no topic \(topic)")
        }
        return partitions.map(\.id)
    }

    /// Makes a request of the admin API and reads its answer. Blocks.
    func ask(
        _ operation: rd_kafka_admin_op_t, _ timeoutMilliseconds: Int32,
        request: (_ options: OpaquePointer?, _ queue: OpaquePointer?) -> Void,
        answer: (_ event: OpaquePointer) throws(KafkaError) -> Void
    ) throws(KafkaError) {
        let queue = rd_kafka_queue_new(pointer)
        defer { rd_kafka_queue_destroy(queue) }
        let options = rd_kafka_AdminOptions_new(pointer, operation)
        defer { rd_kafka_AdminOptions_destroy(options) }
        var text = [CChar](repeating: 0, count: 512)
        guard
            rd_kafka_AdminOptions_set_request_timeout(options, timeoutMilliseconds, &text, text.count)
                == RD_KAFKA_RESP_ERR_NO_ERROR
        else { throw .invalid(Self.string(text)) }
        request(options, queue)
        // Librdkafka answers in any case, at the latest when the request's own time-out is over.
        guard let event = rd_kafka_queue_poll(queue, timeoutMilliseconds + 5_000) else {
            throw KafkaError(RD_KAFKA_RESP_ERR__TIMED_OUT, "no answer from the cluster")
        }
        defer { rd_kafka_event_destroy(event) }
        let code = rd_kafka_event_error(event)
        guard code == RD_KAFKA_RESP_ERR_NO_ERROR else {
            throw KafkaError(code, rd_kafka_event_error_string(event).map { String(cString: $0) })
        }
        try answer(event)
    }
}
