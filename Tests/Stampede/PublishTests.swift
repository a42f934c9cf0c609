// Lines to records, dead letters by place, topics as they are made.
import Foundation
import JSON
import Kafka
import Models
import Security
import TestSupport
import Testing

@testable import StampedeCore

@Suite struct PublishTests {
    private static let order = OrderPlaced(
        orderId: OrderID(high: 1, low: 2), saleId: SaleID(high: 3, low: 4), batch: 1, variant: "silver",
        buyerId: AccountID(high: 5, low: 6))
    private static var body: [UInt8] { JSONWriter.document(order) }

    private func encode(_ line: [UInt8], checked: Bool = true, type: String = OrderPlaced.type) throws
        -> RecordBatch.Record
    {
        var batch = RecordBatch()
        try LineEncoder(topic: "orders", type: type, key: "buyerId", isChecked: checked)
            .append(line, to: &batch, with: JSONParser())
        return try #require(batch.records.first)
    }

    private func header(_ name: String, of record: RecordBatch.Record) -> String? {
        record.headers.first { $0.name == name }.map { String(decoding: $0.value, as: UTF8.self) }
    }

    @Test func aBodyBecomesABinaryCloudEventKeyedByItsBuyer() throws {
        let record = try encode(Self.body)
        #expect(record.topic == "orders")
        #expect(record.key == Self.order.buyerId.textBytes)
        #expect(record.value == Self.body)
        #expect(header("ce_type", of: record) == OrderPlaced.type)
        #expect(header("ce_specversion", of: record) == "1.0")
        // The same line again is the same event.
        #expect(header("ce_id", of: record) == Self.order.orderId.description)
        #expect(header("ce_time", of: record).flatMap { Timestamp($0) } != nil)
    }

    @Test func aWholeCloudEventStaysAsItIs() throws {
        let line =
            Array(
                "{\"specversion\":\"1.0\",\"id\":\"7\",\"type\":\"\(OrderPlaced.type)\",\"data\":".utf8) + Self.body
            + Array("}".utf8)
        let record = try encode(line)
        #expect(record.value == line)
        #expect(record.key == Self.order.buyerId.textBytes)
        #expect(header("content-type", of: record) == "application/cloudevents+json")
        #expect(header("ce_type", of: record) == nil)
    }

    @Test(arguments: [
        ("nonsense", "a JSON document"), ("[]", "an object"), ("{}", "orderId"),
        ("{\"specversion\":\"1.0\",\"id\":\"1\",\"type\":\"\(OrderPlaced.type)\"}", "data"),
    ])
    func aBrokenLineIsRefusedByName(line: String, part: String) throws {
        let error = #expect(throws: JSONError.self) { try encode(Array(line.utf8)) }
        #expect(error?.description.contains(part) == true)
    }

    @Test func aLineOfAPublisherProvesWhoseItIsInEitherMode() throws {
        let whole =
            Array("{\"specversion\":\"1.0\",\"id\":\"7\",\"type\":\"\(OrderPlaced.type)\",\"data\":".utf8)
            + Self.body + Array("}".utf8)
        let keys = PublisherKeys([TestPublishers.partner])
        for line in [Self.body, whole] {
            var batch = RecordBatch()
            try LineEncoder(
                topic: "orders", type: OrderPlaced.type, key: "buyerId", isChecked: true, signer: TestPublishers.partner
            ).append(line, to: &batch, with: JSONParser())
            let record = try #require(batch.records.first)
            func bytes(_ name: String) -> [UInt8]? { record.headers.first { $0.name == name }?.value }
            #expect(
                keys.publisher(
                    proof: try #require(bytes("stampede-published-by")), type: bytes("ce_type"), id: bytes("ce_id"),
                    key: record.key, value: record.value) == TestPublishers.partner.name)
        }
        #expect(header("stampede-published-by", of: try encode(Self.body)) == nil)
    }

    @Test func whoPublishesIsSaidByOptionOrByTheEnvironment() throws {
        let file = FileManager.default.temporaryDirectory.appending(path: "stampede-key-\(UUID().uuidString)").path
        let secret = String(repeating: "02", count: 32)
        try "\(secret)\n".write(toFile: file, atomically: true, encoding: .utf8)
        defer { try? FileManager.default.removeItem(atPath: file) }
        func publisher(_ words: [String], _ environment: [String: String] = [:]) throws -> PublisherName? {
            try Settings(environment: environment, file: "/nowhere")
                .publisher(Arguments(words[...], PublishCommand.description))?.name
        }
        let environment = ["STAMPEDE_PUBLISHER": "rush", "STAMPEDE_PUBLISHER_SECRET": secret]
        #expect(try publisher([]) == nil)
        #expect(try publisher([], environment)?.text == "rush")
        #expect(try publisher(["--as", "rush"], environment)?.text == "rush")
        #expect(try publisher(["--as", "partner", "--key-file", file])?.text == "partner")
        #expect(try publisher(["--as", "partner", "--key-file", file], environment)?.text == "partner")
        // Another's secret is not taken for its own, the app cannot be claimed, and what is broken is no secret.
        for words in [
            ["--as", "partner"], ["--as", "messaging", "--key-file", file], ["--as", "Partner", "--key-file", file],
            ["--as", "partner", "--key-file", "/nowhere/key"], ["--as", "partner", "--key-file", "/dev/null"],
        ] {
            #expect(throws: UsageError.self) { try publisher(words, environment) }
        }
        #expect(throws: UsageError.self) { try publisher(["--key-file", file]) }
    }

    @Test func uncheckedABrokenLineGoesOutAsItIs() throws {
        let record = try encode(Array("nonsense".utf8), checked: false)
        #expect(record.value == Array("nonsense".utf8))
        #expect(record.key == nil)
    }

    @Test func linesAreReadWhateverTheirEnds() throws {
        let file = FileManager.default.temporaryDirectory.appending(path: "stampede-lines-\(UUID().uuidString)").path
        let long = String(repeating: "x", count: 3 << 20)
        try "one\r\n\ntwo\n\(long)\nlast".write(toFile: file, atomically: true, encoding: .utf8)
        defer { try? FileManager.default.removeItem(atPath: file) }
        var reader = LineReader(try #require(FileHandle(forReadingAtPath: file)), lineBytesMax: 4 << 20)
        var lines: [(Int, String)] = []
        while let line = try reader.next() { lines.append((line.number, String(decoding: line.bytes, as: UTF8.self))) }
        #expect(lines.map(\.1) == ["one", "", "two", long, "last"])
        #expect(lines.map(\.0) == [1, 2, 3, 4, 5])
    }

    @Test func aLineWithoutEndIsAnErrorAndNotAllOfMemory() throws {
        let file = FileManager.default.temporaryDirectory.appending(path: "stampede-lines-\(UUID().uuidString)").path
        try String(repeating: "x", count: 3 << 20).write(toFile: file, atomically: true, encoding: .utf8)
        defer { try? FileManager.default.removeItem(atPath: file) }
        var reader = LineReader(try #require(FileHandle(forReadingAtPath: file)), lineBytesMax: 1000)
        #expect(throws: CommandError.self) { try reader.next() }
    }

    @Test func aDeadLettersPlaceIsRead() throws {
        #expect(try DeadPlace("orders").topic == .orders)
        #expect(try DeadPlace("orders.dead").position == nil)
        #expect(try DeadPlace("orders.dead/0/12").position == .init(partition: 0, offset: 12))
        for wrong in ["sheep", "orders/1", "orders.dead/a/1", "orders.dead/0/-1", "orders.dead/0/1/2", ""] {
            #expect(throws: UsageError.self) { try DeadPlace(wrong) }
        }
    }

    @Test func everyTopicIsMadeAsTheModelsSay() throws {
        let topics = TopicPlan.specifications()
        #expect(topics.count == 2 * Topic.allCases.count)
        let orders = try #require(topics.first { $0.name == "orders" })
        #expect(orders.partitions == 12)
        #expect(orders.configuration["message.timestamp.type"] == "LogAppendTime")
        #expect(orders.configuration["compression.type"] == "uncompressed")
        #expect(orders.configuration["retention.ms"] == "\(7 * 86_400_000)")
        #expect(topics.first { $0.name == "sales" }?.configuration["cleanup.policy"] == "compact")
        #expect(
            topics.first { $0.name == "orders.dead" }?.configuration["retention.ms"] == "\(30 * 86_400_000 as Int64)")
        #expect(TopicPlan.specifications(partitions: 48).first { $0.name == "orders" }?.partitions == 48)
        #expect(TopicPlan.specifications(partitions: 48).first { $0.name == "sales" }?.partitions == 1)
    }
}
