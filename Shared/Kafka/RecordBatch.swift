// Records on their way to Kafka, packed into one buffer, so that a batch of any size is one allocation. The packed form
// is kept in outbox rows: it never changes without a new version byte.
//
// A record, integers little-endian:
//
//      0  u32  length of what follows this field
//      4  u8   version, 1
//      5  u8   1: has a key, 2: has a value
//      6  u16  number of headers
//      8  i32  partition; -1: chosen by the key
//     12  u32  length of the topic's name
//     16  u32  length of the key
//     20  u32  length of the value
//     24       topic, NUL, key, value
//              per header: u32 length of the name, u32 length of the value, name, NUL, value
//
// Names are followed by a NUL because librdkafka takes them as C strings: sending copies nothing but the record itself.
import Glibc

/// Records to send, in order. Appending allocates only when the buffer grows; sending reads the buffer in place.
public struct RecordBatch: Sendable, Equatable {
    /// The packed form. Stable: an outbox row may hold it across releases.
    public private(set) var bytes: [UInt8]
    public private(set) var count: Int

    static let version: UInt8 = 1
    static let prefixBytes = 24
    /// What Kafka allows.
    static let topicBytesMax = 249
    public static let headersMax = 1_000

    public init() {
        bytes = []
        count = 0
    }

    public var isEmpty: Bool { count == 0 }

    public mutating func reserveCapacity(bytes: Int) { self.bytes.reserveCapacity(bytes) }

    /// Keeps the buffer for the next batch.
    public mutating func removeAll() {
        bytes.removeAll(keepingCapacity: true)
        count = 0
    }

    /// Reads a packed form, from an outbox row for example. Every length is checked, so that sending need not.
    public init(bytes: [UInt8]) throws(KafkaError) {
        var count = 0
        var broken: (at: Int, why: String)?
        bytes.withUnsafeBytes { all in
            var cursor = Cursor(all)
            while cursor.position < all.count {
                let start = cursor.position
                if let why = cursor.check() {
                    broken = (start, why)
                    return
                }
                count += 1
            }
        }
        if let broken {
            throw .invalid("packed records are broken at byte \(broken.at) of \(bytes.count): \(broken.why)")
        }
        self.bytes = bytes
        self.count = count
    }

    /// - Parameters:
    ///   - key: chooses the partition (murmur2, as Java's client does); nil: any.
    ///   - value: nil: a tombstone.
    ///   - headers: at most `headersMax`.
    public mutating func append(
        topic: String, key: [UInt8]?, value: [UInt8]?, headers: [(String, [UInt8])] = [], partition: Int32? = nil
    ) {
        precondition(headers.count <= Self.headersMax, "a record has at most \(Self.headersMax) headers")
        withOptionalBytes(key) { key in
            withOptionalBytes(value) { value in
                append(topic: topic, key: key, value: value, partition: partition) { writer in
                    for (name, value) in headers { writer.add(name, value) }
                }
            }
        }
    }

    /// The same without an array for the headers: `headers` adds them one by one.
    public mutating func append(
        topic: String, key: UnsafeRawBufferPointer?, value: UnsafeRawBufferPointer?, partition: Int32? = nil,
        headers: (inout HeaderWriter) -> Void
    ) {
        let start = bytes.count
        var topic = topic
        topic.withUTF8 { name in
            append(UInt32(0))
            bytes.append(Self.version)
            bytes.append((key == nil ? 0 : 1) | (value == nil ? 0 : 2))
            append(UInt16(0))
            append(partition ?? -1)
            append(UInt32(name.count))
            append(UInt32(key?.count ?? 0))
            append(UInt32(value?.count ?? 0))
            bytes.append(contentsOf: name)
            bytes.append(0)
        }
        if let key { bytes.append(contentsOf: key) }
        if let value { bytes.append(contentsOf: value) }
        var writer = HeaderWriter(bytes: bytes)
        bytes = []  // leaves the writer the only owner, so that it appends in place
        headers(&writer)
        swap(&bytes, &writer.bytes)
        put(UInt32(bytes.count - start - 4), at: start)
        put(writer.count, at: start + 6)
        count += 1
    }

    /// The same for bytes in arrays.
    public mutating func append(
        topic: String, key: [UInt8]?, value: [UInt8]?, partition: Int32? = nil,
        addingHeaders headers: (inout HeaderWriter) -> Void
    ) {
        withOptionalBytes(key) { key in
            withOptionalBytes(value) { value in
                append(topic: topic, key: key, value: value, partition: partition, headers: headers)
            }
        }
    }

    /// How much of a consumed record is passed on.
    public struct CopyBounds: Sendable {
        public let keyBytesMax: Int
        public let valueBytesMax: Int
        public let headersMax: Int
        /// Names and values together.
        public let headerBytesMax: Int

        public init(keyBytesMax: Int, valueBytesMax: Int, headersMax: Int, headerBytesMax: Int) {
            self.keyBytesMax = keyBytesMax
            self.valueBytesMax = valueBytesMax
            self.headersMax = headersMax
            self.headerBytesMax = headerBytesMax
        }
    }

    /// Passes a consumed record on: the beginnings of key and value and the first headers, as far as the bounds go, and
    /// then `adding`, which is told what did not fit: nothing, or a text that names it.
    public mutating func append(
        copyOf record: ConsumedRecord, topic: String, within bounds: CopyBounds,
        adding: (_ cut: String?) -> [(String, [UInt8])]
    ) {
        let (key, value) = (record.key?.bytes, record.value?.bytes)
        append(
            topic: topic, key: key.map { UnsafeRawBufferPointer(rebasing: $0.prefix(bounds.keyBytesMax)) },
            value: value.map { UnsafeRawBufferPointer(rebasing: $0.prefix(bounds.valueBytesMax)) }
        ) { writer in
            var (kept, all, bytes) = (0, 0, 0)
            record.forEachHeader { name, value in
                all += 1
                bytes += name.count + (value?.count ?? 0)
                guard kept < bounds.headersMax, bytes <= bounds.headerBytesMax else { return }
                kept += 1
                writer.add(name, value ?? UnsafeRawBufferPointer(start: nil, count: 0))
            }
            var cut: [String] = []
            if let key, key.count > bounds.keyBytesMax {
                cut.append("the first \(bounds.keyBytesMax) of \(key.count) bytes of the key")
            }
            if let value, value.count > bounds.valueBytesMax {
                cut.append("the first \(bounds.valueBytesMax) of \(value.count) bytes of the value")
            }
            if kept < all { cut.append("\(kept) of \(all) headers") }
            for (name, value) in adding(cut.isEmpty ? nil : cut.joined(separator: ", ")) { writer.add(name, value) }
        }
        withExtendedLifetime(record) {}
    }

    public mutating func append(contentsOf other: RecordBatch) {
        bytes.append(contentsOf: other.bytes)
        count += other.count
    }

    /// Appends a packed record, and lets its copy be changed.
    mutating func append(packed record: [UInt8], _ change: (UnsafeMutableRawBufferPointer) -> Void) {
        let start = bytes.count
        record.withUnsafeBufferPointer { bytes.append(contentsOf: $0) }
        bytes.withUnsafeMutableBytes { change(UnsafeMutableRawBufferPointer(rebasing: $0[start...])) }
        count += 1
    }

    private mutating func append<T: FixedWidthInteger>(_ value: T) {
        Swift.withUnsafeBytes(of: value.littleEndian) { bytes.append(contentsOf: $0) }
    }

    private mutating func put<T: FixedWidthInteger>(_ value: T, at position: Int) {
        bytes.withUnsafeMutableBytes { $0.storeBytes(of: value.littleEndian, toByteOffset: position, as: T.self) }
    }
}

/// Adds headers to the record that is being appended. Headers past `RecordBatch.headersMax` are left out.
public struct HeaderWriter {
    var bytes: [UInt8]
    var count: UInt16 = 0

    init(bytes: consuming [UInt8]) { self.bytes = bytes }

    @inlinable
    public mutating func add(_ name: StaticString, _ value: some Collection<UInt8>) {
        let name = UnsafeRawBufferPointer(start: name.utf8Start, count: name.utf8CodeUnitCount)
        let isDone: Void? = value.withContiguousStorageIfAvailable { add(name, UnsafeRawBufferPointer($0)) }
        if isDone == nil { Array(value).withUnsafeBytes { add(name, $0) } }
    }

    @inlinable
    public mutating func add(_ name: String, _ value: some Collection<UInt8>) {
        var name = name
        name.withUTF8 { name in
            let name = UnsafeRawBufferPointer(name)
            let isDone: Void? = value.withContiguousStorageIfAvailable { add(name, UnsafeRawBufferPointer($0)) }
            if isDone == nil { Array(value).withUnsafeBytes { add(name, $0) } }
        }
    }

    /// Headers that were packed before; all of them or, past `RecordBatch.headersMax`, none.
    public mutating func add(_ packed: PackedHeaders) {
        guard count + packed.count <= RecordBatch.headersMax else { return }
        bytes.append(contentsOf: packed.bytes)
        count += packed.count
    }

    /// Not generic, so that it is compiled once, here.
    @usableFromInline
    mutating func add(_ name: UnsafeRawBufferPointer, _ value: UnsafeRawBufferPointer) {
        guard count < RecordBatch.headersMax else { return }
        // As a C string, a name ends at its first NUL.
        let name = UnsafeRawBufferPointer(rebasing: name.prefix { $0 != 0 })
        withUnsafeBytes(of: (UInt32(name.count).littleEndian, UInt32(value.count).littleEndian)) {
            bytes.append(contentsOf: $0)
        }
        bytes.append(contentsOf: name)
        bytes.append(0)
        bytes.append(contentsOf: value)
        count += 1
    }
}

/// Headers that many records have in common, packed once.
public struct PackedHeaders: Sendable {
    let bytes: [UInt8]
    let count: UInt16

    public init(_ headers: (inout HeaderWriter) -> Void) {
        var writer = HeaderWriter(bytes: [])
        headers(&writer)
        bytes = writer.bytes
        count = writer.count
    }
}

// MARK: - Reading

extension RecordBatch {
    /// One record, taken apart and copied: for tests, tools and diagnostics. Sending does not go through it.
    public struct Record: Sendable, Equatable {
        public let topic: String
        public let key: [UInt8]?
        public let value: [UInt8]?
        public let headers: [Header]
        public let partition: Int32?
    }

    public var records: [Record] {
        var records: [Record] = []
        records.reserveCapacity(count)
        bytes.withUnsafeBytes { all in
            var cursor = Cursor(all)
            for _ in 0..<count {
                let record = cursor.next()
                var headers: [Header] = []
                var rest = record.headers
                for _ in 0..<record.headerCount {
                    let header = Cursor.header(&rest)
                    headers.append(Header(name: String(cString: header.name), value: Array(header.value)))
                }
                records.append(
                    Record(
                        topic: String(cString: record.topic), key: record.key.map { Array($0) },
                        value: record.value.map { Array($0) }, headers: headers,
                        partition: record.partition < 0 ? nil : record.partition))
            }
        }
        return records
    }

    /// How many records carry each value of a header. Those without it are not counted.
    public func counts(ofHeader name: String) -> [String: Int] {
        var counts: [String: Int] = [:]
        var last: (value: [UInt8], text: String)?
        bytes.withUnsafeBytes { all in
            var cursor = Cursor(all)
            for _ in 0..<count {
                let record = cursor.next()
                var rest = record.headers
                for _ in 0..<record.headerCount {
                    let header = Cursor.header(&rest)
                    guard strcmp(header.name, name) == 0 else { continue }
                    if last?.value.elementsEqual(header.value) != true {
                        last = (Array(header.value), String(decoding: header.value, as: UTF8.self))
                    }
                    if let last { counts[last.text, default: 0] += 1 }
                    break
                }
            }
        }
        return counts
    }

    /// What a record counts against `KafkaProducer.recordBytesMax`: what it takes on the wire at the most.
    /// - Parameter headers: the bytes of all names and values.
    public static func recordBytes(key: Int, value: Int, headers: Int, headerCount: Int) -> Int {
        // Lengths, attributes, offset and time; of a header two lengths.
        36 + key + value + headers + 10 * headerCount
    }

    /// The places, in the order of appending, of the records that count more than `bytesMax`.
    public func recordsLarger(than bytesMax: Int) -> [Int] {
        // A record counts 10 bytes and one a header more than it takes here, at the most.
        guard bytes.count > bytesMax - 10 - Self.headersMax else { return [] }
        return bytes.withUnsafeBytes { all in
            var cursor = Cursor(all)
            return (0..<count).filter { _ in
                let record = cursor.next()
                let end = all.baseAddress.unsafelyUnwrapped + cursor.position
                // Names and values, and of each header two lengths and a NUL.
                let packed = end - record.headers
                let counted = Self.recordBytes(
                    key: record.key?.count ?? 0, value: record.value?.count ?? 0,
                    headers: packed - 9 * record.headerCount, headerCount: record.headerCount)
                return counted > bytesMax
            }
        }
    }

    /// A record where it lies in the buffer.
    struct Packed {
        let topic: UnsafePointer<CChar>
        let topicBytes: Int
        let partition: Int32
        let key: UnsafeRawBufferPointer?
        let value: UnsafeRawBufferPointer?
        let headerCount: Int
        let headers: UnsafeRawPointer
    }

    /// Walks over packed records. `check` trusts nothing; `next` trusts what `check` or `append` has made sure of.
    struct Cursor {
        private let all: UnsafeRawBufferPointer
        private(set) var position = 0

        init(_ all: UnsafeRawBufferPointer, at position: Int = 0) {
            self.all = all
            self.position = position
        }

        mutating func next() -> Packed {
            let start = all.baseAddress.unsafelyUnwrapped + position
            let flags = start.load(fromByteOffset: 5, as: UInt8.self)
            let topicBytes = Int(Self.u32(start + 12))
            let keyBytes = Int(Self.u32(start + 16))
            let valueBytes = Int(Self.u32(start + 20))
            let topic = start + prefixBytes
            let key = topic + topicBytes + 1
            let value = key + keyBytes
            position += 4 + Int(Self.u32(start))
            return Packed(
                topic: topic.assumingMemoryBound(to: CChar.self), topicBytes: topicBytes,
                partition: Int32(bitPattern: Self.u32(start + 8)),
                key: flags & 1 == 0 ? nil : UnsafeRawBufferPointer(start: key, count: keyBytes),
                value: flags & 2 == 0 ? nil : UnsafeRawBufferPointer(start: value, count: valueBytes),
                headerCount: Int(UInt16(littleEndian: start.loadUnaligned(fromByteOffset: 6, as: UInt16.self))),
                headers: value + valueBytes)
        }

        @inline(__always)
        static func header(
            _ cursor: inout UnsafeRawPointer
        ) -> (name: UnsafePointer<CChar>, value: UnsafeRawBufferPointer) {
            let nameBytes = Int(u32(cursor))
            let valueBytes = Int(u32(cursor + 4))
            let name = cursor + 8
            let value = name + nameBytes + 1
            cursor = value + valueBytes
            return (
                name.assumingMemoryBound(to: CChar.self), UnsafeRawBufferPointer(start: value, count: valueBytes)
            )
        }

        @inline(__always)
        private static func u32(_ at: UnsafeRawPointer) -> UInt32 {
            UInt32(littleEndian: at.loadUnaligned(as: UInt32.self))
        }

        /// Steps over one record, or says why it is not one.
        mutating func check() -> String? {
            let left = all.count - position
            guard left >= prefixBytes, let start = all.baseAddress.map({ $0 + position }) else {
                return "\(left) bytes left, a record has at least \(prefixBytes)"
            }
            let end = 4 + Int(Self.u32(start))
            guard end <= left else { return "its length \(end) is past the end" }
            guard start.load(fromByteOffset: 4, as: UInt8.self) == version else {
                return "its version is not \(version)"
            }
            let flags = start.load(fromByteOffset: 5, as: UInt8.self)
            guard flags & ~3 == 0 else { return "its flags \(flags) are unknown" }
            let headerCount = Int(UInt16(littleEndian: start.loadUnaligned(fromByteOffset: 6, as: UInt16.self)))
            guard headerCount <= headersMax else { return "it has \(headerCount) headers" }
            guard Int32(bitPattern: Self.u32(start + 8)) >= -1 else { return "its partition is negative" }
            let topicBytes = Int(Self.u32(start + 12))
            let keyBytes = Int(Self.u32(start + 16))
            let valueBytes = Int(Self.u32(start + 20))
            guard (1...topicBytesMax).contains(topicBytes) else { return "its topic's name has \(topicBytes) bytes" }
            guard flags & 1 != 0 || keyBytes == 0, flags & 2 != 0 || valueBytes == 0 else {
                return "it has a length for what it has not"
            }
            var at = prefixBytes + topicBytes + 1 + keyBytes + valueBytes
            guard at <= end else { return "its parts are longer than itself" }
            guard Self.isCString(start + prefixBytes, topicBytes) else { return "its topic is not a name" }
            for _ in 0..<headerCount {
                guard at + 8 <= end else { return "a header is cut off" }
                let nameBytes = Int(Self.u32(start + at))
                let valueBytes = Int(Self.u32(start + at + 4))
                guard at + 8 + nameBytes + 1 + valueBytes <= end else { return "a header is cut off" }
                guard Self.isCString(start + at + 8, nameBytes) else { return "a header's name is not a name" }
                at += 8 + nameBytes + 1 + valueBytes
            }
            guard at == end else { return "\(end - at) bytes follow its last header" }
            position += end
            return nil
        }

        private static func isCString(_ start: UnsafeRawPointer, _ count: Int) -> Bool {
            let text = UnsafeRawBufferPointer(start: start, count: count + 1)
            return text[count] == 0 && !text.prefix(count).contains(0)
        }
    }
}

private func withOptionalBytes<R>(_ bytes: [UInt8]?, _ body: (UnsafeRawBufferPointer?) -> R) -> R {
    guard let bytes else { return body(nil) }
    return bytes.withUnsafeBytes { body($0) }
}
