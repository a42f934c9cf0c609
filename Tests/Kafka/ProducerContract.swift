// What sending promises, on every broker there is.
import Observability
import TestSupport
import Testing

@testable import Kafka

let testLog = Logger(service: "test", level: .error)

/// Reads a topic from its beginning until `count` records have come; sorted by partition and offset.
func readAll(_ topic: String, _ count: Int, on broker: TestBroker) async throws -> [ConsumedRecord] {
    let reader = try await TopicReader(
        broker.configuration, topic: topic, from: .beginning, log: testLog, metrics: Metrics())
    var records: [ConsumedRecord] = []
    while records.count < count, let batches = try await reader.next(recordsMax: 10_000) {
        records += batches.joined()
    }
    await reader.close()
    return records.sorted { ($0.partition, $0.offset) < ($1.partition, $1.offset) }
}

extension KafkaProducer {
    static func test(
        _ broker: TestBroker, _ properties: [String: String] = [:], queueBytesMax: Int = 32 << 20,
        giveUpSeconds: Int? = nil
    ) throws -> KafkaProducer {
        try KafkaProducer(
            broker.configuration(properties), log: testLog, metrics: Metrics(), queueBytesMax: queueBytesMax,
            giveUpSeconds: giveUpSeconds)
    }
}

extension RecordBatch {
    /// Records whose values are their numbers, spread by key over the partitions.
    static func numbered(_ range: Range<Int>, topic: String, partition: Int32? = nil) -> RecordBatch {
        var batch = RecordBatch()
        for number in range {
            batch.append(
                topic: topic, key: Array("key-\(number % 97)".utf8), value: Array("\(number)".utf8),
                headers: [("ce_id", Array("\(number)".utf8))], partition: partition)
        }
        return batch
    }
}

extension ConsumedRecord {
    var number: Int? { value.flatMap { Int($0.description) } }
}

@Suite(.timeLimit(.minutes(2))) struct ProducerContract {
    @Test(arguments: TestBroker.kinds)
    func aRecordIsReadAsItWasSent(_ kind: TestBroker.Kind) async throws {
        let broker = try await TestBroker.make(kind)
        let topic = try await broker.topic(partitions: 3)
        let producer = try KafkaProducer.test(broker)
        let position = try await producer.send(
            topic: topic, key: [1, 2], value: Array("value".utf8),
            headers: [("a", [1]), ("b", []), ("a", Array("last".utf8))], partition: 2)
        #expect(position == RecordPosition(topic: topic, partition: 2, offset: 0))

        let record = try #require(try await readAll(topic, 1, on: broker).first)
        #expect(record.topic == topic)
        #expect(record.partition == 2)
        #expect(record.offset == 0)
        #expect(record.key.map { Array($0) } == [1, 2])
        #expect(record.value?.description == "value")
        #expect(
            record.headers == [
                Header(name: "a", value: [1]), Header(name: "b", value: []),
                Header(name: "a", value: Array("last".utf8)),
            ])
        #expect(record.header("a")?.description == "last")
        #expect(record.header("b")?.isEmpty == true)
        #expect(record.header("absent") == nil)
        #expect(record.header(named: "a")?.description == "last")
        record.withContents { contents in
            let (b, absent, a, other) = contents.headers("b", "absent", "a", "aa")
            #expect(a?.elementsEqual("last".utf8) == true && b?.isEmpty == true && absent == nil && other == nil)
            #expect(contents.header("a")?.elementsEqual("last".utf8) == true)
            #expect(contents.key?.elementsEqual(record.key ?? ByteView([])) == true)
            #expect(contents.value?.elementsEqual(record.value ?? ByteView([])) == true)
        }
        #expect(record.timestampType == .createTime)
        #expect(record.timestamp > 1_600_000_000_000)
        await producer.close(timeoutSeconds: 5)
    }

    @Test(arguments: TestBroker.kinds)
    func aTombstoneAndAnEmptyValueAreDifferent(_ kind: TestBroker.Kind) async throws {
        let broker = try await TestBroker.make(kind)
        let topic = try await broker.topic(partitions: 1)
        let producer = try KafkaProducer.test(broker)
        var batch = RecordBatch()
        batch.append(topic: topic, key: [1], value: nil)
        batch.append(topic: topic, key: [2], value: [])
        batch.append(topic: topic, key: nil, value: [3])
        try await producer.send(batch)
        let records = try await readAll(topic, 3, on: broker)
        #expect(records.map { $0.value.map { Array($0) } } == [nil, [], [3]])
        #expect(records.map { $0.key.map { Array($0) } } == [[1], [2], nil])
        await producer.close(timeoutSeconds: 5)
    }

    @Test(arguments: TestBroker.kinds)
    func aConsumedRecordIsPassedOnAsItCame(_ kind: TestBroker.Kind) async throws {
        let broker = try await TestBroker.make(kind)
        let topic = try await broker.topic(partitions: 1)
        let dead = try await broker.topic("dead", partitions: 1)
        let producer = try KafkaProducer.test(broker)
        try await producer.send(topic: topic, key: [1], value: [2], headers: [("h", [3]), ("e", [])])
        let record = try #require(try await readAll(topic, 1, on: broker).first)
        var batch = RecordBatch()
        batch.append(
            copyOf: record, topic: dead,
            within: .init(keyBytesMax: 1000, valueBytesMax: 1000, headersMax: 100, headerBytesMax: 1000)
        ) { cut in
            #expect(cut == nil)
            return [("reason", [4])]
        }
        try await producer.send(batch)
        let passed = try #require(try await readAll(dead, 1, on: broker).first)
        #expect(passed.key == record.key)
        #expect(passed.value == record.value)
        #expect(passed.headers == record.headers + [Header(name: "reason", value: [4])])
        await producer.close(timeoutSeconds: 5)
    }

    @Test(arguments: TestBroker.kinds)
    func whatSendReturnedForIsInTheLog(_ kind: TestBroker.Kind) async throws {
        let broker = try await TestBroker.make(kind)
        let topic = try await broker.topic(partitions: 1)
        let producer = try KafkaProducer.test(broker)
        let admin = try KafkaAdmin(broker.configuration)
        for round in 1...5 {
            try await producer.send(.numbered(0..<100, topic: topic))
            let log = try #require(try await admin.describe(topics: [topic]).first)
            #expect(log.partitions.map(\.highWatermark) == [Int64(round) * 100])
        }
        await producer.close(timeoutSeconds: 5)
    }

    @Test(arguments: TestBroker.kinds)
    func theRecordsOfACallKeepTheirOrder(_ kind: TestBroker.Kind) async throws {
        let broker = try await TestBroker.make(kind)
        let topic = try await broker.topic(partitions: 4)
        let producer = try KafkaProducer.test(broker)
        try await producer.send(.numbered(0..<20_000, topic: topic))
        let records = try await readAll(topic, 20_000, on: broker)
        for (partition, records) in Dictionary(grouping: records, by: \.partition) {
            let numbers = records.compactMap(\.number)
            #expect(numbers == numbers.sorted(), "partition \(partition)")
            #expect(records.count > 1_000)
        }
        #expect(Set(records.compactMap(\.number)).count == 20_000)
        #expect(records.allSatisfy { $0.header("ce_id") == $0.value })
        await producer.close(timeoutSeconds: 5)
    }

    @Test(arguments: TestBroker.kinds)
    func aFullQueueMakesCallsWaitAndLosesNothing(_ kind: TestBroker.Kind) async throws {
        let broker = try await TestBroker.make(kind)
        let topic = try await broker.topic(partitions: 2)
        let producer = try KafkaProducer.test(broker, ["queue.buffering.max.messages": "50"])
        try await withThrowingTaskGroup(of: Void.self) { group in
            for part in 0..<8 {
                group.addTask {
                    try await producer.send(.numbered(part * 1_000..<(part + 1) * 1_000, topic: topic))
                }
            }
            try await group.waitForAll()
        }
        let records = try await readAll(topic, 8_000, on: broker)
        #expect(records.count == 8_000)
        #expect(Set(records.compactMap(\.number)) == Set(0..<8_000))
        for (_, records) in Dictionary(grouping: records, by: { [Int($0.partition), ($0.number ?? 0) / 1_000] }) {
            let numbers = records.compactMap(\.number)
            #expect(numbers == numbers.sorted())
        }
        await producer.close(timeoutSeconds: 5)
    }

    @Test(arguments: TestBroker.kinds)
    func callsOfManyTasksAreEachAcknowledged(_ kind: TestBroker.Kind) async throws {
        let broker = try await TestBroker.make(kind)
        let topic = try await broker.topic(partitions: 2)
        let producer = try KafkaProducer.test(broker)
        let positions = try await withThrowingTaskGroup(of: RecordPosition.self) { group in
            for number in 0..<500 {
                group.addTask { try await producer.send(topic: topic, key: nil, value: Array("\(number)".utf8)) }
            }
            return try await group.reduce(into: Set()) { $0.insert($1) }
        }
        #expect(positions.count == 500)
        await producer.close(timeoutSeconds: 5)
    }

    @Test(arguments: TestBroker.kinds)
    func aRecordThatIsTooLargeFailsAloneAndIsNamed(_ kind: TestBroker.Kind) async throws {
        let broker = try await TestBroker.make(kind)
        let topic = try await broker.topic(partitions: 1)
        let producer = try KafkaProducer.test(broker, ["message.max.bytes": "100000"])
        var batch = RecordBatch.numbered(0..<10, topic: topic)
        batch.append(topic: topic, key: nil, value: [UInt8](repeating: 7, count: 200_000))
        batch.append(contentsOf: .numbered(10..<20, topic: topic))
        let error = await #expect(throws: KafkaError.self) { try await producer.send(batch) }
        #expect(error?.isRecordTooLarge == true)
        let records = try await readAll(topic, 20, on: broker)
        #expect(records.compactMap(\.number) == Array(0..<20))
        await producer.close(timeoutSeconds: 5)
    }

    /// As `orders` is made: who reads it never has to unpack more than what one batch may have.
    @Test(.enabled(if: TestBroker.kinds.contains(.apache)))
    func aBatchThatIsLargeUnpackedIsRefusedByATopicThatKeepsItUnpacked() async throws {
        let broker = try await TestBroker.make(.apache)
        let topic = try await broker.topic(
            partitions: 1, configuration: ["max.message.bytes": "\(4 << 20)", "compression.type": "uncompressed"])
        let error = await #expect(throws: KafkaError.self) {
            try await broker.sendCompressed(500, topic: topic, partition: 0)
        }
        #expect(error?.isRecordTooLarge == true)
        try await broker.sendCompressed(400, topic: topic, partition: 0)
        let producer = try KafkaProducer.test(broker)
        try await producer.send(.numbered(0..<20, topic: topic))
        #expect(try await readAll(topic, 420, on: broker).compactMap(\.number) == Array(0..<20))
        await producer.close(timeoutSeconds: 5)
    }

    /// On Apache Kafka with a topic as `stampede topics create` makes it, the broker's bound is tried as well.
    @Test(arguments: TestBroker.kinds)
    func theLargestRecordIsTakenAndOneByteMoreIsRefusedBeforehand(_ kind: TestBroker.Kind) async throws {
        let broker = try await TestBroker.make(kind)
        let topic = try await broker.topic(partitions: 1, configuration: ["max.message.bytes": "\(4 << 20)"])
        // Uncompressed, so that the broker sees every byte.
        let producer = try KafkaProducer.test(broker, ["compression.codec": "none"])
        let headers = [("ce_id", Array("1".utf8)), ("ce_type", [UInt8](repeating: 65, count: 1_000))]
        func batch(over: Int) -> RecordBatch {
            let rest = RecordBatch.recordBytes(key: 16, value: 0, headers: 5 + 1 + 7 + 1_000, headerCount: 2)
            var batch = RecordBatch()
            batch.append(topic: topic, key: [], value: [1], headers: headers)
            batch.append(
                topic: topic, key: [UInt8](repeating: 1, count: 16),
                value: [UInt8](repeating: 120, count: producer.recordBytesMax - rest + over), headers: headers)
            batch.append(topic: topic, key: nil, value: nil)
            return batch
        }
        #expect(producer.recordBytesMax == KafkaProducer.recordBytesMax)
        #expect(batch(over: 0).recordsLarger(than: producer.recordBytesMax) == [])
        try await producer.send(batch(over: 0))
        #expect(batch(over: 1).recordsLarger(than: producer.recordBytesMax) == [1])
        // Where librdkafka's count ends in fewer bytes than ours, it takes a little more; never less.
        let error = await #expect(throws: KafkaError.self) { try await producer.send(batch(over: 32)) }
        #expect(error?.isRecordTooLarge == true)
        let records = try await readAll(topic, 5, on: broker)
        #expect(records.map { $0.value?.count }.suffix(3) == [nil, 1, nil])
        await producer.close(timeoutSeconds: 5)
    }

    @Test(arguments: TestBroker.kinds)
    func largeRecordsComeWhole(_ kind: TestBroker.Kind) async throws {
        let broker = try await TestBroker.make(kind)
        let topic = try await broker.topic(partitions: 1)
        let producer = try KafkaProducer.test(broker)
        var random = SeededRandom(seed: 5)
        let values = (0..<4).map { _ in (0..<115_000).flatMap { _ in withUnsafeBytes(of: random.next(), Array.init) } }
        var batch = RecordBatch()
        for value in values { batch.append(topic: topic, key: nil, value: value) }
        try await producer.send(batch)
        let records = try await readAll(topic, values.count, on: broker)
        #expect(records.map { $0.value.map { Array($0) } } == values)
        await producer.close(timeoutSeconds: 5)
    }

    /// Otherwise a Java or Go publisher would put a buyer's orders into another partition.
    @Test func keysMapToPartitionsAsInJavasClient() async throws {
        let broker = try await TestBroker.make()
        let topic = try await broker.topic(partitions: 100)
        let producer = try KafkaProducer.test(broker)
        // From the tests of Kafka's own org.apache.kafka.common.utils.Utils.murmur2.
        let hashes: [String: Int32] = [
            "21": -973_932_308, "foobar": -790_332_482, "a-little-bit-long-string": -985_981_536,
            "a-little-bit-longer-string": -1_486_304_829,
        ]
        for (key, hash) in hashes {
            let position = try await producer.send(topic: topic, key: Array(key.utf8), value: [])
            #expect(position.partition == (hash & 0x7fff_ffff) % 100)
        }
        await producer.close(timeoutSeconds: 5)
    }

    @Test(arguments: TestBroker.kinds)
    func aClosedProducerHasSentWhatItTookAndTakesNoMore(_ kind: TestBroker.Kind) async throws {
        let broker = try await TestBroker.make(kind)
        let topic = try await broker.topic(partitions: 1)
        // Nothing leaves by itself within this test: closing sends it.
        let producer = try KafkaProducer.test(broker, ["linger.ms": "20000"])
        let sending = Task { try await producer.send(.numbered(0..<100, topic: topic)) }
        let admin = try KafkaAdmin(broker.configuration)
        _ = try await admin.clusterID()
        await producer.close(timeoutSeconds: 10)
        let outcome = await sending.result
        let error = await #expect(throws: KafkaError.self) {
            try await producer.send(topic: topic, key: nil, value: [1])
        }
        #expect(error?.isClosed == true)
        let log = try #require(try await admin.describe(topics: [topic]).first)
        // The task may have come too late for its first record, but then it heard so.
        switch outcome {
        case .success: #expect(log.partitions[0].highWatermark == 100)
        case .failure(let error): #expect((error as? KafkaError)?.isClosed == true)
        }
    }

    @Test(.enabled(if: TestBroker.kinds.contains(.apache)))
    func aTopicThatDoesNotExistIsNamed() async throws {
        let broker = try await TestBroker.make(.apache)
        let producer = try KafkaProducer.test(broker, ["topic.metadata.propagation.max.ms": "500"])
        let topic = TestBroker.uniqueName("nowhere")
        let error = await #expect(throws: KafkaError.self) {
            try await producer.send(topic: topic, key: nil, value: [1])
        }
        #expect(error?.isUnknownTopic == true)
        #expect(error?.message.contains(topic) == true)
        await producer.close(timeoutSeconds: 5)
    }

    @Test func settingsThatPromisesRestOnAreFixed() async throws {
        let broker = try await TestBroker.make()
        let error = #expect(throws: KafkaError.self) { try KafkaProducer.test(broker, ["acks": "1"]) }
        #expect(error?.message == "acks is all in this client and cannot be 1")
        let unknown = #expect(throws: KafkaError.self) { try KafkaProducer.test(broker, ["lingering.ms": "1"]) }
        #expect(unknown?.message.contains("lingering.ms") == true)
    }
}

/// Brokers that fail, as the embedded one can be made to.
@Suite(.timeLimit(.minutes(2))) struct ProducerFaults {
    @Test func whatTheBrokerRefusedForAMomentIsSentAgainInOrder() async throws {
        let broker = try await TestBroker.make(fresh: true)
        let topic = try await broker.topic(partitions: 1)
        let producer = try KafkaProducer.test(broker, ["retry.backoff.ms": "10", "batch.num.messages": "100"])
        // Leader moved, took too long, connection lost.
        broker.embedded?.failRequests(.produce, with: [6, 7, -195, 6, -195])
        try await producer.send(.numbered(0..<2_000, topic: topic))
        let records = try await readAll(topic, 2_000, on: broker)
        #expect(records.compactMap(\.number) == Array(0..<2_000))
        await producer.close(timeoutSeconds: 5)
    }

    /// A record that gave up by itself while a later one with its key was sent would leave behind it the next time.
    @Test func whatIsSentWhileTheBrokerIsAwayWaitsAndKeepsItsOrder() async throws {
        let broker = try await TestBroker.make(fresh: true)
        let topic = try await broker.topic(partitions: 1)
        let producer = try KafkaProducer.test(broker, ["reconnect.backoff.max.ms": "200"])
        try await producer.send(.numbered(0..<10, topic: topic))
        try broker.embedded?.setDown(true)
        let ended = Recorder<String>()
        let first = Task {
            try await producer.send(.numbered(10..<20, topic: topic))
            ended.record("first")
        }
        // The first one is on its way: its connection has failed, and was tried again.
        _ = try? await producer.topicPartitions(timeoutSeconds: 1)
        let second = Task {
            try await producer.send(.numbered(20..<30, topic: topic))
            ended.record("second")
        }
        _ = try? await producer.topicPartitions(timeoutSeconds: 1)
        #expect(ended.events == [])
        try broker.embedded?.setDown(false)
        try await first.value
        try await second.value
        #expect(try await readAll(topic, 30, on: broker).compactMap(\.number) == Array(0..<30))
        await producer.close(timeoutSeconds: 5)
    }

    @Test func closingEndsTheWaitForABrokerThatStaysAway() async throws {
        let broker = try await TestBroker.make(fresh: true)
        let topic = try await broker.topic(partitions: 1)
        let producer = try KafkaProducer.test(broker)
        try await producer.send(.numbered(0..<10, topic: topic))
        try broker.embedded?.setDown(true)
        let sending = Task { try await producer.send(.numbered(10..<20, topic: topic)) }
        _ = try? await producer.topicPartitions(timeoutSeconds: 1)
        await producer.close(timeoutSeconds: 0.1)
        let error = await #expect(throws: KafkaError.self) { try await sending.value }
        #expect(error?.isClosed == true)
    }

    @Test func aProgramThatEndsGivesUpOnABrokerThatStaysAwayAndItsReturnIsNoticed() async throws {
        let broker = try await TestBroker.make(fresh: true)
        let topic = try await broker.topic(partitions: 1)
        let producer = try KafkaProducer.test(broker, ["reconnect.backoff.max.ms": "200"], giveUpSeconds: 1)
        try await producer.send(.numbered(0..<10, topic: topic))
        try broker.embedded?.setDown(true)
        let error = await #expect(throws: KafkaError.self) {
            try await producer.send(.numbered(10..<20, topic: topic))
        }
        #expect(error?.isRetriable == true)
        try broker.embedded?.setDown(false)
        try await producer.send(.numbered(20..<30, topic: topic))
        let numbers = try await readAll(topic, 20, on: broker).compactMap(\.number)
        #expect(numbers == Array(0..<10) + Array(20..<30))
        await producer.close(timeoutSeconds: 5)
    }

    @Test func aProducerBeyondRepairIsReplacedForTheNextCall() async throws {
        let broker = try await TestBroker.make(fresh: true)
        let topic = try await broker.topic(partitions: 1)
        // Not allowed to write idempotently: librdkafka gives the client up.
        broker.embedded?.failRequests(.initProducerID, with: [31])
        let producer = try KafkaProducer.test(broker)
        // The client may be given up before the first call, which is then given the next client.
        var expected = Array(10..<20)
        do {
            try await producer.send(.numbered(0..<10, topic: topic))
            expected = Array(0..<20)
        } catch {
            #expect(error.isFatal)
        }
        try await producer.send(.numbered(10..<20, topic: topic))
        #expect(try await readAll(topic, expected.count, on: broker).compactMap(\.number) == expected)
        await producer.close(timeoutSeconds: 5)
    }
}
