// A statement and its parameters, kept apart: values never become part of the text.

/// A statement. What is interpolated is bound as `$1`, `$2`, … in binary:
///
///     let rows = try await pool.query("SELECT title FROM sales WHERE sale_id = \(id) AND state = ANY(\(states))")
///
/// The text can only come from literals in the source (they are `StaticString`s), so no input can become SQL. The text
/// together with the parameters' types is the key of the prepared-statement cache: interpolate values, and there is one
/// entry for each place in the source. At most 65,535 parameters; sets belong in arrays, one parameter each.
public struct SQL: ExpressibleByStringInterpolation, Sendable {
    public let text: String
    @usableFromInline let parameters: PostgresParameters

    public init(stringLiteral value: StaticString) {
        text = value.description
        parameters = PostgresParameters()
    }

    public init(stringInterpolation: StringInterpolation) {
        text = stringInterpolation.text
        parameters = stringInterpolation.parameters
    }

    public struct StringInterpolation: StringInterpolationProtocol {
        @usableFromInline var text = ""
        @usableFromInline var parameters = PostgresParameters()

        public init(literalCapacity: Int, interpolationCount: Int) {
            text.reserveCapacity(literalCapacity + 4 * interpolationCount)
            parameters.reserve(interpolationCount)
        }

        public mutating func appendLiteral(_ literal: StaticString) {
            literal.withUTF8Buffer { text += String(decoding: $0, as: UTF8.self) }
        }

        @inlinable
        public mutating func appendInterpolation<Value: PostgresEncodable>(_ value: Value) {
            parameters.append(value)
            text += "$"
            text += String(parameters.count)
        }

        /// A value that may be NULL. The label tells the compiler, which warns of optionals in interpolations, that this
        /// is meant.
        @inlinable
        public mutating func appendInterpolation<Value: PostgresEncodable>(optional value: Value?) {
            appendInterpolation(value)
        }

        /// The columns' names, as they stand in the source.
        public mutating func appendInterpolation<Value>(_ columns: Columns<Value>) {
            text += columns.list
        }

        /// The number of a case that is stored as a number, as it would stand in the source: a partial index serves only a
        /// statement that has its condition.
        public mutating func appendInterpolation<Case: CaseIterable & RawRepresentable<Int16>>(literal value: Case) {
            text += String(value.rawValue)
        }

        /// A name of a table, a column or a schema, quoted. For names that the source does not know, such as a schema's.
        public mutating func appendInterpolation(identifier: String) {
            text += SQL.quoted(identifier: identifier)
        }
    }

    /// `"name"`, with quotes inside doubled.
    static func quoted(identifier: String) -> String {
        "\""
            + identifier.filter { $0 != "\0" }.split(separator: "\"", omittingEmptySubsequences: false)
            .joined(separator: "\"\"") + "\""
    }
}

/// The values of a statement, encoded one after the other into one buffer.
@usableFromInline
struct PostgresParameters: Sendable {
    /// Starts with a byte that is no value, so that an empty value has an address too: libpq takes a null one for NULL.
    @usableFromInline var buffer = PostgresBuffer(bytes: [0])
    @usableFromInline var ranges: [Range] = []
    @usableFromInline var types: [UInt32] = []

    /// Where a value lies in the buffer; a negative count is NULL.
    @usableFromInline
    struct Range: Sendable {
        @usableFromInline var offset: Int
        @usableFromInline var count: Int

        @usableFromInline
        init(offset: Int, count: Int) {
            self.offset = offset
            self.count = count
        }
    }

    @usableFromInline
    init() {}

    @usableFromInline var count: Int { ranges.count }

    mutating func reserve(_ count: Int) {
        ranges.reserveCapacity(count)
        types.reserveCapacity(count)
    }

    @inlinable
    mutating func append<Value: PostgresEncodable>(_ value: Value) {
        let offset = buffer.count
        if value.isPostgresNull {
            ranges.append(Range(offset: offset, count: -1))
        } else {
            value.encode(into: &buffer)
            ranges.append(Range(offset: offset, count: buffer.count - offset))
        }
        types.append(Value.postgresType.oid)
    }
}
