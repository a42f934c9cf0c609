import Testing

@testable import MessagingCore

@Suite struct StoredSequencesTests {
    @Test func numbersAreFoundByTheirOffsets() {
        var stored = StoredSequences(firstOffset: 700, count: 4)
        stored[701] = 12
        stored[703] = 1
        let read = StoredSequences(encoded: stored.encoded, offsets: [])
        #expect(read == stored)
        #expect((699...704).map { read[$0] } == [nil, nil, 12, nil, 1, nil])
        #expect(StoredSequences(encoded: StoredSequences(firstOffset: 0, count: 1).encoded, offsets: [])[0] == nil)
    }

    @Test func whatTheFirstVersionLeftIsReadByPlace() {
        let bytes = [3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4, 1, 0, 0, 0, 0, 0, 0] as [UInt8]
        let read = StoredSequences(encoded: bytes, offsets: [10, 12, 13])
        #expect([10, 11, 12, 13].map { read[$0] } == [3, nil, nil, 260])
        #expect(StoredSequences(encoded: [], offsets: [])[0] == nil)
    }
}
