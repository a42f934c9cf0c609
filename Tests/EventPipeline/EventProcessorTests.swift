// Exactly once, whatever happens between reading a batch and the last acknowledgement of its answers.
import EventPipeline
import Foundation
import JSON
import Kafka
import Models
import Postgres
import ServiceKit
import Synchronization
import TestSupport
import Testing

@testable import EventPipelineProbe

@Suite struct EventProcessorTests {
    /// Every order is one row and one answer; answers may come twice but then bear the same ID.
    private func expectExactlyOnce(_ fixture: Fixture, _ context: ServiceContext, count: Int) async throws {
        #expect(try await fixture.count(context) == count)
        try await fixture.until("the outbox is empty") { try await fixture.owed(context) == 0 }
        let answers = try await fixture.records(of: Topic.reservations.name, context)
        let ids = Set(answers.compactMap { $0.header("ce_id").map { String(decoding: $0, as: UTF8.self) } })
        #expect(ids.count == count)
    }

    @Test(arguments: [false, true])
    func everyEventIsAppliedOnceAndAnswered(rendersAnswers: Bool) async throws {
        let fixture = try await Fixture()
        let context = try fixture.context()
        try await fixture.publish((1...3000).map { fixture.order($0) }, context)
        let processor = EventProcessor(
            context, name: "orders", topic: .orders, batchRecordsMax: 100,
            handler: Recorder(rendersAnswers: rendersAnswers))
        try await processor.start()
        try await fixture.until("all are applied") { try await fixture.count(context) == 3000 }
        try await expectExactlyOnce(fixture, context, count: 3000)
        let answers = try await fixture.records(of: Topic.reservations.name, context)
        #expect(answers.count == 3000)
        #expect(answers.allSatisfy { $0.header("ce_specversion") != nil && $0.header("ce_type") != nil })
        await processor.stop()
    }

    /// What comes alone waits for no company, however long the pace, and who follows commits hears of each.
    @Test(.timeLimit(.minutes(1))) func whatComesAloneIsAppliedAndToldAtOnce() async throws {
        let fixture = try await Fixture()
        let context = try fixture.context()
        let (commits, told) = AsyncStream.makeStream(of: Void.self)
        let processor = EventProcessor(
            context, name: "orders", topic: .orders, pace: .seconds(3600), handler: Recorder(),
            committed: { told.yield() })
        try await processor.start()
        var heard = commits.makeAsyncIterator()
        for number in 1...3 {
            try await fixture.publish([fixture.order(number)], context)
            await heard.next()
            #expect(try await fixture.count(context) == number)
        }
        await processor.stop()
    }

    @Test func instancesThatComeAndGoLoseNothingAndRepeatNothing() async throws {
        let fixture = try await Fixture()
        let context = try fixture.context()
        func instance() throws -> EventProcessor {
            EventProcessor(
                try fixture.context(), name: "orders", topic: .orders, batchRecordsMax: 50,
                handler: Recorder(rendersAnswers: true))
        }
        let first = try instance()
        try await first.start()
        for round in 0..<4 {
            try await fixture.publish((round * 1000 + 1...round * 1000 + 1000).map { fixture.order($0) }, context)
            let other = try instance()
            try await other.start()
            try await fixture.until("the round is applied") { try await fixture.count(context) >= round * 1000 + 500 }
            await other.stop()
        }
        try await fixture.until("all are applied") { try await fixture.count(context) == 4000 }
        try await expectExactlyOnce(fixture, context, count: 4000)
        await first.stop()
    }

    @Test func brokenRecordsGoToTheDeadLettersWithTheirReasonAndStopNothing() async throws {
        let fixture = try await Fixture()
        let context = try fixture.context()
        let type = Array(OrderPlaced.type.utf8)
        let key = fixture.order(1).buyerId.textBytes
        let broken: [(value: [UInt8]?, headers: [(String, [UInt8])], reason: String)] = [
            (Array("not json".utf8), [("ce_type", type)], "a JSON document"),
            (Array("{}".utf8), [("ce_type", type)], "orderId: expected a UUID"),
            (Array(#"{"orderId":7}"#.utf8), [("ce_type", type)], "orderId: expected a UUID"),
            (nil, [("ce_type", type)], "got no value"),
            (Array("{}".utf8), [], "the header ce_type"),
            (Array(repeating: 32, count: 2 << 20), [("ce_type", type)], "at most 65536 bytes, got 2097152"),
            (
                Array(#"{"type":"\#(OrderPlaced.type)","data":{"orderId":1}}"#.utf8),
                [("content-type", Array("application/cloudevents+json".utf8))], "data.orderId: expected a UUID"
            ),
        ]
        var records = RecordBatch()
        for record in broken {
            records.append(
                topic: Topic.orders.name, key: key, value: record.value, headers: record.headers, partition: 3)
        }
        try await context.producer.send(records)
        try await fixture.publish([fixture.order(1)], context)
        let processor = EventProcessor(context, name: "orders", topic: .orders, handler: Recorder())
        try await processor.start()
        try await fixture.until("the good one is applied") { try await fixture.count(context) == 1 }
        try await fixture.until("all dead letters are there") {
            try await fixture.records(of: Topic.orders.deadLetters, context).count == broken.count
        }
        let dead = try await fixture.records(of: Topic.orders.deadLetters, context).sorted {
            deadOffset($0) < deadOffset($1)
        }
        for (record, letter) in zip(broken, dead) {
            let reason = letter.header("stampede-dead-reason").map { String(decoding: $0, as: UTF8.self) } ?? ""
            #expect(reason.contains(record.reason), "\(reason)")
            #expect(letter.value.map { Array($0) } == record.value)
            #expect(letter.key.map { Array($0) } == key)
            #expect(letter.header("stampede-dead-topic").map { Array($0) } == Array("orders".utf8))
            #expect(letter.header("stampede-dead-partition").map { Array($0) } == Array("3".utf8))
        }
        await processor.stop()
    }

    /// Applies one order a unit of work and leaves the rest of the batch for the next.
    private struct OneByOne: EventHandler {
        func apply(_ batch: EventBatch, _ unit: UnitOfWork) async throws {
            let orders = batch.read(unit, only: [OrderPlaced.type]) { (_, json) throws(JSONError) in
                try OrderPlaced(json: json)
            }
            guard let first = orders.first else { return }
            unit.transaction.finish("INSERT INTO effects (order_id, variant) VALUES (\(first.value.orderId), 'x')")
            if orders.count > 1 { unit.stop(before: orders[1].offset) }
        }
    }

    @Test func whatIsReadIsCountedOnceHoweverManyStepsItTakes() async throws {
        let fixture = try await Fixture()
        let context = try fixture.context()
        var records = RecordBatch()
        for number in 1...5 {
            let order = fixture.order(number)
            records.append(
                topic: Topic.orders.name, key: order.buyerId.textBytes, value: JSONWriter.document(order),
                headers: [("ce_type", Array(OrderPlaced.type.utf8))], partition: 3)
            records.append(
                topic: Topic.orders.name, key: order.buyerId.textBytes, value: Array("{}".utf8),
                headers: [("ce_type", Array("another".utf8))], partition: 3)
        }
        try await context.producer.send(records)
        let processor = EventProcessor(context, name: "orders", topic: .orders, handler: OneByOne())
        try await processor.start()
        func count(_ name: String) -> String? {
            context.metrics.render().split(separator: "\n").first { $0.hasPrefix("\(name){") }?
                .split(separator: " ").last.map(String.init)
        }
        try await fixture.until("all are read") { count("stampede_events_read_total") == "10" }
        #expect(count("stampede_events_skipped_total") == "5")
        #expect(try await fixture.count(context) == 5)
        await processor.stop()
    }

    private func deadOffset(_ record: ConsumedRecord) -> Int {
        record.header("stampede-dead-offset").flatMap { Int(String(decoding: $0, as: UTF8.self)) } ?? -1
    }

    @Test func oneRecordThatTheDatabaseRefusesIsFoundAndTheOthersAreApplied() async throws {
        let fixture = try await Fixture()
        let context = try fixture.context()
        try await fixture.publish(
            (1...500).map { fixture.order($0, variant: $0 == 250 ? "refused" : "mi3") }, context)
        let processor = EventProcessor(context, name: "orders", topic: .orders, handler: Recorder(rendersAnswers: true))
        try await processor.start()
        try await fixture.until("the others are applied") { try await fixture.count(context) == 499 }
        try await fixture.until("the refused one is put away") {
            try await fixture.records(of: Topic.orders.deadLetters, context).count == 1
        }
        let letter = try #require(try await fixture.records(of: Topic.orders.deadLetters, context).first)
        #expect(letter.key.flatMap(AccountID.init(text:)) == fixture.order(250).buyerId)
        await processor.stop()
    }

    /// An error of a kind that nobody has thought of, for one order and always: the others go on.
    private struct Picky: EventHandler {
        let recorder = Recorder(rendersAnswers: true)
        let error: any Error
        let order: OrderID

        func apply(_ batch: EventBatch, _ unit: UnitOfWork) async throws {
            try await recorder.apply(batch, unit)
            if batch.events(of: OrderPlaced.self).contains(where: { $0.value.orderId == order }) { throw error }
        }

        func render(_ batch: EventBatch, deferred: [UInt8], into outgoing: inout Outgoing) throws {
            try recorder.render(batch, deferred: deferred, into: &outgoing)
        }
    }

    private struct Strange: Error, CustomStringConvertible { let description = "nobody has thought of this" }

    @Test(arguments: [Unappliable(reason: "its ledger lacks an account") as any Error, Strange()])
    func anErrorOfTheDomainEndsAsADeadLetterAndStopsNobody(error: any Error) async throws {
        let fixture = try await Fixture()
        let context = try fixture.context()
        try await fixture.publish((1...200).map { fixture.order($0) }, context)
        let processor = EventProcessor(
            context, name: "orders", topic: .orders, handler: Picky(error: error, order: fixture.order(77).orderId))
        try await processor.start()
        try await fixture.until("the others are applied") { try await fixture.count(context) == 199 }
        try await fixture.until("the one is put away") {
            try await fixture.records(of: Topic.orders.deadLetters, context).count == 1
        }
        let letter = try #require(try await fixture.records(of: Topic.orders.deadLetters, context).first)
        #expect(letter.key.flatMap(AccountID.init(text:)) == fixture.order(77).buyerId)
        let reason = letter.header("stampede-dead-reason").map { String(decoding: $0, as: UTF8.self) }
        #expect(reason == "\(error)")
        #expect(processor.isReady)
        await processor.stop()
    }

    /// As large as what came in may be uncompressed, and with as many headers as there may be.
    @Test func aRecordThatIsTooLargeToGoOutIsCutAndSaysSo() async throws {
        let fixture = try await Fixture()
        let context = try fixture.context()
        let publisher = try KafkaProducer(
            KafkaConfiguration(
                bootstrapServers: context.kafka.bootstrapServers, clientID: "partner",
                properties: ["message.max.bytes": "20000000", "compression.codec": "gzip"]),
            log: context.log, metrics: context.metrics)
        let type = Array(OrderPlaced.type.utf8)
        let key = fixture.order(1).buyerId.textBytes
        let large = Array(repeating: UInt8(ascii: "x"), count: 6_000_000)
        try await publisher.send(
            topic: Topic.orders.name, key: key, value: large, headers: [("ce_type", type)], partition: 3)
        let headers = (0..<1000).map { ("h\($0)", Array("value \($0)".utf8)) }
        try await publisher.send(
            topic: Topic.orders.name, key: key, value: Array("{}".utf8), headers: headers, partition: 3)
        try await fixture.publish([fixture.order(1)], context)
        let processor = EventProcessor(context, name: "orders", topic: .orders, handler: Recorder())
        try await processor.start()
        try await fixture.until("the good one is applied") { try await fixture.count(context) == 1 }
        try await fixture.until("both dead letters are there") {
            try await fixture.records(of: Topic.orders.deadLetters, context).count == 2
        }
        let dead = try await fixture.records(of: Topic.orders.deadLetters, context).sorted {
            deadOffset($0) < deadOffset($1)
        }
        func kept(_ record: ConsumedRecord) -> String {
            record.header("stampede-dead-kept").map { String(decoding: $0, as: UTF8.self) } ?? ""
        }
        let count = try #require(dead[0].value?.count)
        #expect(count < 4 << 20 && count > 1 << 20)
        #expect(kept(dead[0]) == "the first \(count) of 6000000 bytes of the value")
        #expect(dead[0].header("stampede-dead-reason") != nil)
        #expect(kept(dead[1]) == "984 of 1000 headers")
        #expect(dead[1].header("stampede-dead-reason") != nil)
        await publisher.close(timeoutSeconds: 1)
        await processor.stop()
    }

    /// A small batch may unpack to more than the client takes. It is passed over and said; nothing after it waits.
    @Test func aBatchThatCannotBeUnpackedIsOneDeadLetterThatNamesItsOffsets() async throws {
        let fixture = try await Fixture()
        let context = try fixture.context(TestBroker.readsLittle)
        try await fixture.broker.sendCompressed(1_500, topic: Topic.orders.name, partition: 3)
        let (partition, key) = (Int32(3), fixture.order(1).buyerId.textBytes)
        var records = RecordBatch()
        records.append(
            topic: Topic.orders.name, key: key, value: JSONWriter.document(fixture.order(1)),
            headers: [("ce_type", Array(OrderPlaced.type.utf8))], partition: partition)
        try await context.producer.send(records)
        let processor = EventProcessor(context, name: "orders", topic: .orders, handler: Recorder())
        try await processor.start()
        try await fixture.until("what follows is applied") { try await fixture.count(context) == 1 }
        try await fixture.until("the dead letter is there") {
            try await fixture.records(of: Topic.orders.deadLetters, context).count == 1
        }
        let letter = try #require(try await fixture.records(of: Topic.orders.deadLetters, context).first)
        func fact(_ name: String) -> String {
            letter.header(named: "stampede-dead-\(name)").map { String(decoding: $0, as: UTF8.self) } ?? ""
        }
        #expect(fact("reason").hasPrefix("offsets 0 to 1499 cannot be read: "), "\(fact("reason"))")
        #expect(fact("partition") == "3" && fact("offset") == "1499" && fact("kept") == "nothing")
        #expect(letter.key == nil && letter.value == nil)
        await processor.stop()
    }

    /// A right or a table that is missing: nothing is lost, the service says why, and goes on when it is back.
    @Test func whatSomebodyHasToMendIsSaidAndMendedWithoutARestart() async throws {
        let fixture = try await Fixture()
        let context = try fixture.context()
        let processor = EventProcessor(
            context, name: "orders", topic: .orders, handler: Recorder(rendersAnswers: true))
        try await processor.start()
        try await context.postgres.execute("ALTER TABLE effects RENAME TO elsewhere")
        try await fixture.publish((1...100).map { fixture.order($0) }, context)
        try await fixture.until("it stands still") { !processor.isReady }
        #expect(processor.detail?.contains("effects") == true, "\(processor.detail ?? "")")
        try await context.postgres.execute("ALTER TABLE elsewhere RENAME TO effects")
        try await fixture.until("all are applied") { try await fixture.count(context) == 100 }
        try await fixture.until("it is ready") { processor.isReady }
        #expect(try await fixture.records(of: Topic.orders.deadLetters, context).isEmpty)
        try await expectExactlyOnce(fixture, context, count: 100)
        await processor.stop()
    }

    @Test func aBatchOfWhichAnotherInstanceHasMovedTheOffsetLeavesNothingBehind() async throws {
        let fixture = try await Fixture()
        let context = try fixture.context()
        let moved = Mutex(false)
        let other = try fixture.context()
        let order = fixture.order(1)
        // Freezes in the middle of its transaction while the partition is taken over and the order decided elsewhere.
        let frozen = Recorder(beforeCommit: { batch in
            guard
                !moved.withLock({ moved in
                    defer { moved = true }
                    return moved
                })
            else { return }
            try await other.postgres.transaction { transaction in
                try await transaction.execute(
                    "INSERT INTO effects (order_id, variant) VALUES (\(order.orderId), 'other')")
                try await transaction.execute(
                    """
                    UPDATE consumer_offsets SET next_offset = \(batch.nextOffset)
                    WHERE processor = 'orders' AND topic = 'orders' AND partition = \(batch.partition)
                    """)
            }
        })
        try await fixture.publish([order], context)
        let processor = EventProcessor(context, name: "orders", topic: .orders, handler: frozen)
        try await processor.start()
        try await fixture.until("the take-over happened") { moved.withLock { $0 } }
        try await fixture.publish((2...50).map { fixture.order($0) }, context)
        try await fixture.until("the rest is applied") { try await fixture.count(context) == 50 }
        let rows = try await context.postgres.query("SELECT variant FROM effects WHERE order_id = \(order.orderId)")
        #expect(try rows[0].get(0, as: String.self) == "other")
        let answers = try await fixture.records(of: Topic.reservations.name, context)
        #expect(answers.count == 49)
        await processor.stop()
    }

    @Test func whoeverTakesAPartitionOverPublishesWhatWasCommittedAndNotSent() async throws {
        let fixture = try await Fixture()
        let context = try fixture.context()
        // A first instance applies everything, but dies before it has sent: the rows say so.
        try await fixture.publish((1...200).map { fixture.order($0) }, context)
        let first = EventProcessor(
            try fixture.context(), name: "orders", topic: .orders, handler: Recorder(rendersAnswers: true))
        try await first.start()
        try await fixture.until("all are applied") { try await fixture.count(context) == 200 }
        // Otherwise, where it is told to stop meanwhile, rows of its own stay.
        try await fixture.until("all are sent") { try await fixture.owed(context) == 0 }
        await first.stop()
        let before = try await fixture.records(of: Topic.reservations.name, context).count
        let clusterID = try await KafkaAdmin(context.kafka).clusterID()
        let owed = RecordBatch.one(topic: Topic.reservations.name, key: Array("left".utf8))
        try await context.postgres.execute(
            """
            INSERT INTO outbox (stream, sequence, cluster_id, records, recipe, next_offset)
            SELECT 'orders/orders/' || partition, 0, \(clusterID), \(owed.bytes), \([UInt8(1)]), next_offset
            FROM consumer_offsets WHERE processor = 'orders' AND next_offset > 0
            """)
        let partitions = try await fixture.owed(context)
        let second = EventProcessor(
            try fixture.context(), name: "orders", topic: .orders, handler: Recorder(rendersAnswers: true))
        try await second.start()
        try await fixture.until("the outbox is empty") { try await fixture.owed(context) == 0 }
        let answers = try await fixture.records(of: Topic.reservations.name, context)
        #expect(answers.count == before + 200 + partitions)
        let ids = answers.compactMap { $0.header("ce_id").map { String(decoding: $0, as: UTF8.self) } }
        #expect(Set(ids).count == 200)
        #expect(try await fixture.count(context) == 200)
        await second.stop()
    }

    @Test func aDatabaseThatIsKilledInTheMiddleCostsNothing() async throws {
        let server = try await TestPostgres.start()
        let fixture = try await Fixture(server: server)
        let context = try fixture.context()
        let processor = EventProcessor(
            context, name: "orders", topic: .orders, batchRecordsMax: 20, handler: Recorder(rendersAnswers: true))
        try await fixture.publish((1...2000).map { fixture.order($0) }, context)
        try await processor.start()
        for _ in 0..<3 {
            try await Task.sleep(for: .milliseconds(60))
            try await server.kill()
            try await server.restart()
        }
        try await fixture.until("all are applied") { (try? await fixture.count(context)) == 2000 }
        try await expectExactlyOnce(fixture, context, count: 2000)
        await processor.stop()
    }

    @Test func anotherClustersOffsetsMeanNothing() async throws {
        let fixture = try await Fixture()
        let context = try fixture.context()
        try await context.postgres.execute(
            """
            INSERT INTO consumer_offsets (processor, topic, partition, cluster_id, next_offset)
            SELECT 'orders', 'orders', n, 'a cluster that is gone', 1000000 FROM generate_series(0, 11) n
            """)
        try await fixture.publish((1...20).map { fixture.order($0) }, context)
        let processor = EventProcessor(context, name: "orders", topic: .orders, handler: Recorder())
        try await processor.start()
        try await fixture.until("all are applied") { try await fixture.count(context) == 20 }
        await processor.stop()
    }

    /// Applies what it is given, and answers nothing: on Apache Kafka the topics with answers are another test's.
    private struct Rows: EventHandler {
        func apply(_ batch: EventBatch, _ unit: UnitOfWork) async throws {
            let orders = batch.read(unit, only: [OrderPlaced.type]) { (_, json) throws(JSONError) in
                try OrderPlaced(json: json)
            }
            unit.transaction.finish(
                """
                INSERT INTO effects (order_id, variant)
                SELECT * FROM unnest(\(orders.map(\.value.orderId)), \(orders.map(\.value.variant)))
                """)
        }
    }

    /// A processor whose database can go back in time.
    private struct Past {
        let fixture: Fixture
        let context: ServiceContext
        /// One test's alone.
        let topic: Topic
        let name = "past"

        init(_ kind: TestBroker.Kind, _ topic: Topic) async throws {
            self.topic = topic
            fixture = try await Fixture(kind)
            context = try fixture.context()
        }

        func instance() throws -> EventProcessor {
            EventProcessor(try fixture.context(), name: name, topic: topic, handler: Rows())
        }

        func publish(_ numbers: ClosedRange<Int>) async throws {
            try await fixture.publish(numbers.map { fixture.order($0) }, on: topic, context)
        }

        /// All are applied, and Kafka knows it.
        func untilApplied(_ count: Int) async throws {
            try await fixture.until("all are applied") { try await fixture.count(context) == count }
            let admin = try KafkaAdmin(context.kafka)
            try await fixture.until("Kafka has the offsets") {
                try await admin.lag(group: "reservation.\(name)", topics: [topic.name]).values.allSatisfy { $0 == 0 }
            }
        }

        /// Moves the database by the last record of each partition.
        func move(by records: Int64) async throws {
            try await context.postgres.execute(
                """
                UPDATE consumer_offsets SET next_offset = next_offset + \(records)
                WHERE processor = \(name) AND next_offset > 0
                """)
        }
    }

    @Test(arguments: TestBroker.kinds)
    func noServiceStartsOnASchemaThatIsOlderThanWhatItHasApplied(kind: TestBroker.Kind) async throws {
        let past = try await Past(kind, .payments)
        try await past.publish(1...100)
        let first = try past.instance()
        try await first.start()
        try await past.untilApplied(100)
        // Kafka is not told of every batch, but of the last.
        try await past.publish(101...150)
        try await past.untilApplied(150)
        try await past.publish(151...200)
        try await past.untilApplied(200)
        await first.stop()

        try await past.move(by: -1)
        let second = try past.instance()
        let failure = await #expect(throws: StartFailure.self) { try await second.start() }
        #expect(failure?.exitCode == ExitCode.schema)
        #expect(failure?.reason.contains("older than what the service has published") == true)
        await second.stop()

        try await past.move(by: 1)
        let third = try past.instance()
        try await third.start()
        try await past.publish(201...300)
        try await past.untilApplied(300)
        await third.stop()
    }

    @Test(arguments: TestBroker.kinds)
    func aDatabaseThatGoesBackUnderARunningServiceStopsItsPartitions(kind: TestBroker.Kind) async throws {
        let past = try await Past(kind, .notifications)
        let first = try past.instance()
        let second = try past.instance()
        try await first.start()
        try await second.start()
        try await past.publish(1...200)
        try await past.untilApplied(200)

        try await past.move(by: -1)
        #expect(first.isReady && second.isReady)
        try await past.publish(201...400)
        try await past.fixture.until("the first stands still") { !first.isReady }
        await first.stop()
        try await past.fixture.until("the second stands still") { !second.isReady }
        await second.stop()
        #expect(try await past.fixture.count(past.context) == 200)
    }

    @Test(arguments: TestBroker.kinds)
    func whatIsTakenOverFromAnOlderDatabaseStandsStill(kind: TestBroker.Kind) async throws {
        let past = try await Past(kind, .accounts)
        let first = try past.instance()
        try await first.start()
        try await past.publish(1...200)
        try await past.untilApplied(200)
        let second = try past.instance()
        try await second.start()
        try await past.move(by: -1)
        await first.stop()
        try await past.fixture.until("it stands still") { !second.isReady }
        await second.stop()
        #expect(try await past.fixture.count(past.context) == 200)
    }

    @Test func aRightThatTheBrokerRefusesIsSaidAndAskedForAgain() async throws {
        let fixture = try await Fixture()
        let context = try fixture.context()
        let processor = EventProcessor(context, name: "orders", topic: .orders, handler: Recorder())
        try await processor.start()
        // GROUP_AUTHORIZATION_FAILED: somebody has to give it, and then it goes on by itself.
        fixture.broker.embedded?.failRequests(.offsetFetch, with: Array(repeating: 30, count: 40))
        try await fixture.publish((1...200).map { fixture.order($0) }, context)
        try await fixture.until("it stands still") { !processor.isReady }
        #expect(processor.detail?.contains("stampede topics rights") == true, "\(processor.detail ?? "")")
        try await fixture.until("all are applied") { try await fixture.count(context) == 200 }
        try await fixture.until("it is ready") { processor.isReady }
        await processor.stop()
    }

    /// Also where the broker takes longer to say so than an idle partition waits: until then nobody may believe in it.
    @Test(arguments: [0, 900])
    func anOffsetThatTheLogDoesNotHoldStopsThePartitionLoudly(latencyMilliseconds: Int) async throws {
        let fixture = try await Fixture()
        let context = try fixture.context()
        let clusterID = try await KafkaAdmin(context.kafka).clusterID()
        try await context.postgres.execute(
            """
            INSERT INTO consumer_offsets (processor, topic, partition, cluster_id, next_offset)
            VALUES ('orders', 'orders', 0, \(clusterID), 1000000)
            """)
        let processor = EventProcessor(context, name: "orders", topic: .orders, handler: Recorder())
        try await processor.start()
        #expect(processor.isReady)
        try await fixture.publish((1...200).map { fixture.order($0) }, context)
        try fixture.broker.embedded?.setLatency(milliseconds: latencyMilliseconds)
        try await fixture.until("the partition has stopped") { !processor.isReady }
        try fixture.broker.embedded?.setLatency(milliseconds: 0)
        #expect(processor.detail?.contains("it holds 0 to") == true, "\(processor.detail ?? "")")
        // As the message says: the stored offset is set to one that the log holds.
        try await context.postgres.execute(
            "UPDATE consumer_offsets SET next_offset = 0 WHERE processor = 'orders' AND partition = 0")
        try await fixture.until("it has gone on") { processor.isReady }
        try await fixture.until("all are applied") { try await fixture.count(context) == 200 }
        await processor.stop()
    }
}

extension RecordBatch {
    static func one(topic: String, key: [UInt8]) -> RecordBatch {
        var batch = RecordBatch()
        batch.append(topic: topic, key: key, value: Array("{}".utf8), headers: [])
        return batch
    }
}
