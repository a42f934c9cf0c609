// The server goes away: what callers are told, and that the pool comes back by itself.
import Observability
import Postgres
import Synchronization
import TestSupport
import Testing

@Suite(.timeLimit(.minutes(2))) struct FailureTests {
    /// Ends the pool's only session from outside once `isReached` holds for it, as an administrator would.
    private func terminate(
        _ name: String, of database: TestDatabase, where isReached: @Sendable (_ state: String, _ wait: String) -> Bool
    ) async throws {
        let administrator = try Fixture.pool(dsn: database.administratorDSN)
        var isDone = false
        while !isDone {
            let rows = try await administrator.query(
                """
                SELECT pid, state, coalesce(wait_event, '') FROM pg_stat_activity
                WHERE datname = \(database.name) AND application_name = \(name)
                """)
            for row in rows where isReached(try row.get(1), try row.get(2)) {
                let pid: Int32 = try row.get(0)
                isDone = try await administrator.query("SELECT pg_terminate_backend(\(pid))").one()
            }
        }
        await administrator.close()
    }

    @Test func aServerKilledInMidTransactionKeepsNothingAndThePoolComesBack() async throws {
        let server = try await TestPostgres.start()
        let database = try await server.database(schemas: ["tester"])
        var options = PostgresOptions()
        options.waitMax = .seconds(20)
        let pool = try database.pool("tester", connectionsMax: 2, options: options)
        try await pool.execute("CREATE TABLE kept (x int)")
        try await pool.execute("INSERT INTO kept VALUES (1)")
        let error = await #expect(throws: PostgresError.self) {
            try await pool.transaction { transaction in
                try await transaction.execute("INSERT INTO kept VALUES (2)")
                try await server.kill()
                try await transaction.execute("INSERT INTO kept VALUES (3)")
            }
        }
        #expect(error?.isConnectionFailure == true)
        #expect(error?.isOutcomeUnknown == false)
        #expect(error?.isRetriable == true)

        // Who asks while it is down waits, and is served when it is up again.
        let waiting = Task { try await pool.query("SELECT x FROM kept").column(as: Int.self) }
        try await server.restart()
        #expect(try await waiting.value == [1])

        // Connections that died while nobody used them are found dead before anybody gets one.
        try await server.kill()
        try await server.restart()
        #expect(try await pool.query("SELECT x FROM kept").column(as: Int.self) == [1])
        await pool.close()
    }

    @Test func aConnectionThatDiesDuringTheCommitLeavesTheOutcomeUnknown() async throws {
        let database = try await Fixture.database()
        let pool = try Fixture.pool(dsn: database.dsn("tester") + "?application_name=committing")
        try await pool.execute("CREATE TABLE slow (x int)")
        try await pool.execute(
            "CREATE FUNCTION wait() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep(50); RETURN NULL; END'")
        try await pool.execute(
            """
            CREATE CONSTRAINT TRIGGER waits AFTER INSERT ON slow DEFERRABLE INITIALLY DEFERRED
            FOR EACH ROW EXECUTE FUNCTION wait()
            """)
        let committing = Task {
            try await pool.transaction { try await $0.execute("INSERT INTO slow VALUES (1)") }
        }
        try await terminate("committing", of: database) { _, wait in wait == "PgSleep" }
        let result = await committing.result
        let error = #expect(throws: PostgresError.self) { try result.get() }
        #expect(error?.isOutcomeUnknown == true)
        #expect(error?.isConnectionFailure == true)
        #expect(error?.isRetriable == false)
        // Here it can be looked up: it did not happen.
        #expect(try await pool.query("SELECT x FROM slow").isEmpty)
        await pool.close()
    }

    @Test func aConnectionThatDiesBetweenStatementsHasCommittedNothing() async throws {
        let database = try await Fixture.database()
        let pool = try Fixture.pool(dsn: database.dsn("tester") + "?application_name=idling")
        try await pool.execute("CREATE TABLE kept (x int)")
        let error = await #expect(throws: PostgresError.self) {
            try await pool.transaction { transaction in
                try await transaction.execute("INSERT INTO kept VALUES (1)")
                try await terminate("idling", of: database) { state, _ in state == "idle in transaction" }
                try await transaction.execute("INSERT INTO kept VALUES (2)")
            }
        }
        #expect(error?.isConnectionFailure == true)
        #expect(error?.isOutcomeUnknown == false)
        #expect(try await pool.query("SELECT x FROM kept").isEmpty)
        await pool.close()
    }

    @Test func everyCallerOnAConnectionThatDiesHearsOfIt() async throws {
        let database = try await Fixture.database()
        let pool = try Fixture.pool(dsn: database.dsn("tester") + "?application_name=shared")
        try await pool.ping()
        let callers = (0..<5).map { _ in Task { _ = try await pool.query("SELECT pg_sleep(50)") } }
        try await terminate("shared", of: database) { _, wait in wait == "PgSleep" }
        for caller in callers {
            let result = await caller.result
            let error = #expect(throws: PostgresError.self) { try result.get() }
            #expect(error?.isConnectionFailure == true)
        }
        try await pool.ping()
        await pool.close()
    }

    @Test func aRegularStopOfTheServerIsLoggedOnceAndAsWhatItIs() async throws {
        let server = try await TestPostgres.start()
        let database = try await server.database(schemas: ["tester"])
        let lines = Mutex<[String]>([])
        let log = Logger(
            service: "test", level: .warning,
            sink: LogSink { line in lines.withLock { $0.append(String(decoding: line, as: UTF8.self)) } })
        let pool = try database.pool("tester", connectionsMax: 3, log: log)
        let listener = pool.listen("orders") {}
        // Some are idle when it comes, one is in a statement, and a listener's waits.
        let callers = (0..<3).map { _ in Task { try await pool.transaction { try await $0.execute("SELECT 1") } } }
        for caller in callers { _ = await caller.result }
        let asleep = Task { try await pool.query("SELECT pg_sleep(50)") }
        let administrator = try Fixture.pool(dsn: database.administratorDSN)
        while try await administrator.query(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = \(database.name) AND wait_event = 'PgSleep'"
        ).one() == Int64(0) {}
        await administrator.close()
        try await server.stop()
        let result = await asleep.result
        let error = #expect(throws: PostgresError.self) { try result.get() }
        #expect(error?.detail?.contains("57P01") == true)
        try await server.restart()
        _ = try await pool.query("SELECT 1")
        let told = lines.withLock { $0 }.filter { !$0.contains("connecting to Postgres failed") }
        #expect(told.count == 1)
        #expect(told.first?.contains("Postgres was stopped, or has ended the session") == true)
        #expect(told.first?.contains("57P01") == true)
        await listener.close()
        await pool.close()
    }

    @Test func aNetworkThatFallsSilentIsFoundOutWithinTheBound() async throws {
        let database = try await Fixture.database()
        let proxy = try FaultProxy(to: database.server.port)
        defer { proxy.close() }
        let dsn = database.dsn("tester").replacing(":\(database.server.port)/", with: ":\(proxy.port)/")
        var options = TestDatabase.patientOptions
        options.silenceMax = .seconds(1)
        let pool = try Fixture.pool(dsn: dsn, options: options)
        try await pool.execute("CREATE TABLE heard (x int)")

        // In a statement: nothing can have been committed.
        let early = await #expect(throws: PostgresError.self) {
            try await pool.transaction { transaction in
                try await transaction.execute("INSERT INTO heard VALUES (1)")
                proxy.set(.silent)
                try await transaction.execute("INSERT INTO heard VALUES (2)")
            }
        }
        #expect(early?.isConnectionFailure == true && early?.isOutcomeUnknown == false)
        // In the commit: nobody knows.
        proxy.set(.none)
        let late = await #expect(throws: PostgresError.self) {
            try await pool.transaction { transaction in
                try await transaction.execute("INSERT INTO heard VALUES (3)")
                proxy.set(.silent)
            }
        }
        #expect(late?.isOutcomeUnknown == true)
        proxy.set(.none)
        // On a new connection, for the old ones stay mute.
        #expect(try await pool.query("SELECT count(*) FROM heard").one() == Int64(0))
        await pool.close()
    }

    @Test func aServerForgetsAClientThatHoldsATransactionAndSaysNothing() async throws {
        let database = try await Fixture.database()
        let pool = try Fixture.pool(dsn: database.dsn("tester"))
        #expect(try await pool.query("SHOW idle_in_transaction_session_timeout").one() == "10s")
        await pool.close()
        // As with a process that is stopped: its locks are free again.
        let impatient = database.dsn("tester") + "?options=-cidle_in_transaction_session_timeout%3D200"
        let frozen = try Fixture.pool(dsn: impatient)
        let other = try Fixture.pool(dsn: database.dsn("tester"))
        try await other.execute("CREATE TABLE held (x int PRIMARY KEY)")
        try await other.execute("INSERT INTO held VALUES (1)")
        await #expect(throws: PostgresError.self) {
            try await frozen.transaction { transaction in
                try await transaction.execute("UPDATE held SET x = 2")
                // Waits for the lock until the server has ended the other's session.
                try await other.execute("UPDATE held SET x = 3")
            }
        }
        #expect(try await other.query("SELECT x FROM held").column(as: Int32.self) == [3])
        await frozen.close()
        await other.close()
    }
}
