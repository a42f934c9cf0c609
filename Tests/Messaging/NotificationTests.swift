import JSON
import Kafka
import Models
import Postgres
import ServiceKit
import TestSupport
import Testing

@testable import MessagingCore

@Suite struct NotificationTests {
    private func notification(
        _ brand: AccountID, _ reader: AccountID?, _ text: String, id: NotificationID = .random(),
        sale: SaleID = .random()
    ) throws -> Notification {
        Notification(
            notificationId: id, kind: reader == nil ? .soldOut : .reserved, brandId: brand, accountId: reader,
            saleId: sale, orderId: reader == nil ? nil : .random(), text: try #require(LocalizedText(["en": text])))
    }

    private func publish(_ chat: Chat, _ notifications: [Notification]) async throws {
        try await chat.publish(
            .notifications, notifications.map { (($0.accountId ?? $0.brandId).textBytes, $0) })
    }

    private func messages(_ chat: Chat, _ brand: AccountID, _ reader: Chat.Member) async throws -> [DocumentTree] {
        let conversation = DerivedIdentifiers.conversation(brand, reader.id)
        let answer = try await chat.call(
            .get, "/v1/conversations/\(conversation)/messages?limit=100", token: reader.token)
        return answer.items
    }

    @Test func aNotificationBecomesAMessageOfTheBrandOnce() async throws {
        let chat = try await Chat.shared()
        let (brand, alice) = (try await chat.brand(), try await chat.person("alice"))
        let told = try notification(brand.id, alice.id, "Reserved for you")
        // In one batch, in a later one: it stays one message.
        try await publish(chat, [told, told])
        try await eventually("the message is there") { try await !messages(chat, brand.id, alice).isEmpty }
        let second = try notification(brand.id, alice.id, "Paid")
        try await publish(chat, [told, second, told])
        try await eventually("the second is there") { try await messages(chat, brand.id, alice).count > 1 }
        let read = try await messages(chat, brand.id, alice)
        #expect(read.compactMap { $0["text"]?.string } == ["Reserved for you", "Paid"])
        #expect(read.compactMap { $0["sequence"]?.integer } == [1, 2])
        #expect(read.first?["kind"]?.string == "orderStatus")
        #expect(read.first?["senderId"]?.string == brand.id.description)
        #expect(read.first?["orderId"]?.string == told.orderId?.description)
        let event = try await chat.find(.messages, MessageSent.self) { message, record in
            message.messageId.description == second.notificationId.description
                && record.header("ce_id").map { String(decoding: $0, as: UTF8.self) }
                    == second.notificationId.description
        }
        #expect(event.sequence == 2)
        #expect(event.text == "Paid")
        let pool = try chat.pool()
        let rows = try await pool.query(
            "SELECT count(*) FROM messages WHERE notification_id = \(told.notificationId)")
        #expect(try rows.first?.get(0, as: Int64.self) == 1)
        await pool.close()
    }

    @Test func anOvertakenWordOfAnOrderIsNotSaidBehindANewerOne() async throws {
        let chat = try await Chat.shared()
        let (brand, alice) = (try await chat.brand(), try await chat.person("alice"))
        func news(_ kind: Notification.Kind, _ revision: Int?, _ order: OrderID) throws -> Notification {
            Notification(
                notificationId: .random(), kind: kind, brandId: brand.id, accountId: alice.id, saleId: .random(),
                orderId: order, text: try #require(LocalizedText(["en": "\(kind) \(revision ?? 0)"])),
                orderRevision: revision)
        }
        func texts() async throws -> [String] {
            try await messages(chat, brand.id, alice).compactMap { $0["text"]?.string }
        }
        let (first, second): (OrderID, OrderID) = (.random(), .random())
        // In one batch what is told of an order is told in the order of its life, whatever came first.
        try await publish(
            chat,
            [
                try news(.paid, 2, first), try news(.reserved, 1, second), try news(.reserved, 2, first),
                try news(.waitlisted, 1, first),
            ])
        try await eventually("all are there") { try await texts().count == 4 }
        #expect(try await texts() == ["waitlisted 1", "reserved 1", "reserved 2", "paid 2"])
        // In a later one what is older than the last word is told nobody; what was not numbered is.
        try await publish(
            chat,
            [
                try news(.reserved, 2, first), try news(.refunded, 4, first), try news(.released, 4, first),
                try news(.released, nil, first), try news(.paid, 1, second),
            ])
        try await eventually("the last is there") { try await texts().contains("paid 1") }
        #expect(try await texts().dropFirst(4) == ["released 4", "refunded 4", "released 0", "paid 1"])
        // The topic says it in the order of the conversation.
        try await publish(chat, [try news(.released, 3, first), try news(.released, 2, second)])
        try await eventually("the next is there") { try await texts().contains("released 2") }
        #expect(try await texts().count == 9)
        let sequence = try await chat.find(.messages, MessageSent.self) { message, _ in message.text == "paid 2" }
            .sequence
        #expect(sequence == 4)
    }

    @Test func manyOfOneConversationInABatchAreNumberedWithoutAGap() async throws {
        let chat = try await Chat.shared()
        let brand = try await chat.brand()
        var readers: [Chat.Member] = []
        for _ in 0..<3 { readers.append(try await chat.person("reader")) }
        var all: [Notification] = []
        for index in 0..<300 { all.append(try notification(brand.id, readers[index % 3].id, "\(index)")) }
        try await publish(chat, all)
        for (place, reader) in readers.enumerated() {
            try await eventually("all are there") { try await messages(chat, brand.id, reader).count == 100 }
            let read = try await messages(chat, brand.id, reader)
            #expect(read.compactMap { $0["sequence"]?.integer } == Array(1...100))
            #expect(read.compactMap { $0["text"]?.string } == (0..<100).map { "\($0 * 3 + place)" })
        }
    }

    @Test func whatABuyerWritesAndWhatTheBrandTellsShareOneSequence() async throws {
        let chat = try await Chat.shared()
        let (brand, alice) = (try await chat.brand(), try await chat.person("alice"))
        let opened = try await chat.call(
            .post, "/v1/conversations", #"{"accountId":"\#(brand.id)"}"#, token: alice.token)
        let conversation = try #require(opened["conversationId"]?.string)
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask {
                for index in 0..<20 { try await publish(chat, [notification(brand.id, alice.id, "n\(index)")]) }
            }
            for index in 0..<20 {
                group.addTask {
                    let body = #"{"clientMessageId":"\#(index)","kind":"text","text":"m\#(index)"}"#
                    let answer = try await chat.call(
                        .post, "/v1/conversations/\(conversation)/messages", body, token: alice.token)
                    #expect(answer.status == 201)
                }
            }
            try await group.waitForAll()
        }
        try await eventually("all are there") { try await messages(chat, brand.id, alice).count == 40 }
        #expect(try await messages(chat, brand.id, alice).compactMap { $0["sequence"]?.integer } == Array(1...40))
    }

    @Test func aBroadcastBecomesAPostOnce() async throws {
        let chat = try await Chat.shared()
        let (brand, alice) = (try await chat.brand(), try await chat.person("alice"))
        let soldOut = try notification(brand.id, nil, "Sold out")
        try await publish(chat, [soldOut])
        try await publish(chat, [soldOut, try notification(brand.id, nil, "Thank you")])
        let path = "/v1/brands/\(brand.id)/posts"
        try await eventually("both posts are there") {
            try await chat.call(.get, path, token: alice.token).items.count == 2
        }
        let posts = try await chat.call(.get, path, token: alice.token).items
        #expect(posts.compactMap { $0["sequence"]?.integer } == [1, 2])
        #expect(posts.first?["saleId"]?.string == soldOut.saleId.description)
        let event = try await chat.find(.messages, BrandPosted.self) { post, _ in
            post.brandId == brand.id && post.sequence == 1
        }
        #expect(event.text.text(for: "en") == "Sold out")
    }

    @Test func aBrokenNotificationGoesToTheDeadLettersAndStopsNothing() async throws {
        let chat = try await Chat.shared()
        let (brand, alice) = (try await chat.brand(), try await chat.person("alice"))
        var batch = RecordBatch()
        let broken = "broken \(NotificationID.random())"
        batch.append(
            topic: "notifications", key: alice.id.textBytes, value: Array("not JSON".utf8),
            headers: [("ce_type", Array(Notification.type.utf8)), ("ce_id", Array(broken.utf8))])
        try await chat.producer.send(batch)
        // A brand that is told of its own order has a conversation with itself.
        try await publish(chat, [try notification(brand.id, brand.id, "you bought from yourself")])
        try await publish(chat, [try notification(brand.id, alice.id, "after the broken one")])
        try await eventually("the next is there") { try await messages(chat, brand.id, alice).count == 1 }
        try await eventually("the brand's own is there") { try await messages(chat, brand.id, brand).count == 1 }
        let kafka = KafkaConfiguration(bootstrapServers: chat.broker.bootstrapServers, clientID: "test")
        let reader = try await TopicReader(
            kafka, topic: "notifications.dead", from: .beginning, log: chat.service.context.log,
            metrics: chat.service.context.metrics)
        var found = false
        while !found, let batches = try await reader.next(recordsMax: 100, waitMilliseconds: 30_000) {
            if batches.isEmpty { break }
            found = batches.joined().contains {
                $0.header("ce_id").map { String(decoding: $0, as: UTF8.self) } == broken
                    && $0.header("stampede-dead-reason") != nil
            }
        }
        #expect(found)
        await reader.close()
    }
}
