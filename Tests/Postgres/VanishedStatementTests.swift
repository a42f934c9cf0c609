// Prepared statements that the server no longer has: a pooler between, or DISCARD ALL by hand.
import Postgres
import TestSupport
import Testing

@Suite(.timeLimit(.minutes(1))) struct VanishedStatementTests {
    /// Inserts by itself, as the services do; false when the server refused it.
    private func insert(_ value: Int32, _ pool: PostgresPool) async -> Bool {
        await Fixture.failure { try await pool.execute("INSERT INTO kept VALUES (\(value))") } == nil
    }

    @Test(arguments: ["DEALLOCATE ALL", "DISCARD ALL"] as [SQL])
    func everyWriteThatWasAnsweredIsKeptAfterTheServerForgotItsStatements(_ forget: SQL) async throws {
        let pool = try await Fixture.pool(connectionsMax: 1)
        try await pool.execute("CREATE TABLE kept (x int)")
        var answered: [Int32] = []
        for value in Int32(0)..<60 {
            // On the same connection, for there is one.
            if value % 20 == 10 { try await pool.execute(forget) }
            if await insert(value, pool) { answered.append(value) }
        }
        #expect(try await pool.query("SELECT x FROM kept ORDER BY 1").column(as: Int32.self) == answered)
        // A statement that the server does not know has not run: it is prepared again and sent again.
        #expect(answered == Array(0..<60))
        await pool.close()
    }

    @Test func callersAtOnceAreEachToldTheTruthWhileStatementsVanish() async throws {
        let pool = try await Fixture.pool(connectionsMax: 1)
        try await pool.execute("CREATE TABLE kept (x int)")
        let answered = await withTaskGroup(of: Int32?.self) { group in
            for value in Int32(0)..<400 {
                group.addTask {
                    if value % 40 == 0 { _ = await Fixture.failure { try await pool.execute("DEALLOCATE ALL") } }
                    return await insert(value, pool) ? value : nil
                }
            }
            return await group.reduce(into: [Int32]()) { if let value = $1 { $0.append(value) } }
        }
        #expect(try await pool.query("SELECT x FROM kept ORDER BY 1").column(as: Int32.self) == answered.sorted())
        await pool.close()
    }

    @Test func statementsThatMakeRoomForOthersTakeNobodysWorkWithThem() async throws {
        var options = TestDatabase.patientOptions
        options.statementsMax = 2
        let pool = try await Fixture.pool(connectionsMax: 1, options: options)
        try await pool.execute("CREATE TABLE kept (x int)")
        var answered: [Int32] = []
        for value in Int32(0)..<40 {
            if value % 3 == 0 { try await pool.execute("DEALLOCATE ALL") }
            // Each text is a statement of its own, and pushes out another that may be gone already.
            let statement: SQL = "INSERT INTO kept SELECT \(value) AS \(identifier: "c\(value % 5)")"
            if await Fixture.failure({ try await pool.execute(statement) }) == nil { answered.append(value) }
        }
        #expect(try await pool.query("SELECT x FROM kept ORDER BY 1").column(as: Int32.self) == answered)
        let kept: Int64 = try await pool.query("SELECT count(*) FROM pg_prepared_statements").one()
        #expect(kept <= 3)
        await pool.close()
    }

    @Test func whatStandsBehindABeginThatFailedIsNoTransactionOfItsOwn() async throws {
        let pool = try await Fixture.pool(connectionsMax: 1)
        try await pool.execute("CREATE TABLE kept (x int)")
        try await pool.transaction { try await $0.execute("INSERT INTO kept VALUES (0)") }
        // BEGIN is a prepared statement as well.
        try await pool.execute("DEALLOCATE ALL")
        let error = await Fixture.failure {
            try await pool.transaction { transaction in
                async let first = transaction.execute("INSERT INTO kept VALUES (1)")
                async let second = transaction.execute("INSERT INTO kept VALUES (2)")
                _ = try await (first, second)
            }
        }
        #expect(error?.isRetriable == true)
        #expect(try await pool.query("SELECT x FROM kept").column(as: Int32.self) == [0])
        await pool.close()
    }
}
