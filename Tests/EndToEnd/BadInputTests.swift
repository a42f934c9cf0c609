// What a service says when it cannot start, and with which code it ends: the real executable, on real Postgres and the
// broker protocol.
import Foundation
import Kafka
import Models
import Postgres
import ServiceKit
import TestSupport
import Testing

@testable import StampedeCore

@Suite(.serialized) struct BadInputTests {
    /// One run of the reservation service, to its end.
    private struct Run {
        let code: Int32
        let lines: [String]

        /// What the operator is told: the lines that are no JSON, and the reason of "cannot start".
        var told: [String] {
            lines.compactMap { line in
                let object = try? JSONSerialization.jsonObject(with: Data(line.utf8)) as? [String: String]
                guard let object else { return line }
                return object["message"] == "cannot start" ? object["reason"] : nil
            }
        }
    }

    private func run(_ environment: [String: String]) async throws -> Run {
        let file = FileManager.default.temporaryDirectory.appending(path: "stampede-bad-\(UUID().uuidString)").path
        defer { try? FileManager.default.removeItem(atPath: file) }
        _ = FileManager.default.createFile(atPath: file, contents: nil)
        let output = try #require(FileHandle(forWritingAtPath: file))
        let program = try ChildProgram(
            "\(Stack.root)/.build/debug/reservation", environment: environment, output: output)
        let code = await program.wait()
        let text = try String(contentsOfFile: file, encoding: .utf8)
        for trace in ["Fatal error", "Stack dump", "Backtrace", "Illegal instruction", "*** "] {
            #expect(!text.contains(trace), "\(text)")
        }
        return Run(code: code, lines: text.split(separator: "\n").map(String.init))
    }

    /// All that the service needs, with a broker that has these topics.
    private struct Ground {
        let database: TestDatabase
        let broker: EmbeddedBroker

        init(_ topics: [Topic] = ReservationTopics.all, partitions: Int32? = nil) async throws {
            database = try await TestPostgres.shared().database(schemas: ["reservation"])
            broker = try EmbeddedBroker()
            for topic in topics { try broker.createTopic(topic.name, partitions: partitions ?? topic.partitions) }
        }

        func environment(_ changes: [String: String] = [:]) -> [String: String] {
            [
                "KAFKA_BOOTSTRAP_SERVERS": broker.bootstrapServers,
                "STAMPEDE_POSTGRES_DSN": database.dsn("reservation"),
                "STAMPEDE_PUBLISHERS": TestPublishers.settings["STAMPEDE_PUBLISHERS"] ?? "",
                "STAMPEDE_HTTP_PORT": "0", "STAMPEDE_START_SECONDS": "0", "STAMPEDE_DRAIN_SECONDS": "2",
                "STAMPEDE_ROOT_KEYS": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo",
            ].merging(changes) { $1 }
        }

        func administer(_ statements: SQL...) async throws {
            let pool = try PostgresPool(
                dsn: database.administratorDSN, connectionsMax: 1, applicationName: "test",
                log: .init(service: "test", level: .error), metrics: .init())
            for statement in statements { try await pool.execute(statement) }
            await pool.close()
        }
    }

    private enum ReservationTopics {
        static let all: [Topic] = [.sales, .keys, .orders, .payments, .reservations]
    }

    private func expect(_ run: Run, _ code: Int32, says parts: String...) {
        #expect(run.code == code, "\(run.lines)")
        #expect(run.told.count == 1, "\(run.told)")
        for part in parts { #expect(run.told.first?.contains(part) == true, "\(part) in \(run.told)") }
    }

    // MARK: Configuration

    @Test func whatIsMissingIsNamedALineEach() async throws {
        let run = try await run([:])
        #expect(run.code == ExitCode.configuration)
        #expect(run.told.count == 4)
        #expect(run.told.first?.hasPrefix("reservation: KAFKA_BOOTSTRAP_SERVERS: required") == true)
        #expect(run.told.dropFirst().first?.hasPrefix("reservation: STAMPEDE_POSTGRES_DSN: required") == true)
        #expect(run.told.dropFirst(2).first?.hasPrefix("reservation: STAMPEDE_PUBLISHERS: required") == true)
        #expect(run.told.last?.hasPrefix("reservation: STAMPEDE_ROOT_KEYS: required") == true)
    }

    @Test func anUnknownKeyIsNamedWithTheOneThatWasMeant() async throws {
        let ground = try await Ground()
        expect(
            try await run(ground.environment(["STAMPEDE_HTTP_PORTS": "8083"])), ExitCode.configuration,
            says: "STAMPEDE_HTTP_PORTS: unknown", "STAMPEDE_HTTP_PORT?")
    }

    @Test func aDSNThatIsNoneSaysHowOneLooks() async throws {
        let ground = try await Ground()
        expect(
            try await run(ground.environment(["STAMPEDE_POSTGRES_DSN": "localhost:5432"])), ExitCode.configuration,
            says: "STAMPEDE_POSTGRES_DSN", "postgresql://user:password@host")
    }

    // MARK: Postgres

    @Test func aPostgresThatIsNotThereIsNamed() async throws {
        let ground = try await Ground()
        expect(
            try await run(ground.environment(["STAMPEDE_POSTGRES_DSN": "postgresql://r:open-sesame@127.0.0.1:1/d"])),
            ExitCode.unavailable, says: "STAMPEDE_POSTGRES_DSN", "Connection refused")
    }

    @Test func aPasswordOrADatabaseThatIsWrongIsNamed() async throws {
        let ground = try await Ground()
        let dsn = ground.database.dsn("reservation")
        expect(
            try await run(
                ground.environment([
                    "STAMPEDE_POSTGRES_DSN": dsn.replacing(ground.database.server.password, with: "open-sesame")
                ])), ExitCode.notPermitted, says: "STAMPEDE_POSTGRES_DSN: check user, password and database",
            "password authentication failed")
        expect(
            try await run(
                ground.environment(["STAMPEDE_POSTGRES_DSN": dsn.replacing(ground.database.name, with: "nix")])),
            ExitCode.notPermitted, says: "database \"nix\" does not exist")
    }

    @Test func aDatabaseThatTakesNothingIsNamed() async throws {
        let ground = try await Ground()
        try await ground.administer(
            "ALTER DATABASE \(identifier: ground.database.name) SET default_transaction_read_only = on")
        expect(
            try await run(ground.environment()), ExitCode.readOnly, says: "STAMPEDE_POSTGRES_DSN",
            "a server that can be written to")
    }

    @Test func aSchemaThatANewerProgramLeftIsNamed() async throws {
        let ground = try await Ground()
        // What a newer program would have left: its step, and those before it.
        try await ground.administer(
            """
            CREATE TABLE reservation.migrations (number int PRIMARY KEY, name text NOT NULL, sha256 bytea NOT NULL,
                applied_at timestamptz NOT NULL DEFAULT now(), is_breaking boolean NOT NULL)
            """,
            "INSERT INTO reservation.migrations (number, name, sha256, is_breaking) VALUES (999, 'colours', '\\x00', true)",
            "ALTER TABLE reservation.migrations OWNER TO reservation")
        expect(
            try await run(ground.environment()), ExitCode.schema,
            says: "schema reservation has migration 999 colours", "start the newer version")
    }

    // MARK: Kafka

    @Test func aBrokerThatIsNotThereIsNamed() async throws {
        let ground = try await Ground()
        expect(
            try await run(ground.environment(["KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:1"])), ExitCode.noBroker,
            says: "KAFKA_BOOTSTRAP_SERVERS", "127.0.0.1:1")
    }

    @Test func aTopicThatIsNotThereIsNamed() async throws {
        let ground = try await Ground([.sales, .keys, .orders, .payments])
        expect(
            try await run(ground.environment()), ExitCode.noTopic, says: "no topic reservations",
            "stampede topics create")
    }

    @Test func aTopicWithTooFewPartitionsIsNamed() async throws {
        let ground = try await Ground(partitions: 1)
        expect(
            try await run(ground.environment()), ExitCode.partitions, says: "orders has 1 partitions, needed are 12",
            "stampede topics create")
    }

    // MARK: The system

    @Test func aPortThatIsTakenIsNamed() async throws {
        let ground = try await Ground()
        let other = try FreePorts.hold()
        defer { close(other.socket) }
        expect(
            try await run(ground.environment(["STAMPEDE_HTTP_PORT": "\(other.port)"])), ExitCode.system,
            says: "127.0.0.1:\(other.port)", "Address already in use", "STAMPEDE_HTTP_PORT")
    }

    /// A service writes nothing to a disk of its own; the scripts do.
    @Test func aFolderThatCannotBeWrittenToIsNamed() async throws {
        let file = FileManager.default.temporaryDirectory.appending(path: "stampede-bad-\(UUID().uuidString)").path
        defer { try? FileManager.default.removeItem(atPath: file) }
        _ = FileManager.default.createFile(atPath: file, contents: nil)
        let output = try #require(FileHandle(forWritingAtPath: file))
        let program = try ChildProgram(
            "\(Stack.root)/scripts/up",
            environment: [
                "PATH": "/usr/bin:/bin", "STACK_DIR": "/proc/stampede", "BUILD": "no", "CONFIGURATION": "debug",
            ],
            output: output)
        #expect(await program.wait() == 73)
        let text = try String(contentsOfFile: file, encoding: .utf8)
        #expect(text == "up: /proc/stampede cannot be written to; set STACK_DIR to a folder that can\n")
    }

    // MARK: The table

    /// docs/operations.md explains every code, and the supervisor gives up on those that only a person can change.
    @Test func everyExitCodeIsExplained() throws {
        let document = try String(contentsOfFile: "\(Stack.root)/docs/operations.md", encoding: .utf8)
        let explained = Set(document.matches(of: #/\n\| ([0-9]+) \|/#).compactMap { Int32($0.1) })
        let codes: Set<Int32> = [
            ExitCode.success, ExitCode.failure, ExitCode.usage, ExitCode.schema, ExitCode.noTopic, ExitCode.noBroker,
            ExitCode.unavailable, ExitCode.system, ExitCode.readOnly, ExitCode.partitions, ExitCode.notPermitted,
            ExitCode.configuration,
        ]
        #expect(codes.count == 12, "two causes share a code")
        #expect(explained == codes.union([73]))
        let supervisor = try String(contentsOfFile: "\(Stack.root)/scripts/supervise", encoding: .utf8)
        let final = ExitCode.final.sorted().map { "\($0)" }.joined(separator: " ")
        #expect(supervisor.contains("final_codes=\"\(final)\""))
    }

    // MARK: Starting again

    /// The supervisor starts again what may pass, saying why it ended, and leaves alone what needs a person.
    @Test func aRestartHasAReasonAndNoneFollowsWhatOnlyAPersonCanChange() async throws {
        let folder = "/tmp/stampede-supervise-\(getpid())-\(UUID().uuidString.prefix(8))"
        for name in ["run", "log"] {
            try FileManager.default.createDirectory(atPath: "\(folder)/\(name)", withIntermediateDirectories: true)
        }
        defer { try? FileManager.default.removeItem(atPath: folder) }
        func supervise(_ name: String, _ code: Int32) async throws -> String {
            let log = "\(folder)/\(name)"
            _ = FileManager.default.createFile(atPath: log, contents: nil)
            let output = try #require(FileHandle(forWritingAtPath: log))
            // The second time it is started it ends for good.
            let starts = "'\(log).starts'"
            let command = "echo >>\(starts); (( $(wc -l <\(starts)) < 2 )) || exit 78; exit \(code)"
            let program = try ChildProgram(
                "\(Stack.root)/scripts/supervise", [name, "/bin/bash", "-c", command],
                environment: ["PATH": "/usr/bin:/bin", "STACK_DIR": folder], output: output)
            #expect(await program.wait() == 0)
            return try String(contentsOfFile: log, encoding: .utf8)
        }
        for code in ExitCode.final.sorted() {
            let told = try await supervise("final-\(code)", code)
            #expect(told.split(separator: "\n").count == 1, "\(told)")
            #expect(told.contains("ended with exit code \(code) and is not started again; see log/final-\(code).log"))
        }
        let told = try await supervise("passing", ExitCode.noBroker)
        #expect(told.contains(#/passing ended with exit code 68 after \d+ s; starting it again in 0\.2 s/#), "\(told)")
        #expect(told.contains("passing ended with exit code 78 and is not started again"), "\(told)")
    }
}
