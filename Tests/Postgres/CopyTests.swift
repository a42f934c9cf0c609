// COPY: many rows at once, and what happens when some of them are wrong.
import Models
import Postgres
import TestSupport
import Testing

@Suite(.timeLimit(.minutes(1))) struct CopyTests {
    private func table(_ pool: PostgresPool) async throws {
        try await pool.execute("CREATE TABLE stock (id uuid, units bigint PRIMARY KEY CHECK (units >= 0), note text)")
    }

    @Test func everyRowArrivesAsItWasWithItsNulls() async throws {
        let pool = try await Fixture.pool(connectionsMax: 1)
        try await table(pool)
        let loaded = try await pool.transaction { transaction in
            try await transaction.copyIn("tester.stock", columns: ["id", "units", "note"], rows: 0..<50_000) {
                index, row in
                row.append(AccountID(high: 1, low: UInt64(index)))
                row.append(Int64(index))
                row.append(index % 3 == 0 ? nil : "note \(index)")
            }
        }
        #expect(loaded == 50_000)
        let rows = try await pool.query(
            """
            SELECT count(*), sum(units), count(note), min(id), bool_and(note = 'note ' || units) FROM
            (SELECT units, note, id::text AS id FROM stock) AS stock
            """)
        #expect(try rows[0].get(0) == 50_000)
        #expect(try rows[0].get(1) == 50_000 * 49_999 / 2)
        #expect(try rows[0].get(2) == 50_000 - 16_667)
        #expect(try rows[0].get(3) == AccountID(high: 1, low: 0).description)
        #expect(try rows[0].get(4) == true)
        await pool.close()
    }

    @Test func statementsBeforeAndAfterBelongToTheSameTransaction() async throws {
        let pool = try await Fixture.pool(connectionsMax: 1)
        try await table(pool)
        try await pool.transaction { transaction in
            try await transaction.execute("INSERT INTO stock (units) VALUES (100)")
            try await transaction.copyIn("stock", columns: ["units"], rows: [Int64(1), 2]) { $1.append($0) }
            #expect(try await transaction.query("SELECT units FROM stock ORDER BY 1").column() == [1, 2, 100])
            transaction.finish("DELETE FROM stock WHERE units = 100")
        }
        #expect(try await pool.query("SELECT units FROM stock ORDER BY 1").column() == [1, 2])
        await pool.close()
    }

    @Test func aRowWithTheWrongNumberOfValuesLoadsNothing() async throws {
        let pool = try await Fixture.pool(connectionsMax: 1)
        try await table(pool)
        let error = await #expect(throws: PostgresError.self) {
            try await pool.transaction { transaction in
                try await transaction.copyIn("stock", columns: ["units"], rows: [1, 2]) { value, row in
                    row.append(Int64(value))
                    if value == 2 { row.append("more") }
                }
            }
        }
        #expect(error?.sqlState == "22P04" || error?.sqlState == "57014")
        #expect(try await pool.query("SELECT FROM stock").isEmpty)
        await pool.close()
    }

    @Test func aRowThatTheTableRefusesLoadsNothing() async throws {
        let pool = try await Fixture.pool(connectionsMax: 1)
        try await table(pool)
        let error = await #expect(throws: PostgresError.self) {
            try await pool.transaction { transaction in
                try await transaction.copyIn("stock", columns: ["units"], rows: -10_000...100_000) {
                    $1.append(Int64($0))
                }
            }
        }
        #expect(error?.sqlState == "23514")
        #expect(try await pool.query("SELECT FROM stock").isEmpty)
        let unknown = await #expect(throws: PostgresError.self) {
            try await pool.transaction { transaction in
                try await transaction.copyIn("stock", columns: ["un\"its"], rows: [1]) { $1.append(Int64($0)) }
            }
        }
        #expect(unknown?.sqlState == "42703")
        await pool.close()
    }
}
