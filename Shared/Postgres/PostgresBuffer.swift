// Bytes in Postgres's binary format: where values are encoded to, and what they are decoded from.

/// A growing buffer that values are encoded into: integers in network order, texts as UTF-8.
public struct PostgresBuffer: Sendable {
    public private(set) var bytes: [UInt8]

    public init(bytes: [UInt8] = []) { self.bytes = bytes }

    public var count: Int { bytes.count }

    mutating func removeAll() { bytes.removeAll(keepingCapacity: true) }
    mutating func reserve(_ count: Int) { bytes.reserveCapacity(count) }

    public mutating func append(_ byte: UInt8) { bytes.append(byte) }

    public mutating func append<Value: FixedWidthInteger>(_ integer: Value) {
        withUnsafeBytes(of: integer.bigEndian) { bytes.append(contentsOf: $0) }
    }

    public mutating func append(_ text: String) {
        var text = text
        text.withUTF8 { bytes.append(contentsOf: $0) }
    }

    public mutating func append(contentsOf more: some Collection<UInt8>) { bytes.append(contentsOf: more) }

    /// Room for a length that is known only when what follows it is written; give the result to `patchLength`.
    mutating func reserveLength() -> Int {
        append(Int32(0))
        return bytes.count
    }

    /// Writes into the four bytes before `start` how many bytes were appended since.
    mutating func patchLength(at start: Int) {
        overwrite(Int32(truncatingIfNeeded: bytes.count - start), at: start - 4)
    }

    mutating func overwrite<Value: FixedWidthInteger>(_ value: Value, at offset: Int) {
        bytes.withUnsafeMutableBytes { $0.storeBytes(of: value.bigEndian, toByteOffset: offset, as: Value.self) }
    }

    /// The header of a one-dimensional array whose elements follow, each with its length before it.
    mutating func appendArrayHeader(elementType: UInt32, count: Int, hasNulls: Bool) {
        append(Int32(count == 0 ? 0 : 1))  // dimensions
        append(Int32(hasNulls ? 1 : 0))
        append(elementType)
        guard count > 0 else { return }
        append(Int32(truncatingIfNeeded: count))
        append(Int32(1))  // the first index
    }

    /// A whole array of elements that all have `width` bytes, without a call for each: the buffer grows once, and `fill`
    /// writes the element with the given index to the given address.
    @inline(__always)
    mutating func appendArray(
        elementType: UInt32, count: Int, width: Int, _ fill: (Int, UnsafeMutableRawPointer) -> Void
    ) {
        appendArrayHeader(elementType: elementType, count: count, hasNulls: false)
        let start = bytes.count
        bytes.append(contentsOf: repeatElement(0, count: count * (4 + width)))
        bytes.withUnsafeMutableBytes { raw in
            guard var target = raw.baseAddress.map({ $0 + start }) else { return }
            let length = UInt32(width).bigEndian
            for index in 0..<count {
                target.storeBytes(of: length, as: UInt32.self)
                fill(index, target + 4)
                target += 4 + width
            }
        }
    }
}

/// One value of a result, valid only while it is being decoded.
public struct PostgresBytes {
    /// The type's number in `pg_type`.
    public let type: UInt32
    let raw: UnsafeRawBufferPointer

    public var count: Int { raw.count }
    public var bytes: [UInt8] { [UInt8](raw) }
    public var string: String { String(decoding: raw, as: UTF8.self) }

    /// The integer in network order at `offset`; the caller has checked that it is there.
    func load<Value: FixedWidthInteger>(_ type: Value.Type = Value.self, at offset: Int = 0) -> Value {
        Value(bigEndian: raw.loadUnaligned(fromByteOffset: offset, as: Value.self))
    }

    func expect(_ expected: PostgresType..., width: Int? = nil, as name: StaticString) throws(PostgresError) {
        if expected.contains(where: { $0.oid == type }), width == nil || raw.count == width { return }
        throw mismatch(expected: name)
    }

    func mismatch(expected: StaticString) -> PostgresError {
        PostgresError(
            sqlState: PostgresError.Code.datatypeMismatch,
            message: "expected \(expected), the column has type \(type) (\(count) bytes)")
    }
}
