// Records as they came from Kafka. Librdkafka keeps each in an object of its own with headers of eight allocations: some
// 1.6 KB for an order. A batch copies what counts into one buffer and gives the objects back at once, while they are
// still in the processor's cache: that takes a third of the memory and less time.
import CRdKafka

#if canImport(Glibc)
    import Glibc
#else
    import Foundation
#endif

/// A name and its value, beside a record's key and value.
public struct Header: Sendable, Hashable {
    public let name: String
    public let value: [UInt8]

    public init(name: String, value: [UInt8]) {
        self.name = name
        self.value = value
    }
}

/// Whose clock a record's time is from.
public enum TimestampType: Sendable {
    /// The publisher's.
    case createTime
    /// The broker's: nobody can claim another.
    case logAppendTime
    case notAvailable
}

/// Consecutive records of one partition, in log order. They share one buffer, which is freed when the batch and every
/// `ByteView` taken from it are gone.
public struct ConsumedBatch: RandomAccessCollection, Sendable {
    let storage: RecordStorage

    public var topic: String { storage.place.topic }
    public var partition: Int32 { storage.place.partition }

    public var startIndex: Int { 0 }
    public var endIndex: Int { storage.count }

    public subscript(index: Int) -> ConsumedRecord {
        precondition(index >= 0 && index < storage.count, "a record of the batch")
        return ConsumedRecord(index: index, storage: storage)
    }

    /// The first record's offset; -1 in an empty batch.
    public var firstOffset: Int64 { first?.offset ?? -1 }

    /// Where to go on after this batch: the last record's offset and one. Offsets may have gaps (compaction), so this
    /// is not `firstOffset + count`. -1 in an empty batch.
    public var nextOffset: Int64 { last.map { $0.offset + 1 } ?? -1 }

    static func empty(_ partition: TopicPartition) -> ConsumedBatch {
        ConsumedBatch(storage: RecordStorage(of: partition))
    }
}

/// One record of a `ConsumedBatch`: where it lies in the batch's buffer. Copying one costs the batch's reference.
public struct ConsumedRecord: Sendable {
    let index: Int
    let storage: RecordStorage

    public var topic: String { storage.place.topic }
    public var partition: Int32 { storage.place.partition }
    public var offset: Int64 { storage.entry(index).offset }

    /// Milliseconds since 1970; -1 when the broker has none.
    public var timestamp: Int64 { storage.entry(index).timestamp }

    public var timestampType: TimestampType { storage.entry(index).timestampType }

    public var key: ByteView? {
        let entry = storage.entry(index)
        return entry.keyBytes < 0 ? nil : storage.view(at: entry.start, entry.keyBytes)
    }

    /// Nil: a tombstone.
    public var value: ByteView? {
        let entry = storage.entry(index)
        return entry.valueBytes < 0 ? nil : storage.view(at: entry.start + max(0, entry.keyBytes), entry.valueBytes)
    }

    /// Key, value and headers without a reference for each: valid during the call only.
    public func withContents<Result, E: Error>(
        _ body: (RecordContents) throws(E) -> Result
    ) throws(E) -> Result {
        defer { withExtendedLifetime(storage) {} }
        return try body(RecordContents(storage.entry(index), in: storage.start))
    }

    /// The last header of that name; nil when there is none or its value is null.
    public func header(_ name: StaticString) -> ByteView? {
        header(UnsafeRawBufferPointer(start: name.utf8Start, count: name.utf8CodeUnitCount))
    }

    public func header(named name: String) -> ByteView? {
        var name = name
        return name.withUTF8 { header(UnsafeRawBufferPointer($0)) }
    }

    /// Why its batch could not be unpacked: it stands for the whole of it, at its last offset, without key, value and
    /// headers. Nil for every other record.
    public var unreadable: String? { storage.unreadable }

    /// Every header in order, copied. A null value is an empty one.
    public var headers: [Header] {
        var headers: [Header] = []
        forEachHeader { name, value in
            headers.append(Header(name: String(decoding: name, as: UTF8.self), value: value.map { Array($0) } ?? []))
        }
        return headers
    }

    private func header(_ wanted: UnsafeRawBufferPointer) -> ByteView? {
        withContents { contents in contents.header(wanted).map { ByteView($0, ownedBy: storage) } }
    }

    /// The buffers are valid during the call only, or while `storage` lives.
    @inline(__always)
    func forEachHeader(_ body: (_ name: UnsafeRawBufferPointer, _ value: UnsafeRawBufferPointer?) -> Void) {
        withContents { $0.forEachHeader(body) }
    }
}

/// A record's bytes where they lie in the batch's buffer.
public struct RecordContents {
    private let start: UnsafeRawPointer
    private let keyBytes: Int
    private let valueBytes: Int
    private let headerCount: Int

    init(_ entry: RecordStorage.Entry, in buffer: UnsafeRawPointer) {
        start = buffer + entry.start
        (keyBytes, valueBytes, headerCount) = (entry.keyBytes, entry.valueBytes, entry.headerCount)
    }

    public var key: ByteRun? {
        keyBytes < 0 ? nil : ByteRun(UnsafeRawBufferPointer(start: start, count: keyBytes))
    }

    /// Nil: a tombstone.
    public var value: ByteRun? {
        valueBytes < 0
            ? nil : ByteRun(UnsafeRawBufferPointer(start: start + max(0, keyBytes), count: valueBytes))
    }

    /// The last header of that name; nil when there is none or its value is null.
    public func header(_ name: StaticString) -> ByteRun? {
        header(Self.bytes(name)).map { ByteRun($0) }
    }

    /// The same for four names in one pass.
    public func headers(
        _ first: StaticString, _ second: StaticString, _ third: StaticString, _ fourth: StaticString
    ) -> (ByteRun?, ByteRun?, ByteRun?, ByteRun?) {
        let names = (Self.bytes(first), Self.bytes(second), Self.bytes(third), Self.bytes(fourth))
        var found: (ByteRun?, ByteRun?, ByteRun?, ByteRun?)
        forEachHeader { name, value in
            if Self.equal(name, names.0) {
                found.0 = value.map { ByteRun($0) }
            } else if Self.equal(name, names.1) {
                found.1 = value.map { ByteRun($0) }
            } else if Self.equal(name, names.2) {
                found.2 = value.map { ByteRun($0) }
            } else if Self.equal(name, names.3) {
                found.3 = value.map { ByteRun($0) }
            }
        }
        return found
    }

    func header(_ wanted: UnsafeRawBufferPointer) -> UnsafeRawBufferPointer? {
        var found: UnsafeRawBufferPointer?
        forEachHeader { name, value in
            if Self.equal(name, wanted) { found = value }
        }
        return found
    }

    @inline(__always)
    func forEachHeader(_ body: (_ name: UnsafeRawBufferPointer, _ value: UnsafeRawBufferPointer?) -> Void) {
        var at = start + max(0, keyBytes) + max(0, valueBytes)
        for _ in 0..<headerCount {
            let nameBytes = Int(at.loadUnaligned(as: Int32.self))
            let valueBytes = Int(at.loadUnaligned(fromByteOffset: 4, as: Int32.self))
            let name = UnsafeRawBufferPointer(start: at + 8, count: nameBytes)
            at += 8 + nameBytes
            body(name, valueBytes < 0 ? nil : UnsafeRawBufferPointer(start: at, count: valueBytes))
            at += max(0, valueBytes)
        }
    }

    @inline(__always)
    private static func bytes(_ name: StaticString) -> UnsafeRawBufferPointer {
        UnsafeRawBufferPointer(start: name.utf8Start, count: name.utf8CodeUnitCount)
    }

    @inline(__always)
    private static func equal(_ name: UnsafeRawBufferPointer, _ wanted: UnsafeRawBufferPointer) -> Bool {
        guard name.count == wanted.count, let one = name.baseAddress, let other = wanted.baseAddress else {
            return false
        }
        return memcmp(one, other, name.count) == 0
    }
}

/// The records of a batch in one buffer: key, value, and for each header two lengths, name and value.
///
/// `@unchecked Sendable`: filled by the one who makes it, never changed once it is in a batch.
final class RecordStorage: @unchecked Sendable {
    struct Entry {
        let offset: Int64
        let timestamp: Int64
        /// Where the key starts; the value and the headers follow it.
        let start: Int
        /// -1: null
        let keyBytes: Int
        let valueBytes: Int
        let headerCount: Int
        let timestampType: TimestampType
    }

    typealias Message = UnsafeMutablePointer<rd_kafka_message_t>

    /// A signed order has 540.
    private static let recordBytesExpected = 640

    let place: TopicPartition
    // Unchecked: one task fills it before anybody reads, and a check for every field of every record costs more than reading it.
    @exclusivity(unchecked) private(set) var count = 0
    @exclusivity(unchecked) private var entries: UnsafeMutablePointer<Entry>
    @exclusivity(unchecked) private var bytes: UnsafeMutableRawPointer
    @exclusivity(unchecked) private var byteCount = 0
    private var entryCapacity: Int
    let unreadable: String?
    private var byteCapacity: Int

    init(of place: TopicPartition, recordsExpected: Int = 0) {
        self.place = place
        unreadable = nil
        entryCapacity = max(1, recordsExpected)
        byteCapacity = max(64, recordsExpected * Self.recordBytesExpected)
        entries = .allocate(capacity: entryCapacity)
        bytes = .allocate(byteCount: byteCapacity, alignment: 1)
    }

    /// One record that stands for those that cannot be read.
    init(of place: TopicPartition, unreadable reason: String, at offset: Int64) {
        self.place = place
        unreadable = reason
        (entryCapacity, byteCapacity) = (1, 1)
        entries = .allocate(capacity: 1)
        bytes = .allocate(byteCount: 1, alignment: 1)
        entries.initialize(
            to: Entry(
                offset: offset, timestamp: -1, start: 0, keyBytes: -1, valueBytes: -1, headerCount: 0,
                timestampType: .notAvailable))
        count = 1
    }

    deinit {
        entries.deallocate()
        bytes.deallocate()
    }

    @inline(__always)
    func entry(_ index: Int) -> Entry { entries[index] }

    var start: UnsafeRawPointer { UnsafeRawPointer(bytes) }

    func view(at start: Int, _ count: Int) -> ByteView {
        ByteView(UnsafeRawBufferPointer(start: bytes + start, count: count), ownedBy: self)
    }

    /// Copies a record and frees librdkafka's.
    func append(consuming message: Message) {
        defer { rd_kafka_message_destroy(message) }
        let start = byteCount
        let record = message.pointee
        put(record.key, record.key_len)
        put(record.payload, record.len)
        var headerCount = 0
        var list: OpaquePointer?
        if rd_kafka_message_headers(message, &list) == RD_KAFKA_RESP_ERR_NO_ERROR, let list {
            var name: UnsafePointer<CChar>?
            var value: UnsafeRawPointer?
            var valueBytes = 0
            while rd_kafka_header_get_all(list, headerCount, &name, &value, &valueBytes)
                == RD_KAFKA_RESP_ERR_NO_ERROR, let text = name
            {
                let nameBytes = strlen(text)
                reserve(8)
                bytes.storeBytes(of: Int32(clamping: nameBytes), toByteOffset: byteCount, as: Int32.self)
                bytes.storeBytes(
                    of: value == nil ? -1 : Int32(clamping: valueBytes), toByteOffset: byteCount + 4, as: Int32.self)
                byteCount += 8
                put(text, nameBytes)
                put(value, valueBytes)
                headerCount += 1
            }
        }
        var type = RD_KAFKA_TIMESTAMP_NOT_AVAILABLE
        let timestamp = rd_kafka_message_timestamp(message, &type)
        let timestampType: TimestampType =
            switch type {
            case RD_KAFKA_TIMESTAMP_CREATE_TIME: .createTime
            case RD_KAFKA_TIMESTAMP_LOG_APPEND_TIME: .logAppendTime
            default: .notAvailable
            }
        if count == entryCapacity { growEntries() }
        (entries + count).initialize(
            to: Entry(
                offset: record.offset, timestamp: timestamp, start: start,
                keyBytes: record.key == nil ? -1 : record.key_len,
                valueBytes: record.payload == nil ? -1 : record.len, headerCount: headerCount,
                timestampType: timestampType))
        count += 1
    }

    @inline(__always)
    private func put(_ source: UnsafeRawPointer?, _ count: Int) {
        guard let source, count > 0 else { return }
        reserve(count)
        (bytes + byteCount).copyMemory(from: source, byteCount: count)
        byteCount += count
    }

    @inline(__always)
    private func reserve(_ count: Int) {
        if byteCount + count > byteCapacity { grow(by: count) }
    }

    private func grow(by count: Int) {
        byteCapacity = max(byteCapacity * 2, byteCount + count)
        let larger = UnsafeMutableRawPointer.allocate(byteCount: byteCapacity, alignment: 1)
        larger.copyMemory(from: bytes, byteCount: byteCount)
        bytes.deallocate()
        bytes = larger
    }

    private func growEntries() {
        entryCapacity *= 2
        let larger = UnsafeMutablePointer<Entry>.allocate(capacity: entryCapacity)
        larger.moveInitialize(from: entries, count: count)
        entries.deallocate()
        entries = larger
    }
}
