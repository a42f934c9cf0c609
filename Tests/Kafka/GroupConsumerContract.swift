// What the members of a group promise, on every broker there is.
import Foundation
import Observability
import Synchronization
import TestSupport
import Testing

@testable import Kafka

extension GroupConsumer {
    static func test(
        _ broker: TestBroker, group: String, topic: String, instanceID: String? = nil,
        revokeTimeoutSeconds: Double = 30, properties: [String: String] = [:]
    ) throws -> GroupConsumer {
        var configuration = broker.memberConfiguration
        configuration.properties.merge(properties) { $1 }
        return try GroupConsumer(
            configuration, group: group, topics: [topic], instanceID: instanceID,
            revokeTimeoutSeconds: revokeTimeoutSeconds, log: testLog, metrics: Metrics())
    }

    /// Runs in a task of its own; an error of `process` or `startOffset` goes to `failed`.
    func start(
        from startOffset: @escaping @Sendable (TopicPartition) async throws -> Int64? = { _ in nil },
        failed: @escaping @Sendable (TopicPartition, any Error) -> Void = { partition, error in
            Issue.record("\(partition): \(error)")
        },
        revoked: @escaping @Sendable ([TopicPartition]) -> Void = { _ in },
        process: @escaping @Sendable (PartitionFeed) async throws -> Void
    ) -> Task<Void, any Error> {
        Task { try await run(startOffset: startOffset, process: process, failed: failed, revoked: revoked) }
    }
}

/// What a service's own store does for a group in these tests: keeps the next offset of each partition, and notices when
/// two members process the same partition at once, or when a batch does not follow the one before.
final class OffsetStore: Sendable {
    private struct State {
        var next: [TopicPartition: Int64] = [:]
        var owners: [TopicPartition: String] = [:]
        var numbers: [Int] = []
        var faults: [String] = []
    }

    private let state = Mutex(State())
    /// Who took part, in order.
    let starts = Recorder<(partition: TopicPartition, member: String)>()
    let totals = Recorder<Int>()

    var numbers: [Int] { state.withLock { $0.numbers } }
    var faults: [String] { state.withLock { $0.faults } }

    func offset(_ partition: TopicPartition) -> Int64? { state.withLock { $0.next[partition] } }

    func process(_ feed: PartitionFeed, as member: String, recordsMax: Int = 50) async throws {
        let partition = feed.partition
        state.withLock { state in
            if let other = state.owners[partition] { state.faults.append("\(partition): \(member) beside \(other)") }
            state.owners[partition] = member
        }
        defer { state.withLock { _ = $0.owners.removeValue(forKey: partition) } }
        starts.record((partition, member))
        while let batch = try await feed.next(recordsMax: recordsMax) {
            await Task.yield()
            let total = state.withLock { state in
                let expected = state.next[partition] ?? 0
                if batch.firstOffset != expected {
                    state.faults.append("\(partition): \(member) got \(batch.firstOffset), expected \(expected)")
                }
                state.next[partition] = batch.nextOffset
                state.numbers += batch.compactMap(\.number)
                return state.numbers.count
            }
            totals.record(total)
        }
    }

    func hasProcessed(_ count: Int) async {
        await totals.wait { $0.contains { $0 >= count } }
    }
}

@Suite(.timeLimit(.minutes(3))) struct GroupConsumerContract {
    @Test(arguments: TestBroker.kinds)
    func oneMemberReadsEveryPartitionFromItsBeginning(_ kind: TestBroker.Kind) async throws {
        let broker = try await TestBroker.make(kind)
        let topic = try await broker.topic(partitions: 4)
        let producer = try KafkaProducer.test(broker)
        try await producer.send(.numbered(0..<5_000, topic: topic))
        let store = OffsetStore()
        let consumer = try GroupConsumer.test(broker, group: topic, topic: topic)
        let running = consumer.start(from: { store.offset($0) }) { try await store.process($0, as: "a") }
        await store.hasProcessed(5_000)
        // What comes later wakes the feeds that wait.
        try await producer.send(.numbered(5_000..<5_100, topic: topic))
        await store.hasProcessed(5_100)
        await consumer.close()
        try await running.value
        #expect(store.numbers.sorted() == Array(0..<5_100))
        #expect(store.faults == [])
        await producer.close(timeoutSeconds: 5)
    }

    @Test(arguments: TestBroker.kinds)
    func readingGoesOnWhereTheServiceSays(_ kind: TestBroker.Kind) async throws {
        let broker = try await TestBroker.make(kind)
        let topic = try await broker.topic(partitions: 2)
        let producer = try KafkaProducer.test(broker)
        try await producer.send(.numbered(0..<100, topic: topic, partition: 0))
        try await producer.send(.numbered(100..<200, topic: topic, partition: 1))
        // Kafka's own offsets must not matter.
        let (began, zero) = (Recorder<Int32>(), TopicPartition(topic: topic, partition: 0))
        let earlier = try GroupConsumer.test(broker, group: topic, topic: topic)
        let earlierRuns = earlier.start { feed in
            began.record(feed.partition.partition)
            while try await feed.next(recordsMax: 1) != nil {}
        }
        await began.wait { $0.contains(0) }
        earlier.commit([zero: 3])
        await earlier.close()
        try await earlierRuns.value
        let firsts = Recorder<(Int32, Int64, Int?)>()
        let consumer = try GroupConsumer.test(broker, group: topic, topic: topic)
        #expect(try await consumer.committed([zero]) == [zero: 3])
        let running = consumer.start(from: { $0.partition == 0 ? 60 : nil }) { feed in
            while let batch = try await feed.next(recordsMax: 10) {
                firsts.record((batch.partition, batch.firstOffset, batch.first?.number))
            }
        }
        await firsts.wait { Set($0.map(\.0)) == [0, 1] }
        await consumer.close()
        try await running.value
        #expect(firsts.events.first { $0.0 == 0 }?.1 == 60)
        #expect(firsts.events.first { $0.0 == 0 }?.2 == 60)
        #expect(firsts.events.first { $0.0 == 1 }?.1 == 0)
        await producer.close(timeoutSeconds: 5)
    }

    /// Librdkafka would stop at it for ever. What comes before, behind and between two of them is read.
    @Test(arguments: TestBroker.kinds)
    func aBatchThatCannotBeUnpackedIsPassedOver(_ kind: TestBroker.Kind) async throws {
        let broker = try await TestBroker.make(kind)
        let topic = try await broker.topic(partitions: 1)
        let producer = try KafkaProducer.test(broker)
        try await producer.send(.numbered(0..<5, topic: topic, partition: 0))
        try await broker.sendCompressed(1_000, topic: topic, partition: 0)
        try await producer.send(.numbered(1_005..<1_006, topic: topic, partition: 0))
        try await broker.sendCompressed(600, topic: topic, partition: 0)
        try await broker.sendCompressed(700, topic: topic, partition: 0)
        let records = Recorder<(offset: Int64, number: Int?, unreadable: String?)>()
        let consumer = try GroupConsumer.test(
            broker, group: topic, topic: topic, properties: TestBroker.readsLittle)
        let running = consumer.start { feed in
            while let batch = try await feed.next(recordsMax: 10) {
                for record in batch { records.record((record.offset, record.number, record.unreadable)) }
            }
        }
        await records.wait { $0.last?.offset == 2_305 }
        // Nothing stands behind the last of them yet.
        try await producer.send(.numbered(2_306..<2_310, topic: topic, partition: 0))
        await records.wait { $0.last?.offset == 2_309 }
        await consumer.close()
        try await running.value
        let offsets: [Int64] = [0, 1, 2, 3, 4, 1_004, 1_005, 1_605, 2_305, 2_306, 2_307, 2_308, 2_309]
        #expect(records.events.map(\.offset) == offsets)
        for (offset, number, unreadable) in records.events where unreadable == nil {
            #expect(number == Int(offset))
        }
        let passedOver = records.events.compactMap(\.unreadable)
        #expect(passedOver.count == 3)
        for (text, places) in zip(passedOver, ["5 to 1004", "1006 to 1605", "1606 to 2305"]) {
            #expect(text.hasPrefix("offsets \(places) cannot be read: Kafka _BAD_COMPRESSION"), "\(text)")
        }
        await producer.close(timeoutSeconds: 5)
    }

    @Test(arguments: TestBroker.kinds)
    func membersComeAndGoAndNothingIsLostOrProcessedByTwo(_ kind: TestBroker.Kind) async throws {
        let broker = try await TestBroker.make(kind)
        let topic = try await broker.topic(partitions: 6)
        let producer = try KafkaProducer.test(broker)
        let store = OffsetStore()
        let total = 12_000
        let a = try GroupConsumer.test(broker, group: topic, topic: topic)
        let aRuns = a.start(from: { store.offset($0) }) { try await store.process($0, as: "a") }
        let b = try GroupConsumer.test(broker, group: topic, topic: topic)
        try await producer.send(.numbered(0..<3_000, topic: topic))
        await store.hasProcessed(3_000)

        // The second member comes while records do.
        let bRuns = b.start(from: { store.offset($0) }) { try await store.process($0, as: "b") }
        let publishing = Task {
            for part in 3..<9 {
                try await producer.send(.numbered(part * 1_000..<(part + 1) * 1_000, topic: topic))
                await store.hasProcessed(part * 1_000)
            }
        }
        await store.starts.wait { Set($0.filter { $0.member == "b" }.map(\.partition)).count >= 3 }
        try await publishing.value
        await store.hasProcessed(9_000)

        // The first goes, the second gets all.
        await a.close()
        try await aRuns.value
        try await producer.send(.numbered(9_000..<total, topic: topic))
        await store.hasProcessed(total)
        await b.close()
        try await bRuns.value
        #expect(store.numbers.sorted() == Array(0..<total))
        #expect(store.faults == [])
        // A partition that stays is not started again: cooperative, not stop-the-world.
        let startsOfA = store.starts.events.filter { $0.member == "a" }
        #expect(startsOfA.count == Set(startsOfA.map(\.partition)).count)
        await producer.close(timeoutSeconds: 5)
    }

    @Test(arguments: TestBroker.kinds)
    func aRevokedPartitionWaitsForItsProcessToReturn(_ kind: TestBroker.Kind) async throws {
        enum Event: Equatable {
            case started(String, Int32)
            case revoked(String, Int32)
            case returned(String, Int32)
            case gone(String, Int32)
        }
        let broker = try await TestBroker.make(kind)
        let topic = try await broker.topic(partitions: 2)
        let events = Recorder<Event>()
        let gate = Gate()
        @Sendable func process(_ member: String, _ gate: Gate?) -> @Sendable (PartitionFeed) async throws -> Void {
            { feed in
                events.record(.started(member, feed.partition.partition))
                while try await feed.next(recordsMax: 1) != nil {}
                events.record(.revoked(member, feed.partition.partition))
                await gate?.pass()
                events.record(.returned(member, feed.partition.partition))
            }
        }
        let a = try GroupConsumer.test(broker, group: topic, topic: topic)
        let aRuns = a.start(
            revoked: { for partition in $0 { events.record(.gone("a", partition.partition)) } },
            process: process("a", gate))
        await events.wait { $0.filter { if case .started("a", _) = $0 { true } else { false } }.count == 2 }
        let b = try GroupConsumer.test(broker, group: topic, topic: topic)
        let bRuns = b.start(process: process("b", nil))
        await events.wait { $0.contains { if case .revoked("a", _) = $0 { true } else { false } } }
        #expect(!events.events.contains { if case .started("b", _) = $0 { true } else { false } })
        gate.open()
        await events.wait { $0.contains { if case .started("b", _) = $0 { true } else { false } } }
        await a.close()
        await b.close()
        try await aRuns.value
        try await bRuns.value
        let order = events.events
        for partition: Int32 in 0...1 {
            guard let second = order.firstIndex(of: .started("b", partition)) else { continue }
            let returned = try #require(order.firstIndex(of: .returned("a", partition)))
            let gone = try #require(order.firstIndex(of: .gone("a", partition)))
            #expect(returned < gone && gone < second)
        }
    }

    @Test(arguments: TestBroker.kinds)
    func anOffsetThatTheLogDoesNotHoldIsALoudError(_ kind: TestBroker.Kind) async throws {
        let broker = try await TestBroker.make(kind)
        let topic = try await broker.topic(partitions: 2)
        let producer = try KafkaProducer.test(broker)
        try await producer.send(.numbered(0..<10, topic: topic, partition: 0))
        try await producer.send(.numbered(10..<20, topic: topic, partition: 1))
        let errors = Recorder<(TopicPartition, any Error)>()
        let good = Recorder<Int>()
        let consumer = try GroupConsumer.test(broker, group: topic, topic: topic)
        let running = consumer.start(
            from: { $0.partition == 0 ? 1_000_000 : nil }, failed: { errors.record(($0, $1)) }
        ) { feed in
            while let batch = try await feed.next(recordsMax: 100) { batch.compactMap(\.number).forEach(good.record) }
        }
        await errors.wait { !$0.isEmpty }
        // The other partition goes on.
        await good.wait { $0.count == 10 }
        await consumer.close()
        try await running.value
        // Again and again: somebody may put it right meanwhile.
        #expect(errors.events.allSatisfy { $0.0.partition == 0 })
        let error = try #require(errors.events[0].1 as? KafkaError)
        #expect(error.isOffsetOutOfRange)
        #expect(error.message.contains("\(topic)[0]"))
        #expect(error.message.contains("it holds 0 to 10"))
        #expect(good.events == Array(10..<20))
        await producer.close(timeoutSeconds: 5)
    }

    @Test(arguments: TestBroker.kinds)
    func aPartitionWhoseProcessFailsBeginsAnewByItselfWhileTheOtherGoesOn(_ kind: TestBroker.Kind) async throws {
        struct Refused: Error {}
        let broker = try await TestBroker.make(kind)
        let topic = try await broker.topic(partitions: 2)
        let producer = try KafkaProducer.test(broker)
        try await producer.send(.numbered(0..<100, topic: topic, partition: 0))
        try await producer.send(.numbered(100..<200, topic: topic, partition: 1))
        let failures = Recorder<(partition: Int32, at: ContinuousClock.Instant)>()
        let refusals = 4
        let tries = Atomic(0)
        let store = OffsetStore()
        let consumer = try GroupConsumer.test(broker, group: topic, topic: topic)
        let running = consumer.start(
            from: { store.offset($0) },
            failed: { partition, error in
                #expect(error is Refused)
                failures.record((partition.partition, .now))
            }
        ) { feed in
            if feed.partition.partition == 0, tries.add(1, ordering: .relaxed).newValue <= refusals {
                _ = try await feed.next(recordsMax: 30)
                throw Refused()
            }
            try await store.process(feed, as: "a")
        }
        // The other one does not wait for it.
        await failures.wait { !$0.isEmpty }
        await store.hasProcessed(100)
        #expect(store.numbers.prefix(100).sorted() == Array(100..<200))
        await store.hasProcessed(200)
        await consumer.close()
        try await running.value
        #expect(store.numbers.sorted() == Array(0..<200))
        #expect(store.faults == [])
        #expect(failures.events.map(\.partition) == [0, 0, 0, 0])
        // Each pause is longer than the one before: 0.2 s, 0.4 s, 0.8 s.
        let times = failures.events.map(\.at)
        for (pause, least) in zip(zip(times, times.dropFirst()).map { $1 - $0 }, [200, 400, 800]) {
            #expect(pause >= .milliseconds(least))
        }
        await producer.close(timeoutSeconds: 5)
    }

    @Test(arguments: TestBroker.kinds)
    func aProcessThatReturnsAlthoughThePartitionIsOursBeginsAnew(_ kind: TestBroker.Kind) async throws {
        let broker = try await TestBroker.make(kind)
        let topic = try await broker.topic(partitions: 1)
        let producer = try KafkaProducer.test(broker)
        try await producer.send(.numbered(0..<10, topic: topic))
        let failures = Recorder<any Error>()
        let starts = Atomic(0)
        let store = OffsetStore()
        let consumer = try GroupConsumer.test(broker, group: topic, topic: topic)
        let running = consumer.start(from: { store.offset($0) }, failed: { failures.record($1) }) { feed in
            if starts.add(1, ordering: .relaxed).newValue == 1 { return }
            try await store.process(feed, as: "a")
        }
        await store.hasProcessed(10)
        await consumer.close()
        try await running.value
        #expect(failures.events.count == 1)
        #expect("\(failures.events)".contains("its processing ended although it is this member's"))
        await producer.close(timeoutSeconds: 5)
    }

    /// What a member tells of a partition that is not its own would be refused, or be another's business.
    @Test(arguments: TestBroker.kinds)
    func onlyWhatIsAssignedIsCommitted(_ kind: TestBroker.Kind) async throws {
        let broker = try await TestBroker.make(kind)
        let (topic, other) = (try await broker.topic(partitions: 1), try await broker.topic(partitions: 1))
        let (own, strange) = (
            TopicPartition(topic: topic, partition: 0), TopicPartition(topic: other, partition: 0)
        )
        let began = Gate()
        let consumer = try GroupConsumer.test(broker, group: topic, topic: topic)
        consumer.commit([own: 7])
        let running = consumer.start { feed in
            began.open()
            while try await feed.next(recordsMax: 1) != nil {}
        }
        await began.pass()
        #expect(try await consumer.committed([own]) == [:])
        consumer.commit([own: 1, strange: 2])
        await consumer.close()
        try await running.value
        let after = try GroupConsumer.test(broker, group: topic, topic: topic)
        #expect(try await after.committed([own, strange]) == [own: 1])
    }

    @Test(arguments: TestBroker.kinds)
    func aStartOffsetThatCannotBeToldIsAskedAgain(_ kind: TestBroker.Kind) async throws {
        struct Away: Error {}
        let broker = try await TestBroker.make(kind)
        let topic = try await broker.topic(partitions: 1)
        let producer = try KafkaProducer.test(broker)
        try await producer.send(.numbered(0..<10, topic: topic))
        let asked = Atomic(0)
        let failures = Recorder<any Error>()
        let store = OffsetStore()
        let consumer = try GroupConsumer.test(broker, group: topic, topic: topic)
        let running = consumer.start(
            from: { _ in
                if asked.add(1, ordering: .relaxed).newValue <= 2 { throw Away() }
                return nil
            }, failed: { failures.record($1) }
        ) { try await store.process($0, as: "a") }
        await store.hasProcessed(10)
        await consumer.close()
        try await running.value
        #expect(failures.events.count == 2)
        #expect(failures.events.allSatisfy { $0 is Away })
        #expect(store.faults == [])
        await producer.close(timeoutSeconds: 5)
    }

    @Test(arguments: TestBroker.kinds)
    func aPausedFeedGivesNothingUntilItIsResumedAndASeekGoesBack(_ kind: TestBroker.Kind) async throws {
        let broker = try await TestBroker.make(kind)
        let topic = try await broker.topic(partitions: 1)
        let producer = try KafkaProducer.test(broker)
        try await producer.send(.numbered(0..<10, topic: topic))
        let steps = Recorder<String>()
        let consumer = try GroupConsumer.test(broker, group: topic, topic: topic)
        let running = consumer.start { feed in
            func read(_ count: Int) async throws -> [Int] {
                var numbers: [Int] = []
                while numbers.count < count, let batch = try await feed.next(recordsMax: count - numbers.count) {
                    numbers += batch.compactMap(\.number)
                }
                return numbers
            }
            #expect(try await read(10) == Array(0..<10))
            let nothing = try #require(try await feed.next(recordsMax: 10, waitMilliseconds: 1))
            #expect(nothing.isEmpty)
            #expect(TopicPartition(topic: nothing.topic, partition: nothing.partition) == feed.partition)
            feed.pause()
            try await producer.send(.numbered(10..<20, topic: topic))
            #expect(try await feed.next(recordsMax: 10, waitMilliseconds: 300)?.isEmpty == true)
            feed.resume()
            #expect(try await read(10) == Array(10..<20))
            try await feed.seek(to: 5)
            #expect(try await read(15) == Array(5..<20))
            steps.record("done")
            await feed.waitForEnd()
        }
        await steps.wait { !$0.isEmpty }
        await consumer.close()
        try await running.value
        await producer.close(timeoutSeconds: 5)
    }

    @Test(arguments: TestBroker.kinds)
    func cancellingTheTaskClosesTheConsumer(_ kind: TestBroker.Kind) async throws {
        let broker = try await TestBroker.make(kind)
        let topic = try await broker.topic(partitions: 2)
        let ends = Recorder<String>()
        let consumer = try GroupConsumer.test(broker, group: topic, topic: topic)
        let running = consumer.start { feed in
            ends.record("started")
            while try await feed.next(recordsMax: 1) != nil {}
            ends.record("ended")
        }
        await ends.wait { $0.count == 2 }
        running.cancel()
        try await running.value
        #expect(ends.events == ["started", "started", "ended", "ended"])
        await #expect(throws: KafkaError.self) { try await consumer.start { _ in }.value }
    }

    @Test(arguments: TestBroker.kinds)
    func whatWasCommittedIsWhatLagIsCountedFrom(_ kind: TestBroker.Kind) async throws {
        let broker = try await TestBroker.make(kind)
        let topic = try await broker.topic(partitions: 2)
        let producer = try KafkaProducer.test(broker)
        try await producer.send(.numbered(0..<30, topic: topic, partition: 0))
        try await producer.send(.numbered(30..<40, topic: topic, partition: 1))
        let admin = try KafkaAdmin(broker.configuration)
        let (zero, one) = (TopicPartition(topic: topic, partition: 0), TopicPartition(topic: topic, partition: 1))
        #expect(try await admin.lag(group: topic, topics: [topic]) == [zero: 30, one: 10])

        let seen = Recorder<Int>()
        let consumer = try GroupConsumer.test(broker, group: topic, topic: topic)
        let running = consumer.start { feed in
            while let batch = try await feed.next(recordsMax: 100) { batch.compactMap(\.number).forEach(seen.record) }
        }
        await seen.wait { $0.count == 40 }
        consumer.commit([zero: 25, one: 10])
        await consumer.close()
        try await running.value
        #expect(try await admin.lag(group: topic, topics: [topic]) == [zero: 5, one: 0])
        await producer.close(timeoutSeconds: 5)
    }

    @Test(arguments: TestBroker.kinds)
    func largeRecordsComeInSmallerBatches(_ kind: TestBroker.Kind) async throws {
        let broker = try await TestBroker.make(kind)
        let topic = try await broker.topic(partitions: 1)
        let producer = try KafkaProducer.test(broker)
        var batch = RecordBatch()
        for number in 0..<24 {
            batch.append(topic: topic, key: nil, value: [UInt8](repeating: UInt8(number), count: 700_000))
        }
        try await producer.send(batch)
        let sizes = Recorder<Int>()
        let consumer = try GroupConsumer.test(broker, group: topic, topic: topic)
        let running = consumer.start { feed in
            while let batch = try await feed.next(recordsMax: 100) {
                #expect(batch.allSatisfy { $0.value?.count == 700_000 && $0.value?.last == UInt8($0.offset) })
                sizes.record(batch.count)
            }
        }
        await sizes.wait { $0.reduce(0, +) == 24 }
        await consumer.close()
        try await running.value
        #expect(sizes.events.allSatisfy { $0 <= PartitionFeed.batchBytesMax / 700_000 + 128 })
        await producer.close(timeoutSeconds: 5)
    }
}

/// Groups that misbehave, as the embedded broker can be made to.
@Suite(.timeLimit(.minutes(2))) struct GroupConsumerFaults {
    @Test func anExpelledMemberEndsItsFeedsAndComesBack() async throws {
        let broker = try await TestBroker.make(fresh: true)
        let topic = try await broker.topic(partitions: 2)
        let producer = try KafkaProducer.test(broker)
        let events = Recorder<String>()
        let store = OffsetStore()
        let consumer = try GroupConsumer.test(broker, group: topic, topic: topic)
        let running = consumer.start(from: { store.offset($0) }) { feed in
            events.record("started")
            try await store.process(feed, as: "a")
            events.record("ended")
        }
        try await producer.send(.numbered(0..<100, topic: topic))
        await store.hasProcessed(100)
        // The coordinator does not know the member any more: it was silent for too long.
        await broker.fail(.heartbeat, with: 25) { events.events.contains("ended") }
        await events.wait { $0.filter { $0 == "ended" }.count == 2 }
        await events.wait { $0.filter { $0 == "started" }.count == 4 }
        try await producer.send(.numbered(100..<200, topic: topic))
        await store.hasProcessed(200)
        await consumer.close()
        try await running.value
        #expect(store.numbers.sorted() == Array(0..<200))
        #expect(store.faults == [])
        await producer.close(timeoutSeconds: 5)
    }

    @Test func anErrorOfAFetchEndsNeitherThePartitionNorTheOthers() async throws {
        let broker = try await TestBroker.make(fresh: true)
        let topic = try await broker.topic(partitions: 2)
        let producer = try KafkaProducer.test(broker)
        let failures = Recorder<KafkaError?>()
        let store = OffsetStore()
        let consumer = try GroupConsumer.test(broker, group: topic, topic: topic)
        let running = consumer.start(
            from: { store.offset($0) }, failed: { failures.record($1 as? KafkaError) }
        ) { try await store.process($0, as: "a") }
        try await producer.send(.numbered(0..<100, topic: topic))
        await store.hasProcessed(100)
        // UNKNOWN_SERVER_ERROR
        await broker.fail(.fetch, with: -1) { !failures.events.isEmpty }
        try await producer.send(.numbered(100..<200, topic: topic))
        await store.hasProcessed(200)
        await consumer.close()
        try await running.value
        #expect(store.numbers.sorted() == Array(0..<200))
        #expect(store.faults == [])
        #expect(failures.events.allSatisfy { $0?.code == -1 })
        await producer.close(timeoutSeconds: 5)
    }

    @Test func aBrokerThatTakesNoShortSessionsGetsLongerOnes() async throws {
        let broker = try await TestBroker.make(fresh: true)
        let topic = try await broker.topic(partitions: 1)
        let producer = try KafkaProducer.test(broker)
        try await producer.send(.numbered(0..<10, topic: topic))
        // INVALID_SESSION_TIMEOUT
        broker.embedded?.failRequests(.joinGroup, with: [26])
        let store = OffsetStore()
        let lines = Recorder<String>()
        let log = Logger(
            service: "test", level: .warning, sink: LogSink { lines.record(String(decoding: $0, as: UTF8.self)) })
        let consumer = try GroupConsumer(
            broker.configuration, group: topic, topics: [topic], log: log, metrics: Metrics())
        let running = consumer.start(from: { store.offset($0) }) { try await store.process($0, as: "a") }
        await store.hasProcessed(10)
        await consumer.close()
        try await running.value
        #expect(lines.events.contains { $0.contains("group.min.session.timeout.ms on the broker") })
        await producer.close(timeoutSeconds: 5)
    }

    @Test func aSessionThatSomebodyChoseIsNotChangedButRefusedLoudly() async throws {
        let broker = try await TestBroker.make(fresh: true)
        let topic = try await broker.topic(partitions: 1)
        broker.embedded?.failRequests(.joinGroup, with: [26])
        let consumer = try GroupConsumer.test(broker, group: topic, topic: topic)
        let error = await #expect(throws: KafkaError.self) { try await consumer.start { _ in }.value }
        #expect(error?.name == "INVALID_SESSION_TIMEOUT")
    }

    @Test func aNameThatNoBrokerTakesAsAnInstanceIsAnErrorAtOnce() async throws {
        let broker = try await TestBroker.make()
        for name in ["", "host/1", "ü", "..", String(repeating: "a", count: 250)] {
            let error = #expect(throws: KafkaError.self) {
                try GroupConsumer.test(broker, group: "g", topic: "t", instanceID: name)
            }
            #expect(error?.message.contains("group.instance.id") == true)
        }
    }

    @Test func aMemberThatHasNothingToDoStaysInTheGroup() async throws {
        let broker = try await TestBroker.make(fresh: true)
        let topic = try await broker.topic(partitions: 1)
        let producer = try KafkaProducer.test(broker)
        let starts = Atomic(0)
        let numbers = Recorder<Int>()
        let consumer = try GroupConsumer.test(
            broker, group: topic, topic: topic,
            properties: ["session.timeout.ms": "6000", "max.poll.interval.ms": "6000"])
        let running = consumer.start { feed in
            starts.add(1, ordering: .relaxed)
            #expect(try await feed.next(recordsMax: 1)?.first?.number == 1)
            // Nobody reads for longer than the group's patience; the consumer itself must speak up.
            #expect(try await feed.next(recordsMax: 1, waitMilliseconds: 9_000)?.isEmpty == true)
            numbers.record(1)
            while let batch = try await feed.next(recordsMax: 1) { batch.compactMap(\.number).forEach(numbers.record) }
        }
        try await producer.send(.numbered(1..<2, topic: topic))
        await numbers.wait { $0.count == 1 }
        try await producer.send(.numbered(2..<3, topic: topic))
        await numbers.wait { $0 == [1, 2] }
        #expect(starts.load(ordering: .relaxed) == 1)
        await consumer.close()
        try await running.value
        await producer.close(timeoutSeconds: 5)
    }

    @Test func aProcessThatDoesNotReturnInTimeLosesItsPartitionAndIsNotJoinedByAnother() async throws {
        let broker = try await TestBroker.make(fresh: true)
        let topic = try await broker.topic(partitions: 1)
        let events = Recorder<String>()
        let gate = Gate()
        let consumer = try GroupConsumer.test(broker, group: topic, topic: topic, revokeTimeoutSeconds: 0.2)
        let starts = Atomic(0)
        let ends = Recorder<Void>()
        let running = consumer.start { feed in
            let number = starts.add(1, ordering: .relaxed).newValue
            events.record("started \(number)")
            while try await feed.next(recordsMax: 1) != nil {}
            ends.record(())
            if number == 1 { await gate.pass() }
            events.record("returned \(number)")
        }
        await events.wait { $0 == ["started 1"] }
        await broker.fail(.heartbeat, with: 25) { !ends.events.isEmpty }
        // The same member gets the partition again, while the first process still hangs: it must wait for that.
        let other = try await TestBroker.make()
        _ = try await KafkaAdmin(other.configuration).clusterID()
        gate.open()
        await events.wait { $0.contains("started 2") }
        await consumer.close()
        try await running.value
        #expect(events.events == ["started 1", "returned 1", "started 2", "returned 2"])
    }

    @Test func recordsKeepComingWhenTheBrokerHadGone() async throws {
        let broker = try await TestBroker.make(fresh: true)
        let topic = try await broker.topic(partitions: 2)
        let producer = try KafkaProducer.test(broker, ["reconnect.backoff.max.ms": "200"])
        let store = OffsetStore()
        let consumer = try GroupConsumer.test(
            broker, group: topic, topic: topic, properties: ["reconnect.backoff.max.ms": "200"])
        let running = consumer.start(from: { store.offset($0) }) { try await store.process($0, as: "a") }
        try await producer.send(.numbered(0..<100, topic: topic))
        await store.hasProcessed(100)
        broker.embedded?.failRequests(.fetch, with: [-195, 6, -195])
        try broker.embedded?.setDown(true)
        try broker.embedded?.setDown(false)
        try await producer.send(.numbered(100..<300, topic: topic))
        await store.hasProcessed(300)
        await consumer.close()
        try await running.value
        #expect(store.numbers.sorted() == Array(0..<300))
        #expect(store.faults == [])
        await producer.close(timeoutSeconds: 5)
    }
}

/// Leaving, and members with a name of their own: librdkafka's broker knows neither as Kafka does.
@Suite(.timeLimit(.minutes(3)), .enabled(if: TestBroker.kinds.contains(.apache), "needs Apache Kafka: KAFKA_HOME"))
struct GroupMembersOnKafka {
    /// Librdkafka's own close need not say good-bye, and then the others wait for the session's end.
    @Test(arguments: [false, true]) func whoTakesTheLeaversPartitionsNeedNotWaitForTheSessionsEnd(isStatic: Bool)
        async throws
    {
        let broker = try await TestBroker.make(.apache)
        let topic = try await broker.topic(partitions: 6)
        let session = ["session.timeout.ms": "20000", "heartbeat.interval.ms": "300"]
        let store = OffsetStore()
        let stays = try GroupConsumer.test(
            broker, group: topic, topic: topic, instanceID: isStatic ? "stays" : nil, properties: session)
        let staysRuns = stays.start(from: { store.offset($0) }) { try await store.process($0, as: "stays") }
        await store.starts.wait { Set($0.map(\.partition)).count == 6 }
        for round in 1...3 {
            let (goes, name) = (
                try GroupConsumer.test(
                    broker, group: topic, topic: topic, instanceID: isStatic ? "goes" : nil, properties: session),
                "goes \(round)"
            )
            let goesRuns = goes.start(from: { store.offset($0) }) { try await store.process($0, as: name) }
            await store.starts.wait { $0.count { $0.member == name } >= 3 }
            let (before, began) = (store.starts.events.count, ContinuousClock.now)
            await goes.close()
            try await goesRuns.value
            await store.starts.wait { $0[before...].count { $0.member == "stays" } >= 3 }
            #expect(began.duration(to: .now) < .seconds(8))
        }
        await stays.close()
        try await staysRuns.value
        #expect(store.faults == [])
    }

    @Test func oneThatIsStartedAgainGetsItsPartitionsAtOnceAndNobodyElseIsDisturbed() async throws {
        let broker = try await TestBroker.make(.apache)
        let topic = try await broker.topic(partitions: 6)
        let session = ["session.timeout.ms": "30000"]
        let store = OffsetStore()
        let stays = try GroupConsumer.test(broker, group: topic, topic: topic, instanceID: "a", properties: session)
        let staysRuns = stays.start(from: { store.offset($0) }) { try await store.process($0, as: "a") }
        await store.starts.wait { $0.count == 6 }
        // One that ends without a word.
        let killed = try ChildMember(broker, topic, instanceID: "b", properties: session)
        await killed.hasPartitions()
        killed.kill()
        let (before, began) = (store.starts.events.count, ContinuousClock.now)
        let again = try GroupConsumer.test(broker, group: topic, topic: topic, instanceID: "b", properties: session)
        let againRuns = again.start(from: { store.offset($0) }) { try await store.process($0, as: "b") }
        await store.starts.wait { $0.count { $0.member == "b" } == 3 }
        #expect(began.duration(to: .now) < .seconds(5))
        #expect(store.starts.events[before...].allSatisfy { $0.member == "b" })
        await again.close()
        await stays.close()
        try await againRuns.value
        try await staysRuns.value
        #expect(store.faults == [])
    }

    @Test func ofTwoWithOneNameTheOlderEndsLoudlyAndANewOneGoesOnWhenTheNameIsFree() async throws {
        let broker = try await TestBroker.make(.apache)
        let topic = try await broker.topic(partitions: 2)
        let store = OffsetStore()
        func member() throws -> GroupConsumer {
            try GroupConsumer.test(broker, group: topic, topic: topic, instanceID: "same")
        }
        let older = try member()
        let olderRuns = older.start(from: { store.offset($0) }) { try await store.process($0, as: "older") }
        await store.starts.wait { $0.count == 2 }
        let newer = try member()
        let newerRuns = newer.start(from: { store.offset($0) }) { try await store.process($0, as: "newer") }
        let error = await #expect(throws: KafkaError.self) { try await olderRuns.value }
        #expect(error?.isFatal == true)
        #expect(error?.name == "FENCED_INSTANCE_ID")
        await store.starts.wait { $0.count { $0.member == "newer" } >= 2 }
        await newer.close()
        try await newerRuns.value
        let third = try member()
        let thirdRuns = third.start(from: { store.offset($0) }) { try await store.process($0, as: "third") }
        await store.starts.wait { $0.count { $0.member == "third" } == 2 }
        await third.close()
        try await thirdRuns.value
    }
}

/// A member in a process of its own, which can be killed.
private final class ChildMember: Sendable {
    private let process: Subprocess
    private let pipe = Pipe()
    private let lines = Recorder<String>()

    init(_ broker: TestBroker, _ topic: String, instanceID: String, properties: [String: String]) throws {
        let settings = properties.merging([
            "group.instance.id": instanceID, "partition.assignment.strategy": "cooperative-sticky",
            "auto.offset.reset": "earliest",
        ]) { $1 }
        let arguments =
            ["/usr/bin/env", "kcat", "-b", broker.bootstrapServers, "-G", topic]
            + settings.flatMap { ["-X", "\($0.key)=\($0.value)"] } + [topic]
        let lines = lines
        pipe.fileHandleForReading.readabilityHandler = { file in
            lines.record(String(decoding: file.availableData, as: UTF8.self))
        }
        process = try Subprocess(arguments, errors: pipe.fileHandleForWriting.fileDescriptor)
        try pipe.fileHandleForWriting.close()
    }

    func hasPartitions() async { await lines.wait { $0.joined().contains(#/assignment of 3 partition/#) } }

    func kill() { process.send(SIGKILL) }
}
