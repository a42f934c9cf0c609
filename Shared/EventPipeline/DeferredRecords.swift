// What became of a batch in a few bytes: with the batch itself they give every record that is published.
import Foundation

/// One code for each record of a batch of the log, and what they have in common. Kept in the outbox in place of the
/// records that it stands for, which are rendered from it and the log whenever they are needed.
public struct DeferredRecords<Head: Codable & Equatable & Sendable>: Sendable, Equatable {
    public var head: Head
    public var firstOffset: Int64
    /// By a record's offset less the first one's. What they mean is the processor's own.
    public var codes: [UInt8]

    public init(head: Head, firstOffset: Int64, codes: [UInt8]) {
        self.head = head
        self.firstOffset = firstOffset
        self.codes = codes
    }

    /// The code of the record at that offset; nil where they have none.
    public func code(at offset: Int64) -> UInt8? {
        let (index, overflow) = offset.subtractingReportingOverflow(firstOffset)
        guard !overflow, index >= 0, index < codes.count else { return nil }
        return codes[Int(index)]
    }

    private struct Envelope: Codable {
        let head: Head
        let firstOffset: Int64
    }

    /// The head as JSON, its length in four bytes before it, the codes after it.
    public func encoded() throws -> [UInt8] {
        let envelope = try JSONEncoder().encode(Envelope(head: head, firstOffset: firstOffset))
        let length = UInt32(envelope.count)
        return [24, 16, 8, 0].map { UInt8(truncatingIfNeeded: length >> $0) } + envelope + codes
    }

    public init(encoded bytes: [UInt8]) throws(DeferredRecordsError) {
        guard bytes.count >= 4 else { throw DeferredRecordsError() }
        let length = bytes[..<4].reduce(0) { $0 << 8 | Int($1) }
        guard bytes.count >= 4 + length,
            let envelope = try? JSONDecoder().decode(Envelope.self, from: Data(bytes[4..<4 + length]))
        else { throw DeferredRecordsError() }
        self.init(head: envelope.head, firstOffset: envelope.firstOffset, codes: Array(bytes[(4 + length)...]))
    }
}

/// The bytes are not deferred records.
public struct DeferredRecordsError: Error, CustomStringConvertible {
    public var description: String { "expected what became of a batch of events, as this service stores it" }
}
