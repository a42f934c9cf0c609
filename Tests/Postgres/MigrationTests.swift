// Migrations: once, in order, unchanged, and by one program at a time.
import Postgres
import TestSupport
import Testing

@Suite(.timeLimit(.minutes(1))) struct MigrationTests {
    private let create = Migration(
        number: 1, name: "create",
        sql: """
            CREATE TABLE things (x int);
            -- A semicolon in a text is none: ';'
            INSERT INTO things VALUES (1);
            """)
    private let grow = Migration(number: 2, name: "grow", sql: "INSERT INTO things VALUES (2)")

    @Test func eachIsAppliedOnceHoweverOftenTheProgramStarts() async throws {
        let pool = try await Fixture.pool()
        try await pool.migrate(schema: "tester", [create])
        try await pool.migrate(schema: "tester", [create])
        try await pool.migrate(schema: "tester", [grow, create])
        try await pool.migrate(schema: "tester", [create, grow])
        #expect(try await pool.query("SELECT x FROM things ORDER BY 1").column() == [1, 2])
        let applied: [String] = try await pool.query("SELECT name FROM tester.migrations ORDER BY number").column()
        #expect(applied == ["create", "grow"])
        await pool.close()
    }

    @Test func programsThatStartAtOnceApplyEachOnce() async throws {
        let database = try await Fixture.database()
        try await withThrowingTaskGroup { group in
            for _ in 0..<6 {
                group.addTask {
                    let pool = try database.pool("tester", connectionsMax: 1)
                    try await pool.migrate(schema: "tester", [create, grow])
                    await pool.close()
                }
            }
            try await group.waitForAll()
        }
        let pool = try database.pool("tester")
        #expect(try await pool.query("SELECT x FROM things ORDER BY 1").column() == [1, 2])
        await pool.close()
    }

    /// A service's role reads and writes rows; its schema's owner makes the tables.
    @Test func aRoleThatMayMakeNoTablesFindsThemOrSaysWhoHasTo() async throws {
        let database = try await TestPostgres.shared().database(schemas: ["tester", "other"])
        let (owner, service) = (try database.pool("tester"), try database.pool("other"))
        try await owner.execute("GRANT USAGE ON SCHEMA tester TO other")
        try await owner.execute(
            "ALTER DEFAULT PRIVILEGES IN SCHEMA tester GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO other")
        for missing in [[create], [create, grow]] {
            let error = await #expect(throws: PostgresError.self) {
                try await service.migrate(schema: "tester", missing)
            }
            #expect(error?.isSchemaOlder == true && error?.message.contains("`tester migrate`") == true)
            try await owner.migrate(schema: "tester", missing)
            try await service.migrate(schema: "tester", missing)
        }
        try await service.execute("DELETE FROM tester.things")
        let error = await #expect(throws: PostgresError.self) {
            try await service.execute("DELETE FROM tester.migrations")
        }
        #expect(error?.sqlState == "42501")
        await owner.close()
        await service.close()
    }

    @Test func oneThatWasChangedAfterItWasAppliedIsRefused() async throws {
        let pool = try await Fixture.pool()
        try await pool.migrate(schema: "tester", [create])
        let changed = Migration(number: 1, name: "create", sql: create.sql + "INSERT INTO things VALUES (9);")
        let error = await #expect(throws: PostgresError.self) {
            try await pool.migrate(schema: "tester", [changed, grow])
        }
        #expect(error?.message.contains("migration 1 create") == true)
        #expect(try await pool.query("SELECT x FROM things").column() == [1])
        await pool.close()
    }

    @Test func oneThatFailsLeavesNothingOfItself() async throws {
        let pool = try await Fixture.pool()
        let broken = Migration(number: 2, name: "broken", sql: "INSERT INTO things VALUES (2); SELECT 1 / 0;")
        let error = await #expect(throws: PostgresError.self) {
            try await pool.migrate(schema: "tester", [create, broken])
        }
        #expect(error?.sqlState == "22012")
        #expect(try await pool.query("SELECT to_regclass('tester.things') IS NULL").one() == true)
        try await pool.migrate(schema: "tester", [create, grow])
        #expect(try await pool.query("SELECT x FROM things ORDER BY 1").column() == [1, 2])
        await pool.close()
    }

    @Test func oneThatComesBeforeAnAppliedOneIsRefusedAndAnUnknownLaterOneIsLeftAlone() async throws {
        let pool = try await Fixture.pool()
        let first = Migration(number: 1, name: "late", sql: "SELECT 1")
        let create = Migration(number: 2, name: "create", sql: create.sql)
        try await pool.migrate(schema: "tester", [create])
        let error = await #expect(throws: PostgresError.self) {
            try await pool.migrate(schema: "tester", [first, create])
        }
        #expect(error?.message.contains("migration 1 late") == true)
        try await pool.migrate(schema: "tester", [])
        #expect(try await pool.query("SELECT x FROM things").column() == [1])
        await pool.close()
    }

    @Test func oneThatOlderProgramsCannotWorkWithIsRefusedByThem() async throws {
        let pool = try await Fixture.pool()
        let breaking = Migration(number: 2, name: "other colours", sql: "SELECT 1", isBreaking: true)
        try await pool.migrate(schema: "tester", [create])
        try await pool.migrate(schema: "tester", [create, breaking])
        try await pool.migrate(schema: "tester", [create, breaking])
        let error = await #expect(throws: PostgresError.self) { try await pool.migrate(schema: "tester", [create]) }
        #expect(error?.isSchemaMismatch == true)
        #expect(error?.message.contains("migration 2 other colours, which this program does not know") == true)
        await pool.close()
    }

    @Test func twoWithOneNumberAreRefused() async throws {
        let pool = try await Fixture.pool()
        let other = Migration(number: 1, name: "other", sql: "SELECT 1")
        let error = await #expect(throws: PostgresError.self) {
            try await pool.migrate(schema: "tester", [create, other])
        }
        #expect(error?.message.contains("exists twice") == true)
        await pool.close()
    }
}
