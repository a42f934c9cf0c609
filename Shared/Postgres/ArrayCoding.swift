// One-dimensional arrays, with and without nulls; an array of bytes is a `bytea`.

extension Array: PostgresEncodable where Element: PostgresArrayEncodable {
    public static var postgresType: PostgresType { Element.postgresArrayType }
    public func encode(into buffer: inout PostgresBuffer) { Element.encodeArray(self, into: &buffer) }
}

extension Array: PostgresDecodable where Element: PostgresArrayDecodable {
    public static func decode(_ value: PostgresBytes) throws(PostgresError) -> [Element] {
        try Element.decodeArray(value)
    }
}

extension PostgresArrayEncodable where Self: PostgresEncodable {
    public static var postgresArrayType: PostgresType { PostgresType(oid: postgresType.arrayOID, arrayOID: 0) }

    public static func encodeArray(_ values: [Self], into buffer: inout PostgresBuffer) {
        let flag = buffer.count + 4
        buffer.appendArrayHeader(elementType: postgresType.oid, count: values.count, hasNulls: false)
        for value in values {
            if value.isPostgresNull {
                buffer.overwrite(Int32(1), at: flag)
                buffer.append(Int32(-1))
            } else {
                let start = buffer.reserveLength()
                value.encode(into: &buffer)
                buffer.patchLength(at: start)
            }
        }
    }
}

extension PostgresArrayDecodable where Self: PostgresDecodable {
    public static func decodeArray(_ value: PostgresBytes) throws(PostgresError) -> [Self] {
        guard value.count >= 12 else { throw value.mismatch(expected: "an array") }
        let dimensions = value.load(Int32.self)
        if dimensions == 0 { return [] }
        guard dimensions == 1, value.count >= 20 else { throw value.mismatch(expected: "an array of one dimension") }
        let elementType = value.load(UInt32.self, at: 8)
        let count = Int(value.load(Int32.self, at: 12))
        // Each element takes four bytes at least, so a count that lies cannot make this allocate more than it was sent.
        guard count >= 0, count <= value.count / 4 else { throw value.mismatch(expected: "an array") }
        var elements: [Self] = []
        elements.reserveCapacity(count)
        var position = 20
        for _ in 0..<count {
            guard position + 4 <= value.count else { throw value.mismatch(expected: "an array") }
            let length = Int(value.load(Int32.self, at: position))
            position += 4
            if length < 0 {
                elements.append(try decodeNull())
            } else {
                guard position + length <= value.count else { throw value.mismatch(expected: "an array") }
                let raw = UnsafeRawBufferPointer(rebasing: value.raw[position..<position + length])
                elements.append(try decode(PostgresBytes(type: elementType, raw: raw)))
                position += length
            }
        }
        return elements
    }
}

extension Optional: PostgresEncodable where Wrapped: PostgresEncodable {
    public static var postgresType: PostgresType { Wrapped.postgresType }
    public var isPostgresNull: Bool { self?.isPostgresNull ?? true }
    public func encode(into buffer: inout PostgresBuffer) { self?.encode(into: &buffer) }
}

extension Optional: PostgresDecodable where Wrapped: PostgresDecodable {
    public static func decode(_ value: PostgresBytes) throws(PostgresError) -> Wrapped? { try Wrapped.decode(value) }
    public static func decodeNull() throws(PostgresError) -> Wrapped? { nil }
}

extension Optional: PostgresArrayEncodable where Wrapped: PostgresArrayEncodable & PostgresEncodable {}
extension Optional: PostgresArrayDecodable where Wrapped: PostgresArrayDecodable & PostgresDecodable {}

extension UInt8: PostgresArrayEncodable, PostgresArrayDecodable {
    public static var postgresArrayType: PostgresType { .bytea }
    public static func encodeArray(_ values: [UInt8], into buffer: inout PostgresBuffer) {
        buffer.append(contentsOf: values)
    }
    public static func decodeArray(_ value: PostgresBytes) throws(PostgresError) -> [UInt8] {
        try value.expect(.bytea, as: "bytea")
        return value.bytes
    }
}

/// `[[UInt8]]` is a `bytea[]`.
extension Array: PostgresArrayEncodable where Element == UInt8 {}
extension Array: PostgresArrayDecodable where Element == UInt8 {}
