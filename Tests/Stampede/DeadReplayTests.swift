// Sending dead letters again: once each, however many of them come back meanwhile.
import Kafka
import Models
import Observability
import TestSupport
import Testing

@testable import StampedeCore

@Suite(.timeLimit(.minutes(2))) struct DeadReplayTests {
    /// A service that finds every record broken still, as fast as it can.
    @Test(arguments: TestBroker.kinds)
    func whatIsStillBrokenComesBackAndTheReplayEndsAllTheSame(_ kind: TestBroker.Kind) async throws {
        let broker = try await TestBroker.make(kind, fresh: kind == .embedded)
        try await broker.create(
            [Topic.orders.name, Topic.orders.deadLetters].map { TopicSpecification(name: $0, partitions: 3) })
        let (log, metrics) = (Logger(service: "test", level: .error), Metrics())
        let producer = try KafkaProducer(broker.configuration, log: log, metrics: metrics)
        let count = 2_500
        var letters = RecordBatch()
        for number in 0..<count {
            letters.append(
                topic: Topic.orders.deadLetters, key: Array("\(number % 7)".utf8), value: Array("\(number)".utf8),
                headers: [("ce_id", Array("\(number)".utf8)), ("stampede-dead-reason", Array("broken".utf8))])
        }
        try await producer.send(letters)
        let orders = try await TopicReader(
            broker.configuration, topic: Topic.orders.name, from: .end, log: log, metrics: metrics)
        let service = Task {
            var seen: [String] = []
            while seen.count < count, let batches = try await orders.next(recordsMax: 100) {
                var back = RecordBatch()
                for record in batches.joined() {
                    #expect(record.headers.map(\.name) == ["ce_id"])
                    seen.append(record.value?.description ?? "")
                    back.append(
                        topic: Topic.orders.deadLetters, key: record.key.map { Array($0) },
                        value: record.value.map { Array($0) },
                        headers: record.headers.map { ($0.name, $0.value) })
                }
                try await producer.send(back)
            }
            return seen
        }
        let console = Console(out: { #expect($0 == "replayed 2,500\n") }, err: { _ in })
        let code = await StampedeTool.run(
            ["dead", "replay", "orders"], environment: ["KAFKA_BOOTSTRAP_SERVERS": broker.bootstrapServers],
            console: console)
        #expect(code == .success)
        let seen = try await service.value
        #expect(Set(seen) == Set((0..<count).map(String.init)))
        await orders.close()
        await producer.close(timeoutSeconds: 5)
    }
}
