// Commands: what they commit is published, by them or by whoever comes after.
import Foundation
import JSON
import Kafka
import Models
import Postgres
import ServiceKit
import Synchronization
import TestSupport
import Testing

@testable import EventPipeline

@Suite struct RelayTests {
    @Test func whatACommandCommitsIsPublishedAndTheOutboxIsEmptied() async throws {
        let fixture = try await Fixture()
        let context = try fixture.context()
        let relay = Relay(context)
        try await relay.start()
        for number in 1...20 {
            let order = fixture.order(number)
            try await relay.commit { unit in
                unit.publish(.orders, key: order.buyerId, id: "\(order.orderId)", order)
            }
        }
        try await fixture.until("the outbox is empty") { try await fixture.owed(context) == 0 }
        #expect(try await fixture.records(of: Topic.orders.name, context).count == 20)
        await relay.stop()
    }

    @Test func aCommandThatFailsLeavesAndPublishesNothing() async throws {
        struct Refused: Error {}
        let fixture = try await Fixture()
        let context = try fixture.context()
        let relay = Relay(context)
        try await relay.start()
        await #expect(throws: Refused.self) {
            try await relay.commit { unit in
                try await unit.transaction.execute(
                    "INSERT INTO effects (order_id, variant) VALUES (gen_random_uuid(), 'x')")
                unit.publish(.orders, key: fixture.order(1).buyerId, id: "1", fixture.order(1))
                throw Refused()
            }
        }
        await relay.stop()
        #expect(try await fixture.count(context) == 0)
        #expect(try await fixture.records(of: Topic.orders.name, context).isEmpty)
    }

    /// Versions with a stream for each instance.
    @Test func whatAnOlderVersionLeftIsPublished() async throws {
        let fixture = try await Fixture()
        let context = try fixture.context()
        let left = RecordBatch.one(topic: Topic.orders.name, key: Array("left".utf8))
        try await context.postgres.execute(
            """
            INSERT INTO outbox (stream, sequence, cluster_id, records, created_at)
            VALUES ('relay/dead', 1, 'c', \(left.bytes), now() - interval '1 minute')
            """)
        let relay = Relay(context)
        try await relay.start()
        try await fixture.until("the outbox is empty") { try await fixture.owed(context) == 0 }
        #expect(try await fixture.records(of: Topic.orders.name, context).count == 1)
        await relay.stop()
    }

    /// Instances take turns with one key; what they commit leaves in the order of the commits.
    @Test func recordsOfOneKeyLeaveInTheOrderOfTheirCommitsWhicheverInstanceTookThem() async throws {
        let fixture = try await Fixture()
        let contexts = try (0..<3).map { _ in try fixture.context() }
        let relays = contexts.map { Relay($0) }
        for relay in relays { try await relay.start() }
        for statement: SQL in [
            "CREATE TABLE counters (key integer PRIMARY KEY, value integer NOT NULL)",
            "INSERT INTO counters SELECT n, 0 FROM generate_series(0, 3) n",
        ] { try await contexts[0].postgres.execute(statement) }
        let keys = (0..<4).map { AccountID(high: 5, low: UInt64($0)) }
        await withTaskGroup(of: Void.self) { tasks in
            for worker in 0..<12 {
                tasks.addTask {
                    for round in 0..<25 {
                        let key = (worker + round) % 4
                        try? await relays[worker % 3].commit { unit in
                            let rows = try await unit.transaction.query(
                                "UPDATE counters SET value = value + 1 WHERE key = \(Int32(key)) RETURNING value")
                            let value: Int32 = try rows[0].get(0)
                            unit.publish(.orders, key: keys[key], id: "\(key)/\(value)", fixture.order(Int(value)))
                        }
                    }
                }
            }
        }
        try await fixture.until("the outbox is empty") { try await fixture.owed(contexts[0]) == 0 }
        var left: [String: [Int]] = [:]
        for record in try await fixture.records(of: Topic.orders.name, contexts[0]) {
            let id = record.header("ce_id").map { String(decoding: $0, as: UTF8.self) } ?? ""
            let parts = id.split(separator: "/")
            left[String(parts[0]), default: []].append(Int(parts[1]) ?? -1)
        }
        #expect(left.values.reduce(0) { $0 + Set($1).count } == 300)
        for (key, values) in left {
            var firsts: [Int] = []
            for value in values where !firsts.contains(value) { firsts.append(value) }
            #expect(firsts == Array(1...firsts.count), "key \(key)")
        }
        for relay in relays { await relay.stop() }
    }

    /// The lease of a publisher that died, and one that a clock put back has made to last for hours.
    @Test(arguments: ["1 second", "5 hours"])
    func whoPublishesIsReplacedWhenItIsGone(expiresIn: String) async throws {
        let fixture = try await Fixture()
        let context = try fixture.context()
        try await context.postgres.execute(
            """
            INSERT INTO publishers (name, holder, expires_at)
            VALUES ('commands', 'gone', clock_timestamp() + \(expiresIn)::interval)
            """)
        let relay = Relay(context)
        try await relay.start()
        let order = fixture.order(1)
        try await relay.commit { unit in unit.publish(.orders, key: order.buyerId, id: "1", order) }
        try await fixture.until("the outbox is empty") { try await fixture.owed(context) == 0 }
        #expect(try await fixture.records(of: Topic.orders.name, context).count == 1)
        await relay.stop()
        #expect(try await context.postgres.query("SELECT FROM publishers").isEmpty)
    }

    @Test func aCommandWhoseEventIsTooLargeIsRefusedAndChangesNothing() async throws {
        let fixture = try await Fixture()
        let context = try fixture.context()
        let relay = Relay(context)
        try await relay.start()
        let text = String(repeating: "x", count: 5 << 20)
        await #expect(throws: Unpublishable.self) {
            try await relay.commit { unit in
                try await unit.transaction.execute(
                    "INSERT INTO effects (order_id, variant) VALUES (gen_random_uuid(), 'x')")
                unit.publish(.orders, key: fixture.order(1).buyerId, id: "1", fixture.order(1, variant: text))
            }
        }
        #expect(try await fixture.count(context) == 0)
        #expect(try await fixture.owed(context) == 0)
        await relay.stop()
    }

    /// The caller is told that it failed, and comes again to find it done: nobody else would publish it.
    @Test func whatWasCommittedAlthoughTheAnswerWasLostIsPublishedByTheSameInstance() async throws {
        let fixture = try await Fixture()
        let straight = try fixture.context()
        for statement: SQL in [
            "CREATE FUNCTION dawdle() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep(1); RETURN NULL; END'",
            """
            CREATE CONSTRAINT TRIGGER late AFTER INSERT ON effects DEFERRABLE INITIALLY DEFERRED
                FOR EACH ROW EXECUTE FUNCTION dawdle()
            """,
        ] { try await straight.postgres.execute(statement) }
        let proxy = try FaultProxy(to: fixture.server.port)
        defer { proxy.close() }
        let dsn = fixture.database.dsn("reservation").replacing(":\(fixture.server.port)/", with: ":\(proxy.port)/")
        let context = ServiceContext(
            serviceName: straight.serviceName, instance: "relay", configuration: straight.configuration,
            log: straight.log, metrics: straight.metrics,
            postgres: try PostgresPool(
                dsn: dsn, connectionsMax: 2, applicationName: "test", log: straight.log, metrics: straight.metrics),
            kafka: straight.kafka, producer: straight.producer)
        let relay = Relay(context)
        try await relay.start()
        let order = fixture.order(1)
        let command = Task {
            try await relay.commit { unit in
                try await unit.transaction.execute(
                    "INSERT INTO effects (order_id, variant) VALUES (\(order.orderId), 'x')")
                unit.publish(.orders, key: order.buyerId, id: "\(order.orderId)", order)
            }
        }
        try await fixture.until("the commit has begun") {
            try await straight.postgres.query("SELECT 1 FROM pg_stat_activity WHERE wait_event = 'PgSleep'").count == 1
        }
        proxy.reset()
        await #expect(throws: PostgresError.self) { try await command.value }
        try await fixture.until("it is published") {
            try await fixture.records(of: Topic.orders.name, straight).count == 1
        }
        try await fixture.until("the outbox is empty") { try await fixture.owed(straight) == 0 }
        #expect(try await fixture.count(straight) == 1)
        await relay.stop()
        await context.postgres.close()
    }

    @Test func concurrentCommandsShareTransactionsAndEachGetsItsOwnAnswer() async throws {
        let fixture = try await Fixture()
        let context = try fixture.context()
        let relay = Relay(context)
        try await relay.start()
        let sizes = Mutex<[Int]>([])
        struct Odd: Error {}
        let group = GroupCommit<Int, Int>(relay: relay) { numbers, unit in
            sizes.withLock { $0.append(numbers.count) }
            try await unit.transaction.execute("SELECT 1")
            return numbers.map { $0 % 10 == 3 ? .failure(Odd()) : .success($0 * 2) }
        }
        let answers = await withTaskGroup(of: (Int, Int?).self) { tasks in
            for number in 0..<500 { tasks.addTask { (number, try? await group.submit(number)) } }
            return await tasks.reduce(into: [Int: Int?]()) { $0[$1.0] = .some($1.1) }
        }
        for number in 0..<500 {
            #expect(answers[number] == .some(number % 10 == 3 ? nil : number * 2))
        }
        #expect(sizes.withLock { $0.count } < 500)
        await relay.stop()
    }

    @Test(.timeLimit(.minutes(1))) func aCommandThatComesAloneWaitsForNoCompany() async throws {
        let fixture = try await Fixture()
        let relay = Relay(try fixture.context())
        try await relay.start()
        let group = GroupCommit<Int, Int>(relay: relay, pace: .seconds(3600)) { numbers, _ in
            numbers.map { .success($0) }
        }
        for number in 1...5 { #expect(try await group.submit(number) == number) }
        await relay.stop()
    }

    @Test func aFullLineRefusesAtOnce() async throws {
        let fixture = try await Fixture()
        let relay = Relay(try fixture.context())
        try await relay.start()
        let group = GroupCommit<Int, Int>(relay: relay, waitingMax: 0) { numbers, _ in numbers.map { .success($0) } }
        await #expect(throws: Overloaded.self) { try await group.submit(1) }
        await relay.stop()
    }

    @Test func aTableIsReadyWhenItHasReadAllAndFollowsWhatChanges() async throws {
        let fixture = try await Fixture()
        let context = try fixture.context()
        let known = Mutex<[String: String]>([:])
        func put(_ key: String, _ value: String?) async throws {
            var records = RecordBatch()
            records.append(
                topic: Topic.sales.name, key: Array(key.utf8), value: value.map { Array($0.utf8) },
                headers: [("ce_type", Array("t".utf8))])
            try await context.producer.send(records)
        }
        for number in 0..<50 { try await put("k\(number)", #"{"v":"\#(number)"}"#) }
        try await put("k7", nil)
        try await put("broken", "{")
        let table = CompactedTable(context, topic: .sales) { (key, _, body) throws(JSONError) in
            let value = try body?.string("v")
            known.withLock { $0[String(decoding: key, as: UTF8.self)] = value }
        }
        #expect(!table.isReady)
        try await table.start()
        #expect(table.isReady)
        #expect(known.withLock { $0.count } == 49)
        try await put("k7", #"{"v":"again"}"#)
        try await table.catchUp()
        #expect(known.withLock { $0["k7"] } == "again")
        await table.stop()
    }
}
