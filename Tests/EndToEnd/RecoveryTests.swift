// What holds the data is lost in the middle of a sale, and comes back by what docs/backup.md tells to type.
import Foundation
import Testing

@testable import StampedeCore

@Suite(.serialized, .enabled(if: Stack.brokers.contains(.apache), "needs Apache Kafka: KAFKA_HOME"))
struct RecoveryTests {
    @Test(.enabled(if: ChaosPlan.given == nil))
    func theDiskOfPostgresIsLostInTheMiddleOfASale() async throws {
        try await FaultBench.with(seconds: 90, rate: 40, isImpatient: false) { bench in
            let (stack, backup) = (bench.stack, "\(bench.stack.folder)/backup")
            func block(with word: String) throws -> String {
                try Stack.block(of: "docs/backup.md", with: word).replacing("/backup", with: backup)
                    .replacing("PGPORT=15432", with: "PGPORT=\(stack.port("POSTGRES"))")
                    .replacing(".local/", with: "\(stack.folder)/")
            }
            let prepare = try block(with: "export PGHOST")
            let access = try #require(prepare.split(separator: "\n").first) + "\n"

            try await stack.type(prepare).requireSuccess()
            let receiver = try ChildProgram(
                "/bin/bash", ["-c", access + "exec timeout 300 " + block(with: "--synchronous")],
                environment: stack.environment, output: .nullDevice)
            defer { receiver.terminate() }
            try await stack.eventually {
                try FileManager.default.contentsOfDirectory(atPath: "\(backup)/wal").contains {
                    $0.hasSuffix(".partial")
                }
            }
            try await bench.goesOn(since: .now)
            try await stack.type(access + block(with: "pg_basebackup")).requireSuccess()
            // Long enough that the backup alone would be of no use.
            for _ in 0..<5 { try await bench.goesOn(since: .now) }

            let lost = ContinuousClock.now
            // Nothing starts it on half of its files.
            try await stack.type(
                """
                supervisor=$(cut -d ' ' -f 1 .local/run/postgres.supervisor)
                kill -STOP "$supervisor"
                kill -KILL "$(cut -d ' ' -f 1 .local/run/postgres.pid)"
                until find .local/postgres -mindepth 1 -delete; do sleep 0.1; done
                kill -CONT "$supervisor"
                """
            ).requireSuccess()
            receiver.terminate()
            _ = await receiver.wait()
            try await stack.type(block(with: "cp -a /backup/base")).requireSuccess()
            let started = ContinuousClock.now
            let recovery = try await bench.goesOn(since: started)
            let away = bench.crowd.attempts(from: lost, to: started)
            print(
                "the disk of Postgres was lost: away for \((started - lost).seconds.fixed(1)) s, "
                    + "\(away.count { $0.status != 202 }) orders put off meanwhile; decided again after "
                    + "\(recovery.decided.seconds.fixed(1)) s")
            try await bench.verify()
        }
    }

    @Test(.enabled(if: ChaosPlan.given == nil)) func anOlderDumpIsNotActedUponUntilSomebodySaysSo() async throws {
        try await FaultBench.with(seconds: 90, rate: 40, isImpatient: false) { bench in
            let stack = bench.stack
            try await bench.goesOn(since: .now)
            try await stack.type(
                """
                . .local/environment
                pg_dump --format=custom --schema=reservation --file=.local/older.dump "$RESERVATION_OWNER_POSTGRES_DSN"
                """
            ).requireSuccess()
            for _ in 0..<3 { try await bench.goesOn(since: .now) }
            try await stack.stop("reservation")
            try await stack.type(
                """
                . .local/environment
                pg_restore --clean --if-exists --schema=reservation --no-owner --single-transaction \
                    --dbname="$RESERVATION_OWNER_POSTGRES_DSN" .local/older.dump
                """
            ).requireSuccess()

            let words = "the schema reservation is older than what the service has published"
            let up = try await stack.script("up")
            #expect(up.code != 0 && up.errors.contains(words), "\(up.errors)")
            #expect(try stack.log("reservation").contains(words))
            let decided = bench.decisions.count
            let accepted = bench.crowd.acceptedOrders.count
            try await stack.eventually { bench.crowd.acceptedOrders.count > accepted + 40 }
            #expect(bench.decisions.count == decided)
            #expect(try await stack.stampede("audit", "--settle", "1").code != 0)

            try await stack.type(Stack.block(of: "docs/backup.md", with: "--delete --group")).requireSuccess()
            try await bench.goesOn(since: .now)
        }
    }
}
