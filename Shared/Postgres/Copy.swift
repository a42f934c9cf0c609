// Loading many rows by COPY, in binary.

/// One row of a COPY: as many values as there are columns, in their order. The types must be exactly the columns' own: a
/// COPY converts nothing.
public struct CopyRow {
    var buffer = PostgresBuffer()
    private var countOffset = 0
    private(set) var fields: Int16 = 0

    mutating func begin() {
        countOffset = buffer.count
        fields = 0
        buffer.append(Int16(0))
    }

    mutating func end() {
        buffer.overwrite(fields, at: countOffset)
    }

    public mutating func append<Value: PostgresEncodable>(_ value: Value) {
        fields &+= 1
        if value.isPostgresNull {
            buffer.append(Int32(-1))
        } else {
            let start = buffer.reserveLength()
            value.encode(into: &buffer)
            buffer.patchLength(at: start)
        }
    }
}

extension Transaction {
    /// What is encoded before it is handed to the socket: bounds the memory however many rows there are.
    private static var copyChunkBytes: Int { 256 << 10 }

    /// Loads the rows into the table by binary COPY. Rows are taken and encoded as the socket accepts them.
    ///
    ///     try await transaction.copyIn("stock", columns: ["sale_id", "units"], rows: lines) { line, row in
    ///         row.append(line.saleID)
    ///         row.append(line.units)
    ///     }
    ///
    /// - Parameter table: its name, with the schema before a dot where that is needed.
    /// - Returns: how many rows were loaded.
    /// - Throws: `22P04` when a row has not as many values as there are columns; what the server refused.
    @discardableResult
    public func copyIn<Source: Sequence>(
        _ table: String, columns: [String], rows: Source, caller: isolated (any Actor)? = #isolation,
        _ encode: (Source.Element, inout CopyRow) -> Void
    ) async throws(PostgresError) -> Int {
        try requireOpen()
        let name = table.split(separator: ".").map { SQL.quoted(identifier: String($0)) }.joined(separator: ".")
        let list = columns.map { SQL.quoted(identifier: $0) }.joined(separator: ", ")
        try await solo("COPY \(name) (\(list)) FROM STDIN (FORMAT binary)", isCopy: true)

        var row = CopyRow()
        row.buffer.append(contentsOf: Self.copySignature)
        row.buffer.append(Int32(0))  // flags
        row.buffer.append(Int32(0))  // length of the header's extension
        for element in rows {
            row.begin()
            encode(element, &row)
            row.end()
            if Int(row.fields) != columns.count {
                let error = PostgresError(
                    sqlState: PostgresError.Code.badCopy,
                    message: "a row with \(row.fields) values for \(columns.count) columns")
                _ = await endCopy(givingUp: error.message)
                throw error
            }
            if row.buffer.count >= Self.copyChunkBytes {
                try await putCopy(row.buffer.bytes)
                row.buffer.removeAll()
            }
        }
        row.buffer.append(Int16(-1))  // the trailer
        try await putCopy(row.buffer.bytes)
        return try await endCopy(givingUp: nil).get().affected
    }

    private func putCopy(_ bytes: [UInt8]) async throws(PostgresError) {
        let result: Result<Rows, PostgresError> = await pool.call { [id] pool, _, answer in
            pool.putCopy(bytes, in: id, answer)
        }
        _ = try result.get()
    }

    private func endCopy(givingUp reason: String?) async -> Result<Rows, PostgresError> {
        await pool.call { [id] pool, _, answer in pool.endCopy(givingUp: reason, in: id, answer) }
    }

    private static var copySignature: [UInt8] { Array("PGCOPY\n".utf8) + [0xff, 0x0d, 0x0a, 0x00] }
}
