// The packed form of outgoing records: kept in outbox rows, so stable, and read back without trust.
import TestSupport
import Testing

@testable import Kafka

@Suite struct RecordBatchTests {
    static func sample() -> RecordBatch {
        var batch = RecordBatch()
        batch.append(
            topic: "orders", key: Array("buyer".utf8), value: Array(#"{"a":1}"#.utf8),
            headers: [("ce_id", Array("1".utf8)), ("empty", [])], partition: 7)
        batch.append(topic: "sales", key: nil, value: nil)
        batch.append(topic: "重", key: [], value: [], headers: [("ключ", [0, 255])])
        return batch
    }

    @Test func packedRecordsComeBackAsTheyWere() throws {
        let batch = Self.sample()
        let expected = [
            RecordBatch.Record(
                topic: "orders", key: Array("buyer".utf8), value: Array(#"{"a":1}"#.utf8),
                headers: [Header(name: "ce_id", value: [0x31]), Header(name: "empty", value: [])], partition: 7),
            RecordBatch.Record(topic: "sales", key: nil, value: nil, headers: [], partition: nil),
            RecordBatch.Record(
                topic: "重", key: [], value: [], headers: [Header(name: "ключ", value: [0, 255])], partition: nil),
        ]
        #expect(batch.records == expected)
        let again = try RecordBatch(bytes: batch.bytes)
        #expect(again == batch)
        #expect(again.records == expected)
    }

    @Test func aRecordOfAMouldIsTheOneThatWouldHaveBeenPacked() {
        func record(_ one: String, _ two: String) -> RecordBatch {
            var batch = RecordBatch()
            batch.append(
                topic: "orders", key: Array(one.utf8), value: Array("{\(two)\(one)}".utf8),
                headers: [("ce_id", Array("\(two)/1".utf8)), ("like", Array("ABC EF".utf8))], partition: 3)
            return batch
        }
        let mould = RecordMould(record("ABCD", "EFG"), placesOf: [0..<4, 4..<7], in: Array("ABCDEFG".utf8))
        var batch = Self.sample()
        batch.append(mould, with: Array("wxyz123".utf8))
        batch.append(mould, with: Array("ABCDEFG".utf8))
        var expected = Self.sample()
        expected.append(contentsOf: record("wxyz", "123"))
        expected.append(contentsOf: record("ABCD", "EFG"))
        #expect(batch == expected)
        #expect(mould.count == record("ABCD", "EFG").bytes.count)
    }

    @Test func thePackedFormNeverChanges() {
        var batch = RecordBatch()
        batch.append(topic: "t", key: [1], value: [2, 3], headers: [("h", [4])], partition: 258)
        let expected: [UInt8] =
            [36, 0, 0, 0, 1, 3, 1, 0, 2, 1, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0]
            + [0x74, 0, 1, 2, 3] + [1, 0, 0, 0, 1, 0, 0, 0, 0x68, 0, 4]
        #expect(batch.bytes == expected)
    }

    @Test func anEmptyBatchHasNoBytes() throws {
        #expect(RecordBatch().bytes.isEmpty)
        #expect(try RecordBatch(bytes: []).isEmpty)
    }

    @Test func appendedBatchesKeepTheirOrder() {
        var batch = Self.sample()
        batch.append(contentsOf: Self.sample())
        #expect(batch.count == 6)
        #expect(batch.records == Self.sample().records + Self.sample().records)
    }

    @Test func aReusedBufferHoldsOnlyWhatCameAfter() {
        var batch = Self.sample()
        batch.removeAll()
        batch.append(topic: "t", key: nil, value: [9])
        #expect(batch.count == 1)
        #expect(batch.records.map(\.value) == [[9]])
    }

    @Test func aHeadersNameEndsAtItsFirstNUL() throws {
        var batch = RecordBatch()
        batch.append(topic: "t", key: nil, value: nil, headers: [("a\0b", [1])])
        #expect(try RecordBatch(bytes: batch.bytes).records[0].headers == [Header(name: "a", value: [1])])
    }

    @Test func headersAreTakenFromAnyCollection() {
        var batch = RecordBatch()
        batch.append(topic: "t", key: [1], value: [2]) { headers in
            headers.add("array", [1, 2])
            headers.add("text" as String, "é".utf8)
            headers.add("lazy", (3...5).lazy.map { UInt8($0) })
        }
        #expect(batch.records[0].headers.map(\.value) == [[1, 2], [0xc3, 0xa9], [3, 4, 5]])
    }

    @Test func whatIsCutOffIsRefused() {
        let bytes = Self.sample().bytes
        var boundaries: Set<Int> = [0]
        var part = RecordBatch()
        for record in Self.sample().records {
            part.append(
                topic: record.topic, key: record.key, value: record.value,
                headers: record.headers.map { ($0.name, $0.value) }, partition: record.partition)
            boundaries.insert(part.bytes.count)
        }
        for length in 0...bytes.count {
            let read = try? RecordBatch(bytes: Array(bytes[..<length]))
            #expect((read != nil) == boundaries.contains(length), "cut off after \(length) bytes")
        }
    }

    @Test func changedBytesAreRefusedOrReadWithinTheirBounds() {
        let bytes = Self.sample().bytes
        var refused = 0
        var random = SeededRandom(seed: 7)
        for _ in 0..<20_000 {
            var changed = bytes
            for _ in 0..<random.int(in: 1...4) {
                changed[random.int(in: 0...changed.count - 1)] = UInt8(random.pick([0, 1, 2, 0x7f, 0x80, 0xff]))
            }
            guard let batch = try? RecordBatch(bytes: changed) else {
                refused += 1
                continue
            }
            #expect(batch.records.count == batch.count)
        }
        #expect(refused > 5_000)
    }

    @Test func lengthsThatOverflowAreRefused() {
        // At 12, 16 and 20 stand the lengths of topic, key and value, at 0 that of the record.
        for position in [0, 12, 16, 20] {
            for value: UInt32 in [.max, 1 << 31, 1 << 30, UInt32.max - 30] {
                var bytes = Self.sample().bytes
                withUnsafeBytes(of: value.littleEndian) { bytes.replaceSubrange(position..<position + 4, with: $0) }
                #expect(throws: KafkaError.self) { try RecordBatch(bytes: bytes) }
            }
        }
    }

    @Test func anErrorSaysWhereAndWhy() {
        let good = Self.sample().bytes
        let error = #expect(throws: KafkaError.self) { try RecordBatch(bytes: good + [1, 2, 3]) }
        #expect(error?.message.contains("byte \(good.count)") == true)
        #expect(error?.message.contains("3 bytes left") == true)
    }
}
