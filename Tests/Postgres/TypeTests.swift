// Every type that can be a parameter comes back from the server as it went, alone and in arrays.
import Models
import Postgres
import TestSupport
import Testing

@Suite struct TypeTests {
    enum Colour: String, PostgresValue { case black, silver }
    enum State: Int16, CaseIterable, PostgresValue {
        case reserved = 1
        case waitlisted
    }

    private func roundTrip<Value: PostgresEncodable & PostgresDecodable & Equatable>(
        _ values: [Value], in pool: PostgresPool
    ) async throws {
        for value in values {
            let returned: Value = try await pool.query("SELECT \(value)").one()
            #expect(returned == value)
        }
    }

    /// The parameter as the server prints it: an encoding that is wrong both ways would survive a round trip.
    private func text(_ value: some PostgresEncodable, _ pool: PostgresPool) async throws -> String {
        try await pool.query("SELECT \(value)::text").one()
    }

    @Test func aCaseAsALiteralIsPartOfTheTextAndNoParameter() async throws {
        let statement: SQL = "SELECT \(7) WHERE \(literal: State.waitlisted) = \(literal: State.waitlisted)"
        #expect(statement.text == "SELECT $1 WHERE 2 = 2")
        let pool = try await Fixture.pool()
        #expect(try await pool.query(statement).one() == 7)
        await pool.close()
    }

    @Test func everyScalarComesBackAsItWent() async throws {
        let pool = try await Fixture.pool()
        try await roundTrip([true, false], in: pool)
        try await roundTrip([Int16.min, -1, 0, .max], in: pool)
        try await roundTrip([Int32.min, -1, 0, .max], in: pool)
        try await roundTrip([Int64.min, -1, 0, .max], in: pool)
        try await roundTrip([Int.min, -1, 0, .max], in: pool)
        try await roundTrip([0.0, -1.5, .greatestFiniteMagnitude, .leastNonzeroMagnitude, .infinity], in: pool)
        try await roundTrip(["", "a", "中文 🐎 'quoted\\\"", String(repeating: "long", count: 100_000)], in: pool)
        try await roundTrip([[UInt8](), [0], Array(0...255)], in: pool)
        try await roundTrip([AccountID(high: 0, low: 0), AccountID(high: .max, low: 1)], in: pool)
        try await roundTrip(
            [Timestamp(microseconds: 0), Timestamp(microseconds: -1), Timestamp(microseconds: 1_795_780_800_123_456)],
            in: pool)
        try await roundTrip([Colour.silver], in: pool)
        try await roundTrip([State.waitlisted], in: pool)
        try await roundTrip([Int64?.none, 5], in: pool)
        await pool.close()
    }

    @Test func everyArrayComesBackAsItWentWithItsNulls() async throws {
        let pool = try await Fixture.pool()
        try await roundTrip([[Bool](), [true, false]], in: pool)
        try await roundTrip([[Int16](), [1, -2]], in: pool)
        try await roundTrip([[Int32](), [1, -2]], in: pool)
        try await roundTrip([[Int64](), [1, -2, .max]], in: pool)
        try await roundTrip([[Int](), [1, -2, .min]], in: pool)
        try await roundTrip([[Double](), [1.25, -2]], in: pool)
        try await roundTrip([[String](), ["", "{\",\"}", "中文"]], in: pool)
        try await roundTrip([[[UInt8]](), [[], [1, 2], [0]]], in: pool)
        try await roundTrip([[AccountID](), [AccountID(high: 1, low: 2), AccountID(high: 3, low: 4)]], in: pool)
        try await roundTrip([[Timestamp](), [Timestamp(seconds: 1), Timestamp(microseconds: -7)]], in: pool)
        try await roundTrip([[State](), [.reserved, .waitlisted]], in: pool)
        try await roundTrip([[Int64?](), [1, nil, 3], [nil]], in: pool)
        try await roundTrip([[String?](), [nil, "", "x"]], in: pool)
        try await roundTrip([[AccountID?](), [nil, AccountID(high: 1, low: 2)]], in: pool)
        try await roundTrip([[[UInt8]?](), [nil, [], [9]]], in: pool)
        try await roundTrip([[Int64]?.none, [4]], in: pool)
        await pool.close()
    }

    @Test func theServerReadsTheParametersAsTheyAreMeant() async throws {
        let pool = try await Fixture.pool()
        #expect(try await text(Int64(-42), pool) == "-42")
        #expect(try await text([Int16(1), 2], pool) == "{1,2}")
        #expect(try await text([1.5, -0.25], pool) == "{1.5,-0.25}")
        #expect(try await text([true, false], pool) == "{t,f}")
        #expect(try await text(["a", nil, "b c"], pool) == "{a,NULL,\"b c\"}")
        #expect(try await text([UInt8(0xde), 0xad], pool) == "\\xdead")
        #expect(try await text([[UInt8(1)], []], pool) == "{\"\\\\x01\",\"\\\\x\"}")
        #expect(try await text(JSONText(#"{"b": 1, "a": [true]}"#), pool) == #"{"a": [true], "b": 1}"#)
        let id = try #require(AccountID("0193f0a1-0000-7000-8000-00000000002a"))
        #expect(try await text(id, pool) == "0193f0a1-0000-7000-8000-00000000002a")
        #expect(try await text([id], pool) == "{0193f0a1-0000-7000-8000-00000000002a}")
        let noon = try #require(Timestamp("2026-11-27T12:00:00.000001Z"))
        let inUTC: String = try await pool.query("SELECT (\(noon) AT TIME ZONE 'UTC')::text").one()
        #expect(inUTC == "2026-11-27 12:00:00.000001")
        let second: String = try await pool.query("SELECT ((\([noon, noon]))[2] AT TIME ZONE 'UTC')::text").one()
        #expect(second == "2026-11-27 12:00:00.000001")
        await pool.close()
    }

    @Test func integersAreReadFromEveryWidthThatFitsAndFromWholeSums() async throws {
        let pool = try await Fixture.pool()
        let rows = try await pool.query(
            """
            SELECT 7::smallint, 70000::int, 7::bigint, sum(x) FROM unnest(\([Int64.max - 10, 10])) AS x
            """)
        #expect(try rows[0].get(0, as: Int.self) == 7)
        #expect(try rows[0].get(1, as: Int64.self) == 70_000)
        #expect(try rows[0].get(2, as: Int16.self) == 7)
        #expect(try rows[0].get(3, as: Int64.self) == .max)
        for whole in ["0", "1", "10000", "-10000", "99999999", "-9223372036854775808", "120000000000"] {
            let value: Int64 = try await pool.query("SELECT \(whole)::numeric").one()
            #expect(String(value) == whole)
        }
        await #expect(throws: PostgresError.self) {
            let _: Int64 = try await pool.query("SELECT 1.5::numeric").one()
        }
        await #expect(throws: PostgresError.self) {
            let _: Int64 = try await pool.query("SELECT 9223372036854775808::numeric").one()
        }
        let tooWide = #expect(throws: PostgresError.self) { try rows[0].get(1, as: Int16.self) }
        #expect(tooWide?.sqlState == "22003")
        await pool.close()
    }

    @Test func aColumnOfAnotherTypeIsAnErrorAndNotAnotherValue() async throws {
        let pool = try await Fixture.pool()
        let rows = try await pool.query("SELECT 'text', NULL::bigint, ARRAY[1, NULL]::bigint[], ARRAY[[1],[2]]")
        let row = rows[0]
        #expect(throws: PostgresError.self) { try row.get(0, as: Int.self) }
        #expect(throws: PostgresError.self) { try row.get(0, as: AccountID.self) }
        #expect(throws: PostgresError.self) { try row.get(0, as: [String].self) }
        let null = #expect(throws: PostgresError.self) { try row.get(1, as: Int.self) }
        #expect(null?.sqlState == "22002")
        #expect(try row.get(1, as: Int?.self) == nil)
        #expect(throws: PostgresError.self) { try row.get(2, as: [Int].self) }
        #expect(try row.get(2, as: [Int?].self) == [1, nil])
        #expect(throws: PostgresError.self) { try row.get(3, as: [Int].self) }
        #expect(throws: PostgresError.self) { try row.get(4, as: Int.self) }
        #expect(throws: PostgresError.self) { try row.get(-1, as: Int.self) }
        await pool.close()
    }

    @Test func inputNeverBecomesPartOfAStatement() async throws {
        let pool = try await Fixture.pool()
        try await pool.execute("CREATE TABLE victims (name text)")
        for hostile in ["'; DROP TABLE victims; --", "$1", "\\'; SELECT 1; --", "\"", "$$", "%s", "\u{202e}"] {
            try await pool.execute("INSERT INTO victims VALUES (\(hostile))")
            let found: Int = try await pool.query("SELECT count(*) FROM victims WHERE name = \(hostile)").one()
            #expect(found == 1)
        }
        let sql: SQL = "SELECT \("'; DROP TABLE victims; --")"
        #expect(sql.text == "SELECT $1")
        let name = "odd\"name; DROP TABLE victims; --"
        try await pool.execute("CREATE TABLE \(identifier: name) (x int)")
        let tables: [String] = try await pool.query(
            "SELECT tablename FROM pg_tables WHERE schemaname = current_schema ORDER BY 1"
        ).column()
        #expect(Set(tables) == ["victims", name])
        await pool.close()
    }

    @Test func aTextThatPostgresCannotHoldIsTheSendersFault() async throws {
        let pool = try await Fixture.pool()
        let error = await #expect(throws: PostgresError.self) { try await pool.query("SELECT \("a\u{0}b")") }
        #expect(error?.isInvalidText == true)
        #expect(error?.isConnectionFailure == false)
        try await pool.ping()
        await pool.close()
    }

    @Test func anErrorSaysWhichConstraintRefusedAndNeverShowsAParameter() async throws {
        let pool = try await Fixture.pool()
        try await pool.execute("CREATE TABLE once (name text CONSTRAINT said_once UNIQUE)")
        try await pool.execute("INSERT INTO once VALUES (\("value"))")
        let error = try #require(
            await #expect(throws: PostgresError.self) {
                try await pool.execute("INSERT INTO once VALUES (\("value"))")
            })
        #expect(error.sqlState == "23505")
        #expect(error.isUniqueViolation)
        #expect(error.constraint == "said_once")
        #expect(error.statement == "INSERT INTO once VALUES ($1)")
        #expect(!error.isRetriable && !error.isUnavailable)
        await pool.close()
    }
}
