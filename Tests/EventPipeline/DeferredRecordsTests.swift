// What stands in the outbox in place of the records: it comes back as it was, and nothing else is taken for it.
import EventPipeline
import Models
import Testing

@Suite struct DeferredRecordsTests {
    private struct Head: Codable, Equatable, Sendable {
        let name: String
        let price: Money
        let time: Timestamp
    }

    private let deferred = DeferredRecords(
        head: Head(
            name: "手机", price: Money(199_900, .cny), time: Timestamp(microseconds: 1_764_244_800_123_456)),
        firstOffset: 1000, codes: [0, 255, 1])

    @Test func whatIsWrittenIsReadBack() throws {
        let read = try DeferredRecords<Head>(encoded: deferred.encoded())
        #expect(read == deferred)
        #expect((998...1004).map { read.code(at: $0) } == [nil, nil, 0, 255, 1, nil, nil])
        #expect(read.code(at: .min) == nil && read.code(at: .max) == nil)
    }

    @Test func whatIsNoneIsAnError() throws {
        let good = try deferred.encoded()
        for length in 0..<good.count - deferred.codes.count {
            #expect(throws: DeferredRecordsError.self) {
                try DeferredRecords<Head>(encoded: Array(good.prefix(length)))
            }
        }
        for wrong in [[0, 0, 0, 0], [255, 255, 255, 255], Array(good.dropFirst())] {
            #expect(throws: DeferredRecordsError.self) { try DeferredRecords<Head>(encoded: wrong) }
        }
    }
}
