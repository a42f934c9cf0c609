// Numbers of Postgres's built-in types, and what a Swift type does to travel as one of them.

/// A type's number in `pg_type`, and that of the array of it (0 where there is none: arrays of arrays).
public struct PostgresType: Sendable, Equatable {
    public let oid: UInt32
    public let arrayOID: UInt32

    public init(oid: UInt32, arrayOID: UInt32) {
        self.oid = oid
        self.arrayOID = arrayOID
    }

    public static let bool = PostgresType(oid: 16, arrayOID: 1000)
    public static let bytea = PostgresType(oid: 17, arrayOID: 1001)
    public static let int8 = PostgresType(oid: 20, arrayOID: 1016)
    public static let int2 = PostgresType(oid: 21, arrayOID: 1005)
    public static let int4 = PostgresType(oid: 23, arrayOID: 1007)
    public static let text = PostgresType(oid: 25, arrayOID: 1009)
    public static let json = PostgresType(oid: 114, arrayOID: 199)
    public static let float4 = PostgresType(oid: 700, arrayOID: 1021)
    public static let float8 = PostgresType(oid: 701, arrayOID: 1022)
    public static let timestamptz = PostgresType(oid: 1184, arrayOID: 1185)
    public static let numeric = PostgresType(oid: 1700, arrayOID: 1231)
    public static let uuid = PostgresType(oid: 2950, arrayOID: 2951)
    public static let jsonb = PostgresType(oid: 3802, arrayOID: 3807)
}

/// A value that can be a parameter.
public protocol PostgresEncodable: Sendable {
    /// What the parameter is declared as; the server converts from there where the language allows it.
    static var postgresType: PostgresType { get }
    /// NULL is sent instead of the value. False unless it is an `Optional`.
    var isPostgresNull: Bool { get }
    /// Appends the value in the type's binary format, without a length before it.
    func encode(into buffer: inout PostgresBuffer)
}

extension PostgresEncodable {
    public var isPostgresNull: Bool { false }
}

/// A value that a column can be read as.
public protocol PostgresDecodable: Sendable {
    static func decode(_ value: PostgresBytes) throws(PostgresError) -> Self
    /// What NULL is. An error unless it is an `Optional`.
    static func decodeNull() throws(PostgresError) -> Self
}

extension PostgresDecodable {
    public static func decodeNull() throws(PostgresError) -> Self {
        throw PostgresError(
            sqlState: PostgresError.Code.unexpectedNull, message: "expected \(Self.self), the column is NULL")
    }
}

/// A type whose arrays can be parameters. The element decides how, so that `[UInt8]` is a `bytea` and `[Int64]` is
/// written without a call for each element.
public protocol PostgresArrayEncodable: Sendable {
    static var postgresArrayType: PostgresType { get }
    static func encodeArray(_ values: [Self], into buffer: inout PostgresBuffer)
}

/// A type whose arrays a column can be read as.
public protocol PostgresArrayDecodable: Sendable {
    static func decodeArray(_ value: PostgresBytes) throws(PostgresError) -> [Self]
}

/// What most types are: parameter and column, alone and in arrays. A `RawRepresentable` over such a type has it all for
/// the asking: `enum State: Int16, PostgresValue`.
public typealias PostgresValue =
    PostgresArrayDecodable & PostgresArrayEncodable & PostgresDecodable & PostgresEncodable
