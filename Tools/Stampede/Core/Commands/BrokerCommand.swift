// The embedded broker in a process of its own.
import Foundation
import Kafka

struct BrokerCommand: Command {
    static let description = CommandDescription(
        "broker", "run the embedded broker: in memory, for trying",
        options: [Option("address-file", "FILE", "write its address there once it answers")],
        details: """
            It speaks Kafka's protocol on a free port of 127.0.0.1, keeps the last 5 MB or 100,000 records of a partition in
            memory, and nothing once it ends. It has every topic of Stampede from its start.
            """)

    private let addressFile: String?

    init(_ arguments: Arguments, _ settings: Settings) {
        addressFile = arguments["address-file"]
    }

    func run(_ console: Console) async throws -> ExitCode {
        let broker = try EmbeddedBroker()
        defer { broker.close() }
        for topic in TopicPlan.specifications() { try broker.createTopic(topic.name, partitions: topic.partitions) }
        if let addressFile {
            do {
                try Data(broker.bootstrapServers.utf8).write(to: URL(fileURLWithPath: addressFile), options: .atomic)
            } catch {
                throw CommandError(.failure, "\(addressFile) cannot be written: \(error)")
            }
        }
        console.print(broker.bootstrapServers)
        await Interruption.wait()
        return .success
    }
}
