// Records as they came from Kafka, read in librdkafka's memory without copying.
import CRdKafka

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

/// Consecutive records of one partition, in log order. Owns librdkafka's memory, which is freed when the batch and
/// every `ByteView` taken from it are gone.
public struct ConsumedBatch: RandomAccessCollection, Sendable {
    public let topic: String
    public let partition: Int32
    let storage: MessageStorage
    let range: Range<Int>

    public var startIndex: Int { 0 }
    public var endIndex: Int { range.count }

    public subscript(index: Int) -> ConsumedRecord {
        precondition(index >= 0 && index < range.count, "a record of the batch")
        return ConsumedRecord(topic: topic, message: storage.messages[range.lowerBound + index], storage: storage)
    }

    public var topicPartition: TopicPartition { TopicPartition(topic: topic, partition: partition) }

    /// The first record's offset; in an empty batch `nextOffset`.
    public var firstOffset: Int64 { first?.offset ?? nextOffset }

    /// Where to go on after this batch: the last record's offset and one. Offsets may have gaps (compaction), so this
    /// is not `firstOffset + count`. In an empty batch -1.
    public var nextOffset: Int64 { last.map { $0.offset + 1 } ?? -1 }

    init(topic: String, partition: Int32, storage: MessageStorage, range: Range<Int>) {
        self.topic = topic
        self.partition = partition
        self.storage = storage
        self.range = range
    }

    static func empty(_ partition: TopicPartition) -> ConsumedBatch {
        ConsumedBatch(topic: partition.topic, partition: partition.partition, storage: .none, range: 0..<0)
    }
}

/// One record of a `ConsumedBatch`.
///
/// `@unchecked Sendable`: librdkafka does not touch a message that it has handed out, the headers were parsed before
/// the batch was made, and `storage` keeps it alive.
public struct ConsumedRecord: @unchecked Sendable {
    public let topic: String
    let message: UnsafeMutablePointer<rd_kafka_message_t>
    let storage: MessageStorage

    public var partition: Int32 { message.pointee.partition }
    public var offset: Int64 { message.pointee.offset }

    /// Milliseconds since 1970; -1 when the broker has none.
    public var timestamp: Int64 { rd_kafka_message_timestamp(message, nil) }

    public var timestampType: TimestampType {
        var type = RD_KAFKA_TIMESTAMP_NOT_AVAILABLE
        _ = rd_kafka_message_timestamp(message, &type)
        return switch type {
        case RD_KAFKA_TIMESTAMP_CREATE_TIME: .createTime
        case RD_KAFKA_TIMESTAMP_LOG_APPEND_TIME: .logAppendTime
        default: .notAvailable
        }
    }

    public var key: ByteView? { view(message.pointee.key, message.pointee.key_len) }

    /// Nil: a tombstone.
    public var value: ByteView? { view(message.pointee.payload, message.pointee.len) }

    /// The last header of that name; nil when there is none or its value is null.
    public func header(_ name: StaticString) -> ByteView? {
        name.utf8Start.withMemoryRebound(to: CChar.self, capacity: name.utf8CodeUnitCount + 1) { header($0) }
    }

    public func header(named name: String) -> ByteView? { name.withCString { header($0) } }

    /// Every header in order, copied. A null value is an empty one.
    public var headers: [Header] {
        var headers: [Header] = []
        forEachHeader { name, value in
            headers.append(Header(name: String(decoding: name, as: UTF8.self), value: Array(value)))
        }
        return headers
    }

    private func header(_ name: UnsafePointer<CChar>) -> ByteView? {
        var list: OpaquePointer?
        guard rd_kafka_message_headers(message, &list) == RD_KAFKA_RESP_ERR_NO_ERROR, let list else { return nil }
        var value: UnsafeRawPointer?
        var count = 0
        guard rd_kafka_header_get_last(list, name, &value, &count) == RD_KAFKA_RESP_ERR_NO_ERROR else { return nil }
        return view(value, count)
    }

    func forEachHeader(_ body: (UnsafeRawBufferPointer, UnsafeRawBufferPointer) -> Void) {
        var list: OpaquePointer?
        guard rd_kafka_message_headers(message, &list) == RD_KAFKA_RESP_ERR_NO_ERROR, let list else { return }
        var index = 0
        var name: UnsafePointer<CChar>?
        var value: UnsafeRawPointer?
        var count = 0
        while rd_kafka_header_get_all(list, index, &name, &value, &count) == RD_KAFKA_RESP_ERR_NO_ERROR {
            guard let name else { return }
            body(
                UnsafeRawBufferPointer(start: name, count: String(cString: name).utf8.count),
                UnsafeRawBufferPointer(start: value, count: value == nil ? 0 : count))
            index += 1
        }
    }

    private func view(_ start: UnsafeRawPointer?, _ count: Int) -> ByteView? {
        guard let start else { return nil }
        return ByteView(UnsafeRawBufferPointer(start: start, count: count), ownedBy: storage)
    }
}

/// The messages that one call to librdkafka gave.
///
/// `@unchecked Sendable`: filled before it is shared, never changed after; librdkafka frees a message on any thread.
final class MessageStorage: @unchecked Sendable {
    typealias Message = UnsafeMutablePointer<rd_kafka_message_t>

    let messages: UnsafeBufferPointer<Message>
    /// librdkafka's handle must outlive its messages.
    private let handle: KafkaHandle?

    static let none = MessageStorage(UnsafeBufferPointer(start: nil, count: 0), handle: nil)

    /// Takes over `messages`, copying the pointers.
    init(_ messages: UnsafeBufferPointer<Message>, handle: KafkaHandle?) {
        let copy = UnsafeMutableBufferPointer<Message>.allocate(capacity: messages.count)
        _ = copy.initialize(from: messages)
        self.messages = UnsafeBufferPointer(copy)
        self.handle = handle
        // librdkafka parses a message's headers when they are first asked for, and stores them in the message. Asking
        // here, while nobody else knows the message, makes reading them from any thread safe.
        var list: OpaquePointer?
        for message in messages { _ = rd_kafka_message_headers(message, &list) }
    }

    deinit {
        for message in messages { rd_kafka_message_destroy(message) }
        messages.deallocate()
    }
}
