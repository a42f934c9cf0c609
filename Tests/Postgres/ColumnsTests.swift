// What the columns of a row make.
import Postgres
import TestSupport
import Testing

@Suite struct ColumnsTests {
    private struct Point: Equatable, Sendable {
        let x: Int32
        let label: String?
    }

    private static let pointRow = Columns("x", "label") { (x: Int32, label: String?) in Point(x: x, label: label) }

    private func withPool(_ body: (PostgresPool) async throws -> Void) async throws {
        let pool = try await Fixture.pool()
        try await body(pool)
        await pool.close()
    }

    @Test func columnsAreNamedOnceAndMakeTheValueOfEachRow() async throws {
        try await withPool { pool in
            let rows = try await pool.query(
                "SELECT \(Self.pointRow) FROM (VALUES (1, 'a'), (2, NULL)) AS p (x, label) ORDER BY x")
            #expect(try Self.pointRow.all(rows) == [Point(x: 1, label: "a"), Point(x: 2, label: nil)])
            #expect(try Self.pointRow.first(rows) == Point(x: 1, label: "a"))
        }
    }

    @Test func whatAnOuterJoinDoesNotFindIsNilAndColumnsBehindItAreReadAllTheSame() async throws {
        let row = Self.pointRow.of("p").and(Self.pointRow.of("q").optional).and("n", as: Int64.self)
        try await withPool { pool in
            let rows = try await pool.query(
                """
                SELECT \(row) FROM (VALUES (1, 'a', 7::bigint), (2, 'b', 8)) AS p (x, label, n)
                    LEFT JOIN (VALUES (2, NULL::text)) AS q (x, label) ON q.x = p.x
                ORDER BY p.x
                """)
            let found = try row.all(rows)
            #expect(found.map(\.0.0) == [Point(x: 1, label: "a"), Point(x: 2, label: "b")])
            #expect(found.map(\.0.1) == [nil, Point(x: 2, label: nil)])
            #expect(found.map(\.1) == [7, 8])
        }
    }

    @Test func aColumnThatIsMissingIsNoNull() async throws {
        try await withPool { pool in
            let rows = try await pool.query("SELECT 1")
            let row = Columns("x") { (x: Int32) in x }.and(Self.pointRow.optional)
            #expect(throws: PostgresError.self) { try row.first(rows) }
        }
    }
}
