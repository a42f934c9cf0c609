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

    @Test func anOffsetThatTheLogDoesNotHoldStopsThePartitionLoudly() async throws {
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
        try await fixture.until("the partition has stopped") { !processor.isReady }
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
