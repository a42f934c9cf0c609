// A result: rows that are read where libpq put them, without a copy.
import CLibPQ
import Foundation

/// The rows that a statement gave, or none, and how many it affected. Holds libpq's memory until the last copy is gone.
public struct Rows: Sendable, RandomAccessCollection {
    let result: ResultMemory?
    public let count: Int

    /// A statement that gave no rows: what a mock may answer.
    public static let none = Rows(result: nil)

    init(result: ResultMemory?) {
        self.result = result
        count = result?.rows ?? 0
    }

    public var startIndex: Int { 0 }
    public var endIndex: Int { count }

    public subscript(position: Int) -> Row {
        precondition(position >= 0 && position < count, "row \(position) of \(count)")
        return Row(rows: self, index: Int32(position))
    }

    /// Rows inserted, updated, deleted or selected.
    public var affected: Int { result?.affected ?? 0 }

    /// One column of every row.
    public func column<Value: PostgresDecodable>(
        _ column: Int = 0, as type: Value.Type = Value.self
    ) throws(PostgresError) -> [Value] {
        var values: [Value] = []
        values.reserveCapacity(count)
        for row in self { values.append(try row.get(column)) }
        return values
    }
}

/// One row of a result.
public struct Row: Sendable {
    let rows: Rows
    let index: Int32

    /// The value of the column with the given number, counted from 0. Throws when the column has another type, is NULL
    /// and `Value` is no `Optional`, or does not exist.
    public func get<Value: PostgresDecodable>(
        _ column: Int, as type: Value.Type = Value.self
    ) throws(PostgresError) -> Value {
        guard let result = rows.result, column >= 0, column < result.columns else {
            throw PostgresError(
                sqlState: PostgresError.Code.undefinedColumn,
                message: "column \(column) of \(rows.result?.columns ?? 0)")
        }
        let column = Int32(column)
        if PQgetisnull(result.pointer, index, column) == 1 { return try Value.decodeNull() }
        let raw = UnsafeRawBufferPointer(
            start: PQgetvalue(result.pointer, index, column), count: Int(PQgetlength(result.pointer, index, column)))
        return try Value.decode(PostgresBytes(type: PQftype(result.pointer, column), raw: raw))
    }
}

/// Owns a `PGresult`. Unchecked: libpq never changes a result after it was handed out, reading it is allowed from any
/// thread, and only `deinit` frees it.
final class ResultMemory: @unchecked Sendable {
    let pointer: OpaquePointer
    let rows: Int
    let columns: Int

    init(_ pointer: OpaquePointer) {
        self.pointer = pointer
        rows = Int(PQntuples(pointer))
        columns = Int(PQnfields(pointer))
    }

    deinit { PQclear(pointer) }

    var affected: Int {
        guard let text = PQcmdTuples(pointer) else { return 0 }
        return Int(atol(text))
    }

    /// `COMMIT`, `INSERT 0 3`, …
    var commandTag: String { PQcmdStatus(pointer).map { String(cString: $0) } ?? "" }

    /// What the server or libpq said, where the result is an error.
    func error(statement: String?) -> PostgresError {
        func field(_ code: Int32) -> String? {
            PQresultErrorField(pointer, code).map { String(cString: $0) }
        }
        let whole = PQresultErrorMessage(pointer).map { String(cString: $0) } ?? ""
        return PostgresError(
            sqlState: field(Self.diagnosticSQLState) ?? PostgresError.Code.connectionFailure,
            message: field(Self.diagnosticMessage) ?? oneLine(whole),
            detail: field(Self.diagnosticDetail) ?? field(Self.diagnosticHint),
            constraint: field(Self.diagnosticConstraint),
            statement: statement)
    }

    // PG_DIAG_… of postgres_ext.h: macros of character constants, which Swift does not import.
    private static let diagnosticSQLState = Int32(UInt8(ascii: "C"))
    private static let diagnosticMessage = Int32(UInt8(ascii: "M"))
    private static let diagnosticDetail = Int32(UInt8(ascii: "D"))
    private static let diagnosticHint = Int32(UInt8(ascii: "H"))
    private static let diagnosticConstraint = Int32(UInt8(ascii: "n"))
}
