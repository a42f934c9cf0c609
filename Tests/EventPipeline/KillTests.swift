// Processes that are killed in the middle of everything, again and again.
import EventPipeline
import Foundation
import Kafka
import Models
import ServiceKit
import TestSupport
import Testing

@Suite struct KillTests {
    /// A process of `EventPipelineProbe`, which the build puts beside the tests.
    private final class Instance: Sendable {
        private let process: Subprocess

        init(_ fixture: Fixture) throws {
            let program = URL(fileURLWithPath: CommandLine.arguments[0]).deletingLastPathComponent()
                .appendingPathComponent("EventPipelineProbe").path
            process = try Subprocess(
                [program],
                environment: [
                    "KAFKA_BOOTSTRAP_SERVERS": fixture.broker.bootstrapServers,
                    "STAMPEDE_POSTGRES_DSN": fixture.database.dsn("reservation"), "STAMPEDE_HTTP_PORT": "0",
                    "STAMPEDE_LOG_LEVEL": "error", "STAMPEDE_PROBE_BATCH": "20",
                ], errors: STDERR_FILENO)
        }

        /// As a crash would end it: it says nothing to anybody.
        func kill() { process.send(SIGKILL) }
    }

    @Test(.timeLimit(.minutes(4)), arguments: TestBroker.kinds)
    func processesThatAreKilledLoseNothingRepeatNothingAndKeepTheOrder(kind: TestBroker.Kind) async throws {
        let fixture = try await Fixture(kind)
        let context = try fixture.context()
        let count = 20_000
        let publishing = Task {
            for start in stride(from: 0, to: count, by: 500) {
                try await fixture.publish((start + 1...start + 500).map { fixture.order($0) }, context)
            }
        }
        var instances = try [Instance(fixture), Instance(fixture)]
        defer { for instance in instances { instance.kill() } }
        let kills = 4
        for number in 0..<kills {
            let enough = count * (number + 1) / (kills + 2)
            try await fixture.until("\(enough) are applied") { try await fixture.count(context) >= enough }
            instances[number % 2].kill()
            instances[number % 2] = try Instance(fixture)
        }
        try await publishing.value
        try await fixture.until("all are applied") { try await fixture.count(context) == count }
        try await fixture.until("the outbox is empty") { try await fixture.owed(context) == 0 }

        // An answer may leave twice around a kill, under the same ID; the first ones are in their orders' order.
        var orders: [Int32: [String]] = [:]
        for record in try await fixture.records(of: Topic.orders.name, context) {
            let id = try #require(record.header("ce_id"))
            orders[record.partition, default: []].append(String(decoding: id, as: UTF8.self))
        }
        var answers: [Int32: [String]] = [:]
        var seen: Set<String> = []
        for record in try await fixture.records(of: Topic.reservations.name, context) {
            let id = try #require(record.header("ce_id"))
            let order = String(decoding: id, as: UTF8.self).replacing("/waitlisted", with: "")
            if seen.insert(order).inserted { answers[record.partition, default: []].append(order) }
        }
        #expect(seen.count == count)
        #expect(answers == orders)
    }
}
