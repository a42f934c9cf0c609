// Reading without a group and looking after a cluster, on every broker there is.
import Observability
import TestSupport
import Testing

@testable import Kafka

@Suite(.timeLimit(.minutes(2))) struct TopicReaderContract {
    private func reader(
        _ broker: TestBroker, _ topic: String, _ partitions: [Int32]? = nil, from start: TopicReader.Start
    ) async throws -> TopicReader {
        try await TopicReader(
            broker.configuration, topic: topic, partitions: partitions, from: start, log: testLog, metrics: Metrics())
    }

    @Test(arguments: TestBroker.kinds)
    func aReaderKnowsWhenItHasReadAll(_ kind: TestBroker.Kind) async throws {
        let broker = try await TestBroker.make(kind)
        let topic = try await broker.topic(partitions: 3)
        let producer = try KafkaProducer.test(broker)
        try await producer.send(.numbered(0..<2_000, topic: topic))
        let reader = try await reader(broker, topic, from: .beginning)
        #expect(!reader.isAtEnd)
        var numbers: [Int] = []
        while !reader.isAtEnd, let batches = try await reader.next(recordsMax: 100) {
            #expect(batches.reduce(0) { $0 + $1.count } <= 100)
            numbers += batches.joined().compactMap(\.number)
        }
        #expect(numbers.sorted() == Array(0..<2_000))
        #expect(try await reader.watermarks().values.reduce(0) { $0 + $1.high } == 2_000)

        try await producer.send(.numbered(2_000..<2_010, topic: topic))
        var more: [Int] = []
        while more.count < 10, let batches = try await reader.next(recordsMax: 100) {
            more += batches.joined().compactMap(\.number)
        }
        #expect(more.sorted() == Array(2_000..<2_010))
        await reader.close()
        #expect(try await reader.next(recordsMax: 1) == nil)
        await producer.close(timeoutSeconds: 5)
    }

    @Test(arguments: TestBroker.kinds)
    func anEmptyTopicIsReadToItsEndAtOnce(_ kind: TestBroker.Kind) async throws {
        let broker = try await TestBroker.make(kind)
        let topic = try await broker.topic(partitions: 2)
        let reader = try await reader(broker, topic, from: .beginning)
        while !reader.isAtEnd {
            let batches = try #require(try await reader.next(recordsMax: 100))
            #expect(batches.isEmpty)
        }
        await reader.close()
    }

    @Test(arguments: TestBroker.kinds)
    func aReaderStartsWhereItIsTold(_ kind: TestBroker.Kind) async throws {
        let broker = try await TestBroker.make(kind)
        let topic = try await broker.topic(partitions: 2)
        let producer = try KafkaProducer.test(broker)
        try await producer.send(.numbered(0..<10, topic: topic, partition: 0))
        try await producer.send(.numbered(10..<20, topic: topic, partition: 1))

        let tail = try await reader(broker, topic, from: .end)
        let some = try await reader(broker, topic, from: .offsets([0: 7]))
        let one = try await reader(broker, topic, [1], from: .beginning)
        try await producer.send(.numbered(20..<22, topic: topic, partition: 0))

        func read(_ reader: TopicReader, _ count: Int) async throws -> [Int] {
            var numbers: [Int] = []
            while numbers.count < count, let batches = try await reader.next(recordsMax: 100) {
                numbers += batches.joined().compactMap(\.number)
            }
            await reader.close()
            return numbers.sorted()
        }
        #expect(try await read(tail, 2) == [20, 21])
        #expect(try await read(some, 15) == [7, 8, 9] + Array(10..<22))
        #expect(try await read(one, 10) == Array(10..<20))
        await producer.close(timeoutSeconds: 5)
    }

    @Test(arguments: TestBroker.kinds)
    func aBatchThatCannotBeUnpackedIsPassedOver(_ kind: TestBroker.Kind) async throws {
        let broker = try await TestBroker.make(kind)
        let topic = try await broker.topic(partitions: 2)
        let producer = try KafkaProducer.test(broker)
        try await broker.sendCompressed(800, topic: topic, partition: 0)
        try await broker.sendCompressed(900, topic: topic, partition: 1)
        try await producer.send(.numbered(0..<10, topic: topic, partition: 0))
        let reader = try await TopicReader(
            broker.configuration(TestBroker.readsLittle), topic: topic, from: .beginning, log: testLog,
            metrics: Metrics())
        var records: [Int32: [ConsumedRecord]] = [:]
        while !reader.isAtEnd, let batches = try await reader.next(recordsMax: 100) {
            for batch in batches { records[batch.partition, default: []] += batch }
        }
        #expect(records[0]?.map(\.offset) == Array(799..<810))
        #expect(records[0]?.dropFirst().map(\.number) == Array(0..<10))
        #expect(records[1]?.map(\.offset) == [899])
        for record in [records[0]?.first, records[1]?.first] {
            #expect(record?.unreadable?.hasPrefix("offsets 0 to ") == true)
            #expect(record?.key == nil && record?.value == nil && record?.headers == [])
        }
        await reader.close()
        await producer.close(timeoutSeconds: 5)
    }

    @Test(arguments: TestBroker.kinds)
    func waitingEndsWithTheTimeOrTheReader(_ kind: TestBroker.Kind) async throws {
        let broker = try await TestBroker.make(kind)
        let topic = try await broker.topic(partitions: 1)
        let reader = try await reader(broker, topic, from: .end)
        while !reader.isAtEnd { _ = try await reader.next(recordsMax: 1) }
        #expect(try await reader.next(recordsMax: 1, waitMilliseconds: 1)?.isEmpty == true)
        let waiting = Task { try await reader.next(recordsMax: 1) }
        await reader.close()
        #expect(try await waiting.value == nil)
    }

    @Test(arguments: TestBroker.kinds)
    func whatCannotBeReadIsNamed(_ kind: TestBroker.Kind) async throws {
        let broker = try await TestBroker.make(kind)
        let missing = TestBroker.uniqueName("missing")
        let unknown = await #expect(throws: KafkaError.self) { try await reader(broker, missing, from: .beginning) }
        #expect(unknown?.isUnknownTopic == true)
        #expect(unknown?.message.contains(missing) == true)

        let topic = try await broker.topic(partitions: 1)
        let partition = await #expect(throws: KafkaError.self) { try await reader(broker, topic, [5], from: .end) }
        #expect(partition?.isUnknownTopic == true)

        let beyond = try await reader(broker, topic, from: .offsets([0: 99]))
        let error = await #expect(throws: KafkaError.self) {
            while let batches = try await beyond.next(recordsMax: 1) { #expect(batches.isEmpty) }
        }
        #expect(error?.isOffsetOutOfRange == true)
        await beyond.close()
    }
}

@Suite(.timeLimit(.minutes(2))) struct KafkaAdminContract {
    @Test(arguments: TestBroker.kinds)
    func aClusterHasOneID(_ kind: TestBroker.Kind) async throws {
        let broker = try await TestBroker.make(kind)
        let id = try await KafkaAdmin(broker.configuration).clusterID()
        #expect(!id.isEmpty)
        #expect(try await KafkaAdmin(broker.configuration).clusterID() == id)
        let other = try await TestBroker.make(.embedded, fresh: true)
        #expect(try await KafkaAdmin(other.configuration).clusterID() != id)
    }

    @Test(arguments: TestBroker.kinds)
    func topicsThatExistAreLeftAsTheyAre(_ kind: TestBroker.Kind) async throws {
        let broker = try await TestBroker.make(kind)
        let topic = try await broker.topic(partitions: 3)
        let admin = try KafkaAdmin(broker.configuration)
        let again = try await admin.create(topics: [TopicSpecification(name: topic, partitions: 3)])
        #expect(again == TopicCreation(created: [], existing: [topic]))
        let error = await #expect(throws: KafkaError.self) {
            try await admin.create(topics: [TopicSpecification(name: topic, partitions: 4)])
        }
        #expect(error?.message.contains("\(topic) has 3 partitions, expected 4") == true)
    }

    @Test(.enabled(if: TestBroker.kinds.contains(.apache)))
    func aTopicIsMadeAsItWasSpecified() async throws {
        let broker = try await TestBroker.make(.apache)
        let admin = try KafkaAdmin(broker.configuration)
        let name = TestBroker.uniqueName("made")
        let made = try await admin.create(topics: [
            TopicSpecification(
                name: name, partitions: 5,
                configuration: ["message.timestamp.type": "LogAppendTime", "cleanup.policy": "compact"])
        ])
        #expect(made == TopicCreation(created: [name], existing: []))
        let topic = try #require(try await admin.describe(topics: [name]).first)
        #expect(topic.partitions.map(\.id) == [0, 1, 2, 3, 4])
        #expect(topic.partitions.allSatisfy { $0.leader >= 0 && $0.inSyncReplicas == $0.replicas })
        #expect(topic.configuration["message.timestamp.type"] == "LogAppendTime")
        #expect(topic.configuration["cleanup.policy"] == "compact")

        let producer = try KafkaProducer.test(broker)
        try await producer.send(topic: name, key: [1], value: [1])
        #expect(try await readAll(name, 1, on: broker).first?.timestampType == .logAppendTime)
        await producer.close(timeoutSeconds: 5)

        let bad = await #expect(throws: KafkaError.self) {
            try await admin.create(topics: [
                TopicSpecification(
                    name: TestBroker.uniqueName("bad"), partitions: 1, configuration: ["cleanup.policy": "hoard"])
            ])
        }
        #expect(bad?.message.contains("cleanup.policy") == true)
    }

    @Test func theEmbeddedBrokerSaysWhichTopicItLacks() async throws {
        let broker = try await TestBroker.make()
        let missing = TestBroker.uniqueName("missing")
        let error = await #expect(throws: KafkaError.self) {
            try await KafkaAdmin(broker.configuration).create(topics: [
                TopicSpecification(name: missing, partitions: 1)
            ])
        }
        #expect(error?.message.contains("topic \(missing) does not exist") == true)
    }

    @Test(arguments: TestBroker.kinds)
    func describingTellsHowMuchThereIs(_ kind: TestBroker.Kind) async throws {
        let broker = try await TestBroker.make(kind)
        let topic = try await broker.topic(partitions: 2)
        let producer = try KafkaProducer.test(broker)
        try await producer.send(.numbered(0..<7, topic: topic, partition: 1))
        let admin = try KafkaAdmin(broker.configuration)
        let described = try #require(try await admin.describe(topics: [topic]).first)
        #expect(described.name == topic)
        #expect(described.partitions.map(\.lowWatermark) == [0, 0])
        #expect(described.partitions.map(\.highWatermark) == [0, 7])
        #expect(try await admin.describe().contains { $0.name == topic })
        let error = await #expect(throws: KafkaError.self) { try await admin.describe(topics: ["nowhere"]) }
        #expect(error?.isUnknownTopic == true)
        await producer.close(timeoutSeconds: 5)
    }

    @Test(arguments: TestBroker.kinds)
    func theLagOfATopicThatDoesNotExistIsAnError(_ kind: TestBroker.Kind) async throws {
        let broker = try await TestBroker.make(kind)
        let error = await #expect(throws: KafkaError.self) {
            try await KafkaAdmin(broker.configuration).lag(group: "g", topics: ["nowhere"])
        }
        #expect(error?.isUnknownTopic == true)
    }

    @Test func aClusterThatIsNotThereIsAnErrorOfTheCall() async throws {
        let broker = try EmbeddedBroker()
        let servers = broker.bootstrapServers
        broker.close()
        let configuration = KafkaConfiguration(
            bootstrapServers: servers, clientID: "test", properties: ["socket.connection.setup.timeout.ms": "1000"])
        let error = await #expect(throws: KafkaError.self) { try await KafkaAdmin(configuration).describe() }
        #expect(error?.isRetriable == true)
    }
}
