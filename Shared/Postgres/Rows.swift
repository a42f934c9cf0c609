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

    /// A column that does not exist is none: reading it says so.
    func isNull(_ column: Int) -> Bool {
        guard let result = rows.result, column >= 0, column < result.columns else { return false }
        return PQgetisnull(result.pointer, index, Int32(column)) == 1
    }
}

/// Owns a `PGresult`.
///
/// `@unchecked Sendable`: libpq never changes a result after it was handed out, reading it is allowed from any thread, and
/// only `deinit` frees it.
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
    func error(statement: String?) -> PostgresError { PostgresError(result: pointer, statement: statement) }

    /// The session has ended with it.
    var isFatal: Bool { PostgresError.isFatal(pointer) }
}

extension PostgresError {
    init(result: OpaquePointer, statement: String?) {
        let whole = PQresultErrorMessage(result).map { String(cString: $0) } ?? ""
        self.init(
            sqlState: Self.field(Self.diagnosticSQLState, of: result) ?? PostgresError.Code.connectionFailure,
            message: Self.field(Self.diagnosticMessage, of: result) ?? oneLine(whole),
            detail: Self.field(Self.diagnosticDetail, of: result) ?? Self.field(Self.diagnosticHint, of: result),
            constraint: Self.field(Self.diagnosticConstraint, of: result),
            statement: statement)
    }

    /// Whether the server ended the session by this, or libpq did: its own errors have no severity.
    static func isFatal(_ result: OpaquePointer) -> Bool {
        switch field(diagnosticSeverity, of: result) {
        case "FATAL", "PANIC", nil: true
        default: false
        }
    }

    private static func field(_ code: Int32, of result: OpaquePointer) -> String? {
        PQresultErrorField(result, code).map { String(cString: $0) }
    }

    // PG_DIAG_… of postgres_ext.h: macros of character constants, which Swift does not import.
    private static let diagnosticSeverity = Int32(UInt8(ascii: "V"))
    private static let diagnosticSQLState = Int32(UInt8(ascii: "C"))
    private static let diagnosticMessage = Int32(UInt8(ascii: "M"))
    private static let diagnosticDetail = Int32(UInt8(ascii: "D"))
    private static let diagnosticHint = Int32(UInt8(ascii: "H"))
    private static let diagnosticConstraint = Int32(UInt8(ascii: "n"))
}
