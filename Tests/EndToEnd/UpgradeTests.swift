// What operators do while a sale goes on: restart every service, roll a newer schema out, move a schema to another place.
import Foundation
import JSON
import Kafka
import Models
import Observability
import Postgres
import TestSupport
import Testing

@testable import StampedeCore

@Suite(.serialized, .enabled(if: Stack.brokers.contains(.apache), "needs Apache Kafka: KAFKA_HOME"))
struct UpgradeTests {
    @Test(.enabled(if: ChaosPlan.given == nil))
    func aReleaseAndARestoreInTheMiddleOfASale() async throws {
        try await FaultBench.with(seconds: 120, rate: 40, isImpatient: false) { bench in
            for service in Settings.Service.allCases {
                try await bench.suffer(.restarted(service.rawValue), for: .zero)
            }
            // A newer version has been here: its schema, and then its events, under programs that know neither.
            for service in Settings.Service.allCases { try await Self.expand(service, bench.stack) }
            try await bench.goesOn(since: .now)
            for service in Settings.Service.allCases {
                try await bench.suffer(.restarted(service.rawValue), for: .zero)
                try await bench.stack.eventually {
                    try bench.stack.log(service.rawValue).contains("a migration that this program does not know")
                }
            }
            try await Self.orderOfANewerVersionIsDecided(bench)
            for service in Settings.Service.allCases { try await Self.restore(service, bench) }
            try await bench.verify()
        }
    }

    /// With another instance there all the while, nobody is put off.
    @Test(.enabled(if: ChaosPlan.given == nil))
    func everyInstanceIsRestartedInTurnAndBuyersNoticeNothing() async throws {
        let two = Dictionary(
            uniqueKeysWithValues: Settings.Service.allCases.map { ("\($0.rawValue.uppercased())_INSTANCES", "2") })
        try await FaultBench.with(seconds: 120, rate: 40, isImpatient: false, adding: two) { bench in
            for service in Settings.Service.allCases {
                for (name, above) in [(service.rawValue, 0), ("\(service.rawValue)-2", 10)] {
                    let port = bench.stack.port(service.rawValue.uppercased()) + above
                    let seen = try await bench.suffer(.restarted(name, readyOn: port), for: .zero)
                    #expect(seen.allSatisfy { $0.status == 202 })
                }
            }
            try await bench.verify()
        }
    }

    private static func ownerDSN(_ service: Settings.Service, _ stack: Stack) throws -> String {
        try stack.settings().value("\(service.rawValue.uppercased())_OWNER_POSTGRES_DSN")
    }

    private static func pool(_ service: Settings.Service, _ stack: Stack) throws -> PostgresPool {
        try PostgresPool(
            dsn: try ownerDSN(service, stack), connectionsMax: 1, applicationName: "test",
            log: Logger(service: "test", level: .error), metrics: Metrics())
    }

    /// Every table gets what a migration may add.
    private static func expand(_ service: Settings.Service, _ stack: Stack) async throws {
        let pool = try pool(service, stack)
        let tables = try await pool.query(
            "SELECT tablename::text FROM pg_tables WHERE schemaname = \(service.rawValue)"
        ).column(as: String.self)
        #expect(tables.count > 3)
        for table in tables {
            // As a migration that has to wait for a lock should: not with everybody else behind it.
            try await pool.transaction { transaction in
                _ = try await transaction.query("SELECT set_config('lock_timeout', '5s', true)")
                _ = try await transaction.pipeline([
                    "ALTER TABLE \(identifier: table) ADD COLUMN later_text text",
                    "ALTER TABLE \(identifier: table) ADD COLUMN later_number bigint NOT NULL DEFAULT 7",
                    "CREATE INDEX ON \(identifier: table) (later_number)",
                ])
            }
        }
        try await pool.execute("CREATE TABLE later (id bigint PRIMARY KEY)")
        try await pool.execute("INSERT INTO migrations (number, name, sha256) VALUES (999, 'later', sha256('later'))")
        await pool.close()
    }

    /// Members and headers that no program knows yet.
    private static func orderOfANewerVersionIsDecided(_ bench: FaultBench) async throws {
        let buyer = try #require(bench.market.buyers.ids.last)
        let order = OrderID.random()
        let body = JSONWriter.object {
            $0.field("orderId", order)
            $0.field("saleId", bench.market.sale)
            $0.field("batch", 1)
            $0.field("variant", RushPlan.variant)
            $0.field("buyerId", buyer)
            $0.field("giftWrapped", true)
            $0.name("delivery")
            $0.object { $0.field("city", "北京") }
        }
        let producer = try KafkaProducer(
            bench.stack.settings().kafka(clientID: "test"), log: Logger(service: "test", level: .error),
            metrics: Metrics())
        try await producer.send(
            topic: Topic.orders.name, key: buyer.textBytes, value: body,
            headers: [
                ("ce_specversion", "1.0"), ("ce_id", order.description), ("ce_type", OrderPlaced.type),
                ("ce_source", "/newer"), ("ce_priority", "high"),
                ("ce_dataschema", "https://example.org/order-placed/1.7"),
            ].map { ($0.0, Array($0.1.utf8)) })
        await producer.close(timeoutSeconds: 5)
        try await bench.stack.eventually { bench.decisions.time(of: order.description) != nil }
    }

    /// As docs/backup.md says: with the service stopped and the log going on.
    private static func restore(_ service: Settings.Service, _ bench: FaultBench) async throws {
        let stack = bench.stack
        let (dsn, file) = (try ownerDSN(service, stack), "\(stack.folder)/\(service.rawValue).dump")
        try await bench.goesOn(since: .now)
        try await stack.stop(service.rawValue)
        let stopped = ContinuousClock.now
        try await stack.run(
            "/usr/bin/pg_dump", ["--format=custom", "--schema=\(service.rawValue)", "--file=\(file)", dsn]
        ).requireSuccess()
        // Gone.
        let pool = try pool(service, stack)
        for table in try await pool.query(
            "SELECT tablename::text FROM pg_tables WHERE schemaname = \(service.rawValue)"
        ).column(as: String.self) {
            try await pool.execute("DROP TABLE \(identifier: table) CASCADE")
        }
        await pool.close()
        try await Task.sleep(for: .seconds(1))
        try await stack.run(
            "/usr/bin/pg_restore",
            [
                "--clean", "--if-exists", "--schema=\(service.rawValue)", "--no-owner", "--single-transaction",
                "--dbname=\(dsn)", file,
            ]
        ).requireSuccess()
        try await stack.script("up").requireSuccess()
        let started = ContinuousClock.now
        let recovery = try await bench.goesOn(since: started)
        let away = bench.crowd.attempts(from: stopped, to: started)
        print(
            "\(service.rawValue) restored: away for \((started - stopped).seconds.fixed(1)) s, "
                + "\(away.count { $0.status == 202 }) orders accepted and \(away.count { $0.status != 202 }) put off "
                + "meanwhile; decided again after \(recovery.decided.seconds.fixed(1)) s")
    }
}
