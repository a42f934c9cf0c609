// The pool: sharing, bounds, prepared statements, and what the DSN can say.
import Foundation
import Observability
import Runtime
import TestSupport
import Testing

@testable import Postgres

@Suite(.timeLimit(.minutes(1))) struct PoolTests {
    @Test func twoHundredCallersShareOneConnectionAndTheOneWhoFailsFailsAlone() async throws {
        let pool = try await Fixture.pool(connectionsMax: 1)
        try await pool.execute("CREATE TABLE shares (caller int PRIMARY KEY)")
        let failed = await withTaskGroup(of: (Int, Bool).self) { group in
            for caller in 0..<200 {
                group.addTask {
                    let divisor = caller == 77 ? 0 : 1
                    do throws(PostgresError) {
                        try await pool.execute("INSERT INTO shares VALUES (\(caller) / \(divisor))")
                        return (caller, true)
                    } catch {
                        #expect(error.sqlState == "22012")
                        return (caller, false)
                    }
                }
            }
            return await group.reduce(into: [Int]()) { if !$1.1 { $0.append($1.0) } }
        }
        #expect(failed == [77])
        #expect(try await pool.query("SELECT count(*) FROM shares").one() == 199)
        await pool.close()
    }

    /// A join with the keys may read all of a table that was empty when it was planned, and go on so while it grows.
    @Test(arguments: [0, 1, 3, 60])
    func aLookupForEachKeyReadsNothingElseHoweverSmallTheTableWas(rows: Int) async throws {
        var options = TestDatabase.patientOptions
        options.findsByIndex = true
        let pool = try await Fixture.pool(options: options)
        try await pool.execute("CREATE TABLE grown (id int, part int, PRIMARY KEY (id, part))")
        try await pool.execute("INSERT INTO grown SELECT n, n FROM generate_series(1, \(Int32(rows))) AS n")
        try await pool.execute("VACUUM ANALYZE grown")
        let ids: [Int32] = [1, 2, 3]
        let plan = try await pool.query(
            """
            EXPLAIN (FORMAT JSON) SELECT g.* FROM unnest(\(ids), \(ids)) AS k(id, part)
            CROSS JOIN LATERAL (SELECT * FROM grown WHERE id = k.id AND part = k.part OFFSET 0) g
            """)[0].get(0, as: JSONText.self)
        let text = String(decoding: plan.bytes, as: UTF8.self)
        #expect(text.contains("((id = k.id) AND (part = k.part))") && !text.contains("Join Filter"), "\(text)")
        await pool.close()
    }

    /// As few rows as autovacuum looks at: to read the table as a whole and join it costs as good as nothing then.
    @Test func aPoolThatFindsByIndexReadsNoTableAsAWhole() async throws {
        var options = TestDatabase.patientOptions
        options.findsByIndex = true
        let pool = try await Fixture.pool(options: options)
        try await pool.execute("CREATE TABLE kept (id int PRIMARY KEY, value int)")
        try await pool.execute("INSERT INTO kept SELECT n, n FROM generate_series(1, 60) AS n")
        try await pool.execute("ANALYZE kept")
        let (ids, values): ([Int32], [Int32]) = ([1, 2, 3], [4, 5, 6])
        let statements: [SQL] = [
            "EXPLAIN (FORMAT JSON) SELECT value FROM kept WHERE id = ANY(\(ids))",
            "EXPLAIN (FORMAT JSON) SELECT k.value FROM kept k JOIN unnest(\(ids)) AS asked (id) USING (id)",
            "EXPLAIN (FORMAT JSON) DELETE FROM kept USING unnest(\(ids)) AS gone (id) WHERE kept.id = gone.id",
            """
            EXPLAIN (FORMAT JSON) UPDATE kept SET value = new.value
            FROM unnest(\(ids), \(values)) AS new (id, value) WHERE kept.id = new.id
            """,
        ]
        for statement in statements {
            let plan = try await pool.query(statement)[0].get(0, as: JSONText.self)
            let text = String(decoding: plan.bytes, as: UTF8.self)
            #expect(text.contains("Index Cond") && !text.contains("Seq Scan"), "\(text)")
        }
        await pool.close()
    }

    @Test func callersWhoPrepareTheSameWrongStatementAtOnceAllHearWhy() async throws {
        let pool = try await Fixture.pool(connectionsMax: 1)
        try await pool.ping()
        let states = await withTaskGroup(of: String?.self) { group in
            for _ in 0..<20 {
                group.addTask {
                    do throws(PostgresError) {
                        _ = try await pool.query("SELECT * FROM nowhere WHERE x = \(1)")
                        return nil
                    } catch {
                        return error.sqlState
                    }
                }
            }
            return await group.reduce(into: [String?]()) { $0.append($1) }
        }
        #expect(states == Array(repeating: "42P01", count: 20))
        try await pool.ping()
        await pool.close()
    }

    @Test func aCallerHearsWhenNoConnectionIsFreeWithinTheBound() async throws {
        var options = PostgresOptions()
        options.waitMax = .seconds(1)
        let pool = try await Fixture.pool(connectionsMax: 1, options: options)
        try await pool.transaction { transaction in
            try await transaction.execute("SELECT 1")
            let single = await #expect(throws: PostgresError.self) { try await pool.ping() }
            #expect(single?.sqlState == "53300")
            #expect(single?.isUnavailable == true)
            let other = await #expect(throws: PostgresError.self) {
                try await pool.transaction { try await $0.execute("SELECT 1") }
            }
            #expect(other?.isUnavailable == true)
        }
        try await pool.ping()
        await pool.close()
    }

    @Test func oneCallerTooManyIsRefusedAtOnce() async throws {
        var options = PostgresOptions()
        options.waitersMax = 0
        let pool = try await Fixture.pool(connectionsMax: 1, options: options)
        // Nobody may wait, not even for the first connection.
        let error = await #expect(throws: PostgresError.self) { try await pool.ping() }
        #expect(error?.sqlState == "53300")
        await pool.close()
    }

    @Test func aCancelledCallerStopsWaitingAtOnceAndLeavesNothingBehind() async throws {
        var options = PostgresOptions()
        options.waitMax = .seconds(50)
        let pool = try await Fixture.pool(connectionsMax: 1, options: options)
        try await pool.transaction { transaction in
            try await transaction.execute("SELECT 1")
            let waiting = (0..<10).map { _ in Task { try await pool.ping() } }
            for task in waiting { task.cancel() }
            for task in waiting {
                let result = await task.result
                let error = #expect(throws: PostgresError.self) { try result.get() }
                #expect(error?.sqlState == "57014")
            }
        }
        try await pool.ping()
        await pool.close()
    }

    @Test func manyTransactionsOnFewConnectionsAllHappen() async throws {
        var options = PostgresOptions()
        options.waitMax = .seconds(50)
        let pool = try await Fixture.pool(connectionsMax: 3, options: options)
        try await pool.execute("CREATE TABLE counters (id int PRIMARY KEY, count int NOT NULL)")
        try await pool.execute("INSERT INTO counters VALUES (1, 0)")
        try await withThrowingTaskGroup { group in
            for index in 0..<100 {
                group.addTask {
                    try await pool.transaction { transaction in
                        _ = try await transaction.query("SELECT count FROM counters WHERE id = 1 FOR UPDATE")
                        transaction.finish("UPDATE counters SET count = count + 1 WHERE id = 1")
                    }
                    if index % 10 == 0 { try await pool.ping() }
                }
            }
            try await group.waitForAll()
        }
        #expect(try await pool.query("SELECT count FROM counters").one() == 100)
        await pool.close()
    }

    @Test func aStatementIsPreparedOnceAndTheTableOfThemIsBounded() async throws {
        var options = PostgresOptions()
        options.statementsMax = 5
        let pool = try await Fixture.pool(connectionsMax: 1, options: options)
        for value in 0..<10 { _ = try await pool.query("SELECT \(value)") }
        let same: Int = try await pool.query(
            "SELECT count(*) FROM pg_prepared_statements WHERE statement = 'SELECT $1'"
        ).one()
        #expect(same == 1)
        for round in 0..<3 {
            for column in 0..<20 {
                let rows = try await pool.query("SELECT \(round) AS \(identifier: "c\(column)")")
                #expect(try rows.one() == round)
            }
        }
        let names: [String] = try await pool.query("SELECT name FROM pg_prepared_statements").column()
        #expect(names.count <= 6)
        await pool.close()
    }

    @Test func aTableThatAMigrationChangedIsReadAnew() async throws {
        let pool = try await Fixture.pool(connectionsMax: 1)
        try await pool.execute("CREATE TABLE grows (a int)")
        try await pool.execute("INSERT INTO grows VALUES (1)")
        let read: SQL = "SELECT * FROM grows"
        #expect(try await pool.query(read)[0].get(0) == 1)
        try await pool.execute("ALTER TABLE grows ADD b text DEFAULT 'new'")
        #expect(try await pool.query(read)[0].get(1) == "new")
        try await pool.execute("ALTER TABLE grows ADD c int")
        let error = await #expect(throws: PostgresError.self) {
            try await pool.transaction { _ = try await $0.query(read) }
        }
        #expect(error?.isRetriable == true)
        let row = try await pool.transaction { try await $0.query(read)[0] }
        #expect(try row.get(2, as: Int?.self) == nil)
        await pool.close()
    }

    @Test func aClosedPoolRefusesAndWhatRanWasAllowedToEnd() async throws {
        let pool = try await Fixture.pool(connectionsMax: 2)
        try await pool.execute("CREATE TABLE ends (x int)")
        let (started, closing) = (Gate(), Gate())
        let running = Task {
            try await pool.transaction { transaction in
                try await transaction.execute("INSERT INTO ends VALUES (1)")
                started.open()
                await closing.pass()
                return try await transaction.query("SELECT count(*) FROM ends").one(Int.self)
            }
        }
        await started.pass()
        let closed = Task { await pool.close() }
        // Refused from the moment that closing began.
        while (try? await pool.ping()) != nil { await Task.yield() }
        closing.open()
        #expect(try await running.value == 1)
        await closed.value
        let error = await #expect(throws: PostgresError.self) { try await pool.ping() }
        #expect(error?.sqlState == "08003")
    }

    @Test func aPoolThatNobodyClosedEndsItsConnectionsAndItsThread() async throws {
        let database = try await Fixture.database()
        // The thread holds its loop as long as it runs.
        weak var loop: EventLoop?
        do {
            // No timer may hold it either.
            var options = TestDatabase.patientOptions
            options.silenceMax = .seconds(86_400)
            let pool = try Fixture.pool(dsn: database.dsn("tester"), options: options)
            try await pool.ping()
            loop = pool.core.loop
        }
        let administrator = try Fixture.pool(dsn: database.administratorDSN)
        let left: SQL = """
            SELECT count(*) FROM pg_stat_activity WHERE datname = \(database.name) AND usename = 'tester'
            """
        while try await administrator.query(left).one(Int.self) > 0 { await Task.yield() }
        while loop != nil { await Task.yield() }
        await administrator.close()
    }

    @Test func copyIsNotPossibleThroughQueryAndTheNextCallerIsServed() async throws {
        let pool = try await Fixture.pool(connectionsMax: 1)
        try await pool.execute("CREATE TABLE copied (x int)")
        await #expect(throws: PostgresError.self) { try await pool.query("COPY copied FROM STDIN") }
        try await pool.ping()
        await pool.close()
    }

    @Test func statementsThatTakeTooLongAreEndedByTheServer() async throws {
        var options = PostgresOptions()
        options.statementTimeoutSeconds = 1
        let database = try await Fixture.database()
        let pool = try database.pool("tester", options: options)
        let error = await #expect(throws: PostgresError.self) { try await pool.query("SELECT pg_sleep(60)") }
        #expect(error?.sqlState == "57014")
        await pool.close()
        // What the DSN says comes later, so it wins.
        let own = try Fixture.pool(dsn: database.dsn("tester") + "?options=-cstatement_timeout%3D7s", options: options)
        #expect(try await own.query("SHOW statement_timeout").one() == "7s")
        await own.close()
    }
}

@Suite(.timeLimit(.minutes(1))) struct DSNTests {
    @Test func aDSNThatIsNotReadableIsNamedWithoutItsPassword() throws {
        for dsn in [
            "postgresql://user:hunter2%zz@host/db", "password=hunter2 hunter2", "postgresql://u:hunter2@[::1/db",
        ] {
            let error = #expect(throws: PostgresError.self) { try Fixture.pool(dsn: dsn) }
            #expect(error.map { !$0.description.contains("hunter2") } == true)
        }
        let option = #expect(throws: PostgresError.self) {
            try Fixture.pool(dsn: "postgresql://u:p@host/db?sslmoed=require")
        }
        #expect(option?.message.contains("sslmoed") == true)
    }

    @Test func nobodyListeningIsAConnectionFailureThatMayBeTriedAgain() async throws {
        var options = PostgresOptions()
        options.waitMax = .milliseconds(100)
        let pool = try Fixture.pool(dsn: "postgresql://user:hunter2@127.0.0.1:1/db", options: options)
        let error = await #expect(throws: PostgresError.self) { try await pool.ping() }
        #expect(error?.sqlState == "08001")
        #expect(error?.isConnectionFailure == true)
        #expect(error?.isRetriable == true)
        #expect(error?.description.contains("hunter2") == false)
        await pool.close()
    }

    @Test func aWrongPasswordIsToldAsTheServerPutsIt() async throws {
        let database = try await Fixture.database()
        let dsn = "postgresql://tester:hunter2@127.0.0.1:\(database.server.port)/\(database.name)"
        let pool = try Fixture.pool(dsn: dsn, options: PostgresOptions())
        let error = await #expect(throws: PostgresError.self) { try await pool.ping() }
        #expect(error?.message.contains("password authentication failed") == true)
        #expect(error?.description.contains("hunter2") == false)
        await pool.close()
    }

    @Test func theOptionsOfTheDSNReachTheServer() async throws {
        let database = try await Fixture.database()
        let dsn =
            database.dsn("tester")
            + "?application_name=mine&options=-csearch_path%3Delsewhere%20-cTimeZone%3DAsia/Tokyo"
        let pool = try Fixture.pool(dsn: dsn)
        #expect(try await pool.query("SHOW application_name").one() == "mine")
        #expect(try await pool.query("SHOW search_path").one() == "elsewhere")
        #expect(try await pool.query("SHOW TimeZone").one() == "Asia/Tokyo")
        await pool.close()
        let other = try database.pool("tester")
        #expect(try await other.query("SHOW application_name").one() == "test")
        #expect(try await other.query("SHOW search_path").one() == "tester")
        await other.close()
    }

    @Test func theSecondHostIsTakenWhenTheFirstIsNotThere() async throws {
        let database = try await Fixture.database()
        let server = database.server
        let pool = try Fixture.pool(
            dsn: "postgresql://tester:\(server.password)@127.0.0.1:1,127.0.0.1:\(server.port)/\(database.name)")
        try await pool.ping()
        await pool.close()
    }

    @Test func aRoleIsRefusedInAnothersSchema() async throws {
        let database = try await Fixture.database(schemas: ["tester", "stranger"])
        let owner = try database.pool("tester")
        try await owner.execute("CREATE TABLE secrets (x int)")
        let stranger = try database.pool("stranger")
        for attempt: SQL in [
            "SELECT * FROM tester.secrets", "INSERT INTO tester.secrets VALUES (1)", "DROP TABLE tester.secrets",
            "CREATE TABLE tester.mine (x int)", "CREATE TABLE public.mine (x int)",
        ] {
            let error = await #expect(throws: PostgresError.self) { try await stranger.execute(attempt) }
            #expect(error?.sqlState == "42501")
        }
        try await stranger.execute("CREATE TABLE own (x int)")
        await owner.close()
        await stranger.close()
    }
}

@Suite(.timeLimit(.minutes(1))) struct TLSTests {
    private func isEncrypted(_ options: String) async throws -> Bool {
        let database = try await Fixture.database()
        let pool = try Fixture.pool(dsn: database.dsn("tester") + "?" + options)
        let answer: Bool
        do {
            answer = try await pool.query("SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()").one()
        } catch {
            await pool.close()
            throw error
        }
        await pool.close()
        return answer
    }

    @Test func aConnectionIsEncryptedAndItsServerVerifiedWhenTheDSNAsks() async throws {
        let certificate = try await TestPostgres.shared().certificateFile
        #expect(try await isEncrypted("sslmode=verify-full&sslrootcert=\(certificate)"))
        #expect(try await isEncrypted("sslmode=require"))
        #expect(try await !isEncrypted("sslmode=disable"))
    }

    @Test func muchDataPassesThroughTLSInBothDirections() async throws {
        let database = try await Fixture.database()
        let pool = try Fixture.pool(dsn: database.dsn("tester") + "?sslmode=require")
        let bytes = (0..<3_000_000).map { UInt8(truncatingIfNeeded: $0 &* 31) }
        let returned: [UInt8] = try await pool.query("SELECT \(bytes)").one()
        #expect(returned == bytes)
        await pool.close()
    }

    @Test func aServerWithAnotherNameOrAnUnknownCertificateIsRefused() async throws {
        let database = try await Fixture.database()
        let server = database.server
        let credentials = "user=tester password=\(server.password) port=\(server.port) dbname=\(database.name)"
        // The system's authorities have not signed it.
        let unknown = try Fixture.pool(
            dsn: "host=127.0.0.1 sslmode=verify-full sslrootcert=/etc/ssl/certs/ca-certificates.crt " + credentials,
            options: PostgresOptions())
        let first = await #expect(throws: PostgresError.self) { try await unknown.ping() }
        #expect(first?.isConnectionFailure == true)
        #expect(first?.message.contains("certificate") == true)
        let renamed = try Fixture.pool(
            dsn: "host=elsewhere.example hostaddr=127.0.0.1 sslmode=verify-full "
                + "sslrootcert=\(server.certificateFile) " + credentials,
            options: PostgresOptions())
        let second = await #expect(throws: PostgresError.self) { try await renamed.ping() }
        #expect(second?.message.contains("elsewhere.example") == true)
        await unknown.close()
        await renamed.close()
    }
}
