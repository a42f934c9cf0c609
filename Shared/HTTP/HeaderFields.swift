// Header fields in one buffer: a request's are copied once from the library's memory and looked up in place.

/// Header fields in order. Names compare without case; a name may occur more than once.
public struct HeaderFields: Sendable, Sequence, ExpressibleByDictionaryLiteral {
    private var bytes: [UInt8] = []
    private var ends: [(name: Int32, value: Int32)] = []

    public init() {}

    public init(dictionaryLiteral elements: (String, String)...) {
        for (name, value) in elements { append(name, value) }
    }

    public init(_ fields: some Sequence<(String, String)>) {
        for (name, value) in fields { append(name, value) }
    }

    public var count: Int { ends.count }
    public var isEmpty: Bool { ends.isEmpty }

    public mutating func append(_ name: String, _ value: String) {
        bytes.append(contentsOf: name.utf8)
        let nameEnd = Int32(bytes.count)
        bytes.append(contentsOf: value.utf8)
        ends.append((nameEnd, Int32(bytes.count)))
    }

    mutating func append(name: UnsafeRawBufferPointer, value: UnsafeRawBufferPointer) {
        bytes.append(contentsOf: name)
        let nameEnd = Int32(bytes.count)
        bytes.append(contentsOf: value)
        ends.append((nameEnd, Int32(bytes.count)))
    }

    mutating func reserveCapacity(fields: Int, bytes: Int) {
        ends.reserveCapacity(fields)
        self.bytes.reserveCapacity(bytes)
    }

    /// The first value of that name.
    public subscript(_ name: String) -> String? {
        var start = 0
        for end in ends {
            let nameEnd = Int(end.name)
            if nameEnd - start == name.utf8.count, matches(name, at: start) {
                return String(decoding: bytes[nameEnd..<Int(end.value)], as: UTF8.self)
            }
            start = Int(end.value)
        }
        return nil
    }

    /// Every value of that name, in order.
    public func values(_ name: String) -> [String] {
        filter { $0.0.utf8.count == name.utf8.count && Self.equal($0.0.utf8, name.utf8) }.map(\.1)
    }

    public func makeIterator() -> AnyIterator<(String, String)> {
        var index = 0
        var start = 0
        return AnyIterator {
            guard index < ends.count else { return nil }
            let end = ends[index]
            defer {
                index += 1
                start = Int(end.value)
            }
            return (
                String(decoding: bytes[start..<Int(end.name)], as: UTF8.self),
                String(decoding: bytes[Int(end.name)..<Int(end.value)], as: UTF8.self)
            )
        }
    }

    private func matches(_ name: String, at start: Int) -> Bool {
        var index = start
        for byte in name.utf8 {
            if Self.lowercase(bytes[index]) != Self.lowercase(byte) { return false }
            index += 1
        }
        return true
    }

    static func equal(_ a: some Sequence<UInt8>, _ b: some Sequence<UInt8>) -> Bool {
        a.elementsEqual(b) { lowercase($0) == lowercase($1) }
    }

    @inline(__always)
    static func lowercase(_ byte: UInt8) -> UInt8 { byte &- 65 < 26 ? byte | 0x20 : byte }
}
