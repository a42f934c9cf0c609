// Stampede's own types in columns: an identifier is a `uuid`, a timestamp is a `timestamptz`, a choice and a currency are
// `text`. A text that is none of the choices is an error: a default would say what nobody wrote.
import Models

extension Identifier: PostgresEncodable, PostgresDecodable, PostgresArrayEncodable, PostgresArrayDecodable {
    public static var postgresType: PostgresType { .uuid }

    public func encode(into buffer: inout PostgresBuffer) {
        buffer.append(high)
        buffer.append(low)
    }

    public static func encodeArray(_ values: [Identifier], into buffer: inout PostgresBuffer) {
        buffer.appendArray(elementType: postgresType.oid, count: values.count, width: 16) { index, target in
            target.storeBytes(of: values[index].high.bigEndian, as: UInt64.self)
            target.storeBytes(of: values[index].low.bigEndian, toByteOffset: 8, as: UInt64.self)
        }
    }

    public static func decode(_ value: PostgresBytes) throws(PostgresError) -> Identifier {
        try value.expect(.uuid, width: 16, as: "uuid")
        return Identifier(high: value.load(UInt64.self), low: value.load(UInt64.self, at: 8))
    }
}

extension Timestamp: PostgresValue {
    /// Postgres counts microseconds from 2000-01-01T00:00:00Z.
    private static let microsecondsFrom1970To2000: Int64 = 946_684_800_000_000

    private var sincePostgresEpoch: Int64 { microseconds &- Self.microsecondsFrom1970To2000 }

    public static var postgresType: PostgresType { .timestamptz }

    public func encode(into buffer: inout PostgresBuffer) { buffer.append(sincePostgresEpoch) }

    public static func encodeArray(_ values: [Timestamp], into buffer: inout PostgresBuffer) {
        buffer.appendArray(elementType: postgresType.oid, count: values.count, width: 8) { index, target in
            target.storeBytes(of: values[index].sincePostgresEpoch.bigEndian, as: Int64.self)
        }
    }

    public static func decode(_ value: PostgresBytes) throws(PostgresError) -> Timestamp {
        try value.expect(.timestamptz, width: 8, as: "timestamptz")
        let (microseconds, overflowed) = value.load(Int64.self)
            .addingReportingOverflow(microsecondsFrom1970To2000)
        guard !overflowed else { throw value.mismatch(expected: "a finite timestamptz") }
        return Timestamp(microseconds: microseconds)
    }
}

extension Currency: PostgresValue {
    public static var postgresType: PostgresType { .text }
    public func encode(into buffer: inout PostgresBuffer) { buffer.append(code) }
    public static func decode(_ value: PostgresBytes) throws(PostgresError) -> Currency {
        let text = try String.decode(value)
        guard let currency = Currency(stored: text) else { throw unknown(text, "a currency") }
        return currency
    }
}

extension PublisherName: PostgresValue {
    public static var postgresType: PostgresType { .text }
    public func encode(into buffer: inout PostgresBuffer) { buffer.append(text) }
    public static func decode(_ value: PostgresBytes) throws(PostgresError) -> PublisherName {
        let text = try String.decode(value)
        guard let publisher = PublisherName(text) else { throw unknown(text, "a publisher") }
        return publisher
    }
}

private func unknown(_ text: String, _ expected: String) -> PostgresError {
    PostgresError(
        sqlState: PostgresError.Code.datatypeMismatch, message: "expected \(expected), the column has \(text)")
}
