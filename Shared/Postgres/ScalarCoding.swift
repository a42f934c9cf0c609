// The binary formats of the types that columns are made of.

extension Bool: PostgresValue {
    public static var postgresType: PostgresType { .bool }
    public func encode(into buffer: inout PostgresBuffer) { buffer.append(UInt8(self ? 1 : 0)) }
    public static func encodeArray(_ values: [Bool], into buffer: inout PostgresBuffer) {
        buffer.appendArray(elementType: postgresType.oid, count: values.count, width: 1) { index, target in
            target.storeBytes(of: values[index] ? 1 : 0, as: UInt8.self)
        }
    }
    public static func decode(_ value: PostgresBytes) throws(PostgresError) -> Bool {
        try value.expect(.bool, width: 1, as: "bool")
        return value.raw[0] != 0
    }
}

extension Int16: PostgresValue {
    public static var postgresType: PostgresType { .int2 }
    public func encode(into buffer: inout PostgresBuffer) { buffer.append(self) }
    public static func encodeArray(_ values: [Int16], into buffer: inout PostgresBuffer) {
        buffer.appendArray(elementType: postgresType.oid, count: values.count, width: 2) { index, target in
            target.storeBytes(of: values[index].bigEndian, as: Int16.self)
        }
    }
    public static func decode(_ value: PostgresBytes) throws(PostgresError) -> Int16 { try integer(from: value) }
}

extension Int32: PostgresValue {
    public static var postgresType: PostgresType { .int4 }
    public func encode(into buffer: inout PostgresBuffer) { buffer.append(self) }
    public static func encodeArray(_ values: [Int32], into buffer: inout PostgresBuffer) {
        buffer.appendArray(elementType: postgresType.oid, count: values.count, width: 4) { index, target in
            target.storeBytes(of: values[index].bigEndian, as: Int32.self)
        }
    }
    public static func decode(_ value: PostgresBytes) throws(PostgresError) -> Int32 { try integer(from: value) }
}

extension Int64: PostgresValue {
    public static var postgresType: PostgresType { .int8 }
    public func encode(into buffer: inout PostgresBuffer) { buffer.append(self) }
    public static func encodeArray(_ values: [Int64], into buffer: inout PostgresBuffer) {
        buffer.appendArray(elementType: postgresType.oid, count: values.count, width: 8) { index, target in
            target.storeBytes(of: values[index].bigEndian, as: Int64.self)
        }
    }
    public static func decode(_ value: PostgresBytes) throws(PostgresError) -> Int64 { try integer(from: value) }
}

extension Int: PostgresValue {
    public static var postgresType: PostgresType { .int8 }
    public func encode(into buffer: inout PostgresBuffer) { buffer.append(Int64(self)) }
    public static func encodeArray(_ values: [Int], into buffer: inout PostgresBuffer) {
        buffer.appendArray(elementType: postgresType.oid, count: values.count, width: 8) { index, target in
            target.storeBytes(of: Int64(values[index]).bigEndian, as: Int64.self)
        }
    }
    public static func decode(_ value: PostgresBytes) throws(PostgresError) -> Int { try integer(from: value) }
}

extension FixedWidthInteger {
    /// Any integer column that fits, and a `numeric` that is whole (what `sum` of a bigint gives).
    fileprivate static func integer(from value: PostgresBytes) throws(PostgresError) -> Self {
        let wide: Int64? =
            switch (value.type, value.count) {
            case (PostgresType.int8.oid, 8): value.load(Int64.self)
            case (PostgresType.int4.oid, 4): Int64(value.load(Int32.self))
            case (PostgresType.int2.oid, 2): Int64(value.load(Int16.self))
            case (PostgresType.numeric.oid, 8...): wholeNumeric(value)
            default: nil
            }
        guard let wide else { throw value.mismatch(expected: "an integer") }
        guard let narrow = Self(exactly: wide) else {
            throw PostgresError(
                sqlState: "22003", message: "\(wide) does not fit into \(Self.self)")
        }
        return narrow
    }

    /// `numeric` is digits to the base of 10,000: a count, the weight of the first, a sign, a display scale.
    private static func wholeNumeric(_ value: PostgresBytes) -> Int64? {
        let count = Int(value.load(Int16.self))
        let weight = Int(value.load(Int16.self, at: 2))
        let sign = value.load(UInt16.self, at: 4)
        guard sign == 0 || sign == 0x4000, count >= 0, value.count == 8 + 2 * count else { return nil }
        if count == 0 { return 0 }
        guard weight >= 0, weight < 5, count <= weight + 1 else { return nil }
        var result: Int64 = 0
        for index in 0...weight {
            let digit = index < count ? Int64(value.load(Int16.self, at: 8 + 2 * index)) : 0
            let (product, overflowed) = result.multipliedReportingOverflow(by: 10_000)
            // Built below zero, where there is room for the smallest number as well.
            let (next, overflowedToo) = product.subtractingReportingOverflow(digit)
            if overflowed || overflowedToo { return nil }
            result = next
        }
        if sign == 0x4000 { return result }
        return result == .min ? nil : -result
    }
}

extension Double: PostgresValue {
    public static var postgresType: PostgresType { .float8 }
    public func encode(into buffer: inout PostgresBuffer) { buffer.append(bitPattern) }
    public static func encodeArray(_ values: [Double], into buffer: inout PostgresBuffer) {
        buffer.appendArray(elementType: postgresType.oid, count: values.count, width: 8) { index, target in
            target.storeBytes(of: values[index].bitPattern.bigEndian, as: UInt64.self)
        }
    }
    public static func decode(_ value: PostgresBytes) throws(PostgresError) -> Double {
        switch (value.type, value.count) {
        case (PostgresType.float8.oid, 8): Double(bitPattern: value.load(UInt64.self))
        case (PostgresType.float4.oid, 4): Double(Float(bitPattern: value.load(UInt32.self)))
        default: throw value.mismatch(expected: "a floating-point number")
        }
    }
}

extension String: PostgresValue {
    public static var postgresType: PostgresType { .text }
    public func encode(into buffer: inout PostgresBuffer) { buffer.append(self) }
    public static func decode(_ value: PostgresBytes) throws(PostgresError) -> String {
        switch value.type {
        // text, varchar, bpchar, name, unknown, json, xml; and enums, which are numbered beyond the built-in types.
        case 25, 1043, 1042, 19, 705, 114, 142, 16384...: value.string
        case PostgresType.jsonb.oid: try JSONText.decode(value).string
        default: throw value.mismatch(expected: "a text")
        }
    }
}

/// JSON as text, for `jsonb` columns. Reads `json` as well.
public struct JSONText: PostgresValue, Hashable {
    public let bytes: [UInt8]

    public init(_ bytes: [UInt8]) { self.bytes = bytes }
    public init(_ string: String) { bytes = Array(string.utf8) }

    public var string: String { String(decoding: bytes, as: UTF8.self) }

    public static var postgresType: PostgresType { .jsonb }
    public func encode(into buffer: inout PostgresBuffer) {
        buffer.append(UInt8(1))  // the version of the binary format
        buffer.append(contentsOf: bytes)
    }
    public static func decode(_ value: PostgresBytes) throws(PostgresError) -> JSONText {
        if value.type == PostgresType.json.oid { return JSONText(value.bytes) }
        guard value.type == PostgresType.jsonb.oid, value.count > 0, value.raw[0] == 1 else {
            throw value.mismatch(expected: "jsonb")
        }
        return JSONText([UInt8](value.raw.dropFirst()))
    }
}

extension PostgresEncodable where Self: RawRepresentable, RawValue: PostgresEncodable {
    public static var postgresType: PostgresType { RawValue.postgresType }
    public var isPostgresNull: Bool { rawValue.isPostgresNull }
    public func encode(into buffer: inout PostgresBuffer) { rawValue.encode(into: &buffer) }
}

extension PostgresDecodable where Self: RawRepresentable, RawValue: PostgresDecodable {
    public static func decode(_ value: PostgresBytes) throws(PostgresError) -> Self {
        let raw = try RawValue.decode(value)
        guard let value = Self(rawValue: raw) else {
            throw PostgresError(
                sqlState: PostgresError.Code.datatypeMismatch, message: "\(raw) is none of the values of \(Self.self)")
        }
        return value
    }
}
