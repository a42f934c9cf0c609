// Transactions: what is kept, what is not, and how often the wire is crossed.
import Observability
import Postgres
import TestSupport
import Testing

@Suite(.timeLimit(.minutes(1))) struct TransactionTests {
    private struct Refusal: Error {}

    private func table(_ pool: PostgresPool) async throws {
        try await pool.execute("CREATE TABLE marks (mark int PRIMARY KEY)")
    }

    private func marks(_ pool: PostgresPool) async throws -> [Int] {
        try await pool.query("SELECT mark FROM marks ORDER BY 1").column()
    }

    @Test func whatTheBodyDidIsKeptAndItsResultReturned() async throws {
        let pool = try await Fixture.pool()
        try await table(pool)
        let result = try await pool.transaction { transaction in
            try await transaction.execute("INSERT INTO marks VALUES (1)")
            return try await transaction.execute("INSERT INTO marks VALUES (2), (3)")
        }
        #expect(result == 2)
        #expect(try await marks(pool) == [1, 2, 3])
        await pool.close()
    }

    @Test func aBodyThatThrowsChangesNothingAndItsErrorComesOut() async throws {
        let pool = try await Fixture.pool(connectionsMax: 1)
        try await table(pool)
        await #expect(throws: Refusal.self) {
            try await pool.transaction { transaction in
                try await transaction.execute("INSERT INTO marks VALUES (1)")
                throw Refusal()
            }
        }
        #expect(try await marks(pool).isEmpty)
        await pool.close()
    }

    @Test func aStatementThatFailedIsNeverCommittedEvenWhenTheBodyDidNotMind() async throws {
        let pool = try await Fixture.pool(connectionsMax: 1)
        try await table(pool)
        let error = await #expect(throws: PostgresError.self) {
            try await pool.transaction { transaction in
                try await transaction.execute("INSERT INTO marks VALUES (1)")
                _ = try? await transaction.execute("INSERT INTO marks VALUES (1)")
                let follower = await Fixture.failure { try await transaction.execute("INSERT INTO marks VALUES (2)") }
                #expect(follower?.sqlState == "25P02")
            }
        }
        #expect(error?.isUniqueViolation == true)
        #expect(try await marks(pool).isEmpty)
        await pool.close()
    }

    @Test func beginAndCommitTravelWithTheirNeighbours() async throws {
        let metrics = Metrics()
        let pool = try await Fixture.pool(connectionsMax: 1, metrics: metrics)
        try await table(pool)
        func roundTrips() -> Int {
            let line = metrics.render().split(separator: "\n").first {
                $0.hasPrefix("postgres_round_trip_seconds_count")
            }
            return line.flatMap { $0.split(separator: " ").last }.flatMap { Int($0) } ?? -1
        }
        var before = roundTrips()
        try await pool.transaction { transaction in
            _ = try await transaction.query("SELECT 1")
            transaction.finish(["INSERT INTO marks VALUES (1)", "INSERT INTO marks VALUES (2)"])
        }
        #expect(roundTrips() - before == 2)
        before = roundTrips()
        try await pool.transaction { $0.finish("INSERT INTO marks VALUES (3)") }
        #expect(roundTrips() - before == 1)
        before = roundTrips()
        try await pool.transaction { _ in }
        #expect(roundTrips() - before == 0)
        before = roundTrips()
        try await pool.transaction { transaction in
            let rows = try await transaction.pipeline(["SELECT 1", "SELECT 2 UNION SELECT 3 ORDER BY 1"])
            #expect(try rows[0].column() == [1])
            #expect(try rows[1].column() == [2, 3])
        }
        #expect(roundTrips() - before == 2)
        #expect(try await marks(pool) == [1, 2, 3])
        await pool.close()
    }

    @Test func anErrorInWhatFinishesRollsEverythingBack() async throws {
        let pool = try await Fixture.pool(connectionsMax: 1)
        try await table(pool)
        let error = await #expect(throws: PostgresError.self) {
            try await pool.transaction { transaction in
                try await transaction.execute("INSERT INTO marks VALUES (1)")
                transaction.finish(["INSERT INTO marks VALUES (2)", "INSERT INTO marks VALUES (1)"])
            }
        }
        #expect(error?.isUniqueViolation == true)
        #expect(try await marks(pool).isEmpty)
        await pool.close()
    }

    @Test func aConstraintThatRefusesTheCommitItselfIsAnError() async throws {
        let pool = try await Fixture.pool(connectionsMax: 1)
        try await pool.execute("CREATE TABLE late (mark int UNIQUE DEFERRABLE INITIALLY DEFERRED)")
        let error = await #expect(throws: PostgresError.self) {
            try await pool.transaction { try await $0.execute("INSERT INTO late VALUES (1), (1)") }
        }
        #expect(error?.isUniqueViolation == true)
        #expect(try await pool.query("SELECT FROM late").isEmpty)
        await pool.close()
    }

    @Test func aPipelineInWhichOneStatementFailsKeepsNothingAndNamesIt() async throws {
        let pool = try await Fixture.pool(connectionsMax: 1)
        try await table(pool)
        let error = await #expect(throws: PostgresError.self) {
            try await pool.transaction { transaction in
                _ = try await transaction.pipeline([
                    "INSERT INTO marks VALUES (1)", "INSERT INTO nowhere VALUES (2)", "INSERT INTO marks VALUES (3)",
                ])
            }
        }
        #expect(error?.sqlState == "42P01")
        #expect(error?.statement == "INSERT INTO nowhere VALUES (2)")
        // What was skipped was not prepared, and the connection knows.
        try await pool.transaction { try await $0.execute("INSERT INTO marks VALUES (3)") }
        #expect(try await marks(pool) == [3])
        await pool.close()
    }

    @Test func statementsSentWithoutAwaitingOneAnotherRunInTheirOrder() async throws {
        let pool = try await Fixture.pool(connectionsMax: 1)
        try await table(pool)
        try await pool.transaction { transaction in
            async let first = transaction.query("SELECT count(*) FROM marks")
            async let second = transaction.query("SELECT count(*) FROM marks")
            let counts = [try await first.one(Int.self), try await second.one(Int.self)]
            #expect(counts == [0, 0])
            try await transaction.execute("INSERT INTO marks VALUES (1)")
        }
        #expect(try await marks(pool) == [1])
        await pool.close()
    }

    @Test func aTransactionThatHasEndedTakesNothingMore() async throws {
        let pool = try await Fixture.pool(connectionsMax: 1)
        try await table(pool)
        let escaped = try await pool.transaction { transaction in
            try await transaction.execute("INSERT INTO marks VALUES (1)")
            return transaction
        }
        let error = await #expect(throws: PostgresError.self) {
            try await escaped.execute("INSERT INTO marks VALUES (2)")
        }
        #expect(error?.sqlState == "25P01")
        #expect(try await marks(pool) == [1])
        await pool.close()
    }

    @Test func theLoserOfASerializableRaceMayTryAgain() async throws {
        let pool = try await Fixture.pool(connectionsMax: 2)
        try await table(pool)
        let error = await #expect(throws: PostgresError.self) {
            try await pool.transaction(.serializable) { one in
                _ = try await one.query("SELECT count(*) FROM marks")
                try await pool.transaction(.serializable) { other in
                    _ = try await other.query("SELECT count(*) FROM marks")
                    try await other.execute("INSERT INTO marks VALUES (1)")
                }
                try await one.execute("INSERT INTO marks VALUES (2)")
            }
        }
        #expect(error?.sqlState == "40001")
        #expect(error?.isRetriable == true)
        await pool.close()
    }

    @Test func aCancelledBodyIsRolledBack() async throws {
        let pool = try await Fixture.pool(connectionsMax: 1)
        try await table(pool)
        let (inserted, cancelled) = (Gate(), Gate())
        let task = Task {
            try await pool.transaction { transaction in
                try await transaction.execute("INSERT INTO marks VALUES (1)")
                inserted.open()
                await cancelled.pass()
                try await transaction.execute("INSERT INTO marks VALUES (2)")
            }
        }
        await inserted.pass()
        task.cancel()
        cancelled.open()
        let result = await task.result
        let error = #expect(throws: PostgresError.self) { try result.get() }
        #expect(error?.sqlState == "57014")
        #expect(try await marks(pool).isEmpty)
        await pool.close()
    }

    @Test func muchInBothDirectionsAtOnceDoesNotStall() async throws {
        let pool = try await Fixture.pool(connectionsMax: 1)
        let megabyte = [UInt8](repeating: 7, count: 1 << 20)
        let rows = try await pool.transaction { transaction in
            try await transaction.pipeline((0..<32).map { _ in "SELECT \(megabyte)" })
        }
        #expect(rows.count == 32)
        for answer in rows { #expect(try answer.one([UInt8].self) == megabyte) }
        await pool.close()
    }
}
