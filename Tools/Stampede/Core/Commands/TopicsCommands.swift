// Topics: make them, look at them, see how far behind the services are.
import JSON
import Kafka
import Models

struct TopicsCreateCommand: Command {
    static let description = CommandDescription(
        "topics create", "make every topic of Stampede that is not there",
        options: [
            Option("partitions", "N", "of topics that scale; the most instances of one service", default: "12"),
            Option("replication-factor", "N", "copies of each partition; -1: as the brokers say", default: "-1"),
            .json,
        ],
        details: "Topics that exist stay as they are. One that exists with other partitions is an error.")

    private let kafka: KafkaConfiguration
    private let topics: [TopicSpecification]
    private let json: Bool

    init(_ arguments: Arguments, _ settings: Settings) throws {
        kafka = try settings.kafka(clientID: "stampede-topics")
        topics = TopicPlan.specifications(
            partitions: Int32(try arguments.integer("partitions", in: 1...1000)),
            replicationFactor: Int32(try arguments.integer("replication-factor", in: -1...100)))
        json = arguments.has("json")
    }

    func run(_ console: Console) async throws -> ExitCode {
        let creation = try await KafkaAdmin(kafka).create(topics: topics)
        if json {
            var writer = JSONWriter()
            writer.object {
                $0.field("created", creation.created)
                $0.field("existing", creation.existing)
            }
            console.print(json: writer.bytes)
        } else {
            for name in creation.created { console.print("created  \(name)") }
            for name in creation.existing { console.print("existed  \(name)") }
        }
        return .success
    }
}

struct TopicsDescribeCommand: Command {
    static let description = CommandDescription(
        "topics describe", "partitions, records and settings of topics", words: ["[TOPIC…]"], options: [.json])

    private let kafka: KafkaConfiguration
    private let names: [String]
    private let json: Bool

    init(_ arguments: Arguments, _ settings: Settings) throws {
        kafka = try settings.kafka(clientID: "stampede-topics")
        names = arguments.words.isEmpty ? TopicPlan.specifications().map(\.name) : arguments.words
        json = arguments.has("json")
    }

    func run(_ console: Console) async throws -> ExitCode {
        let topics = try await KafkaAdmin(kafka).describe(topics: names).sorted { $0.name < $1.name }
        if json {
            var writer = JSONWriter()
            writer.array { for topic in topics { write(topic, to: &$0) } }
            console.print(json: writer.bytes)
            return .success
        }
        var table = Table([
            ("topic", .left), ("partitions", .right), ("copies", .right), ("oldest", .right), ("records", .right),
            ("kept", .left),
        ])
        for topic in topics {
            let records = topic.partitions.reduce(0) { $0 + $1.highWatermark - $1.lowWatermark }
            table.add([
                topic.name, "\(topic.partitions.count)", "\(topic.partitions.map(\.replicas.count).min() ?? 0)",
                (topic.partitions.map(\.lowWatermark).min() ?? 0).grouped, records.grouped,
                Self.kept(topic.configuration),
            ])
        }
        console.print(table.text)
        return .success
    }

    static func kept(_ configuration: [String: String]) -> String {
        if configuration["cleanup.policy"] == "compact" { return "compacted" }
        guard let milliseconds = configuration["retention.ms"].flatMap({ Int64($0) }) else { return "" }
        let hours = milliseconds / 3_600_000
        return hours % 24 == 0 ? "\(hours / 24) d" : "\(hours) h"
    }

    private func write(_ topic: TopicDescription, to writer: inout JSONWriter) {
        writer.object {
            $0.field("topic", topic.name)
            $0.name("partitions")
            $0.array {
                for partition in topic.partitions {
                    $0.object {
                        $0.field("partition", Int64(partition.id))
                        $0.field("leader", Int64(partition.leader))
                        $0.field("replicas", partition.replicas.map { Int64($0) })
                        $0.field("inSyncReplicas", partition.inSyncReplicas.map { Int64($0) })
                        $0.field("lowWatermark", partition.lowWatermark)
                        $0.field("highWatermark", partition.highWatermark)
                    }
                }
            }
            $0.name("configuration")
            $0.object {
                for (name, value) in topic.configuration.sorted(by: { $0.key < $1.key }) {
                    $0.name(escaping: name)
                    $0.value(value)
                }
            }
        }
    }
}

struct TopicsLagCommand: Command {
    static let description = CommandDescription(
        "topics lag", "how many records each service has still to process",
        options: [
            Option("group", "NAME", "a consumer group that is not one of Stampede's own; with --topic"),
            Option("topic", "NAME", "the topic that --group reads"),
            .json,
        ])

    private let kafka: KafkaConfiguration
    private let readers: [ConsumerGroups.Reader]
    private let json: Bool

    init(_ arguments: Arguments, _ settings: Settings) throws {
        kafka = try settings.kafka(clientID: "stampede-topics")
        json = arguments.has("json")
        switch (arguments["group"], arguments["topic"]) {
        case (let group?, let topic?): readers = [.init(group: group, topic: topic)]
        case (nil, nil): readers = ConsumerGroups.all
        default: throw UsageError("--group and --topic belong together")
        }
    }

    func run(_ console: Console) async throws -> ExitCode {
        let admin = try KafkaAdmin(kafka)
        var table = Table([("group", .left), ("topic", .left), ("lag", .right), ("largest of a partition", .right)])
        var writer = JSONWriter()
        var lags: [(ConsumerGroups.Reader, [TopicPartition: Int64])] = []
        for reader in readers {
            lags.append((reader, try await admin.lag(group: reader.group, topics: [reader.topic])))
        }
        writer.array {
            for (reader, lag) in lags {
                let total = lag.values.reduce(0, +)
                table.add([reader.group, reader.topic, total.grouped, (lag.values.max() ?? 0).grouped])
                $0.object {
                    $0.field("group", reader.group)
                    $0.field("topic", reader.topic)
                    $0.field("lag", total)
                    $0.name("partitions")
                    $0.object {
                        for (partition, records) in lag.sorted(by: { $0.key < $1.key }) {
                            $0.name(escaping: "\(partition.partition)")
                            $0.value(records)
                        }
                    }
                }
            }
        }
        if json { console.print(json: writer.bytes) } else { console.print(table.text) }
        return .success
    }
}
