// How the topics of `Models` are made on a broker.
import Kafka
import Models

enum TopicPlan {
    /// A publisher's record of up to this size is taken, so that what is too large for an event can be put to the dead
    /// letters and named there, instead of being refused where nobody sees it.
    static let recordBytesMax = 4 << 20
    /// A dead letter is the record as it came and what was found wrong with it.
    static let deadRecordBytesMax = recordBytesMax + (64 << 10)

    /// Every topic and its dead letters.
    static func specifications(partitions: Int32? = nil, replicationFactor: Int32 = -1) -> [TopicSpecification] {
        Topic.allCases.flatMap { topic in
            [
                TopicSpecification(
                    name: topic.name, partitions: topic.partitions == 1 ? 1 : partitions ?? topic.partitions,
                    replicationFactor: replicationFactor, configuration: configuration(of: topic)),
                TopicSpecification(
                    name: topic.deadLetters, partitions: 1, replicationFactor: replicationFactor,
                    configuration: [
                        "cleanup.policy": "delete",
                        "retention.ms": milliseconds(hours: Topic.deadLetterRetentionHours),
                        "max.message.bytes": "\(deadRecordBytesMax)",
                    ]),
            ]
        }
    }

    private static func configuration(of topic: Topic) -> [String: String] {
        var configuration = ["max.message.bytes": "\(recordBytesMax)"]
        if topic.isCompacted {
            configuration["cleanup.policy"] = "compact"
        } else {
            configuration["cleanup.policy"] = "delete"
            configuration["retention.ms"] = milliseconds(hours: topic.retentionHours)
        }
        // Others than the services write to it: a few kilobytes, compressed, may be gigabytes to whoever reads them. So the
        // broker unpacks them, and counts what there is then.
        if topic == .orders { configuration["compression.type"] = "uncompressed" }
        if topic.usesLogAppendTime { configuration["message.timestamp.type"] = "LogAppendTime" }
        return configuration
    }

    private static func milliseconds(hours: Int) -> String { "\(hours * 3_600_000)" }

    /// `orders` or `orders.dead`.
    static func deadLetters(named name: String) -> Topic? {
        Topic(rawValue: name.hasSuffix(".dead") ? String(name.dropLast(5)) : name)
    }
}
