import Foundation
import HTTP
import Models
import Postgres
import TestSupport
import Testing

@testable import MessagingCore

@Suite struct ConversationTests {
    private func text(_ text: String, _ client: String = UUID().uuidString) -> String {
        #"{"clientMessageId":"\#(client)","kind":"text","text":"\#(text)"}"#
    }

    private func open(_ chat: Chat, _ one: Chat.Member, _ other: Chat.Member) async throws -> String {
        let answer = try await chat.call(
            .post, "/v1/conversations", #"{"accountId":"\#(other.id)"}"#, token: one.token)
        return try #require(answer["conversationId"]?.string)
    }

    @Test func twoHaveOneConversationWhoeverOpensIt() async throws {
        let chat = try await Chat.shared()
        let (alice, bob) = (try await chat.person("alice"), try await chat.person("bob"))
        let first = try await chat.call(
            .post, "/v1/conversations", #"{"accountId":"\#(bob.id)"}"#, token: alice.token)
        #expect(first.status == 201)
        let second = try await chat.call(
            .post, "/v1/conversations", #"{"accountId":"\#(alice.id)"}"#, token: bob.token)
        #expect(second.status == 200)
        #expect(first["conversationId"] == second["conversationId"])
        #expect(second["with"]?["accountId"]?.string == alice.id.description)
    }

    @Test func lengthsAreInCharactersAndTextsAreKeptAsTheyAreSpelt() async throws {
        let chat = try await Chat.shared()
        let bob = try await chat.person("bob")
        for (count, status) in [(200, 201), (201, 400)] {
            let name = String(repeating: "小", count: count)
            let body = Chat.signUp("n-\(UUID().uuidString.prefix(8).lowercased())")
                .replacing(/Name of [^"]*/, with: name)
            let answer = try await chat.call(.post, "/v1/accounts", body)
            #expect(answer.status == status)
            #expect(status == 400 || answer["account"]?["displayName"]?.string == name)
        }
        let alice = try await chat.person("alice")
        let path = "/v1/conversations/\(try await open(chat, alice, bob))/messages"
        // However a client escapes: the most characters have room in the body.
        for (character, count, status) in [
            ("小", 8000, 201), (#"\ud83d\ude00"#, 8000, 201), ("小", 8001, 400), (#"\ud83d"#, 1, 400),
        ] {
            let answer = try await chat.call(
                .post, path, text(String(repeating: character, count: count)), token: alice.token)
            #expect(answer.status == status, "\(count) of \(character)")
            #expect(status == 400 || answer["text"]?.string?.unicodeScalars.count == 8000)
        }
        // The same to Swift's eyes, another text to everybody else.
        #expect(try await chat.call(.post, path, text("\u{e9}", "one"), token: alice.token).status == 201)
        let again = try await chat.call(.post, path, text("e\u{301}", "one"), token: alice.token)
        #expect(again.problem == "client-message-id-reused")
    }

    @Test func aConversationNeedsSomebodyElse() async throws {
        let chat = try await Chat.shared()
        let alice = try await chat.person("alice")
        for id in [alice.id, AccountID.random()] {
            let answer = try await chat.call(
                .post, "/v1/conversations", #"{"accountId":"\#(id)"}"#, token: alice.token)
            #expect(answer.status == 422)
            #expect(answer.wrongFields == ["accountId"])
        }
    }

    @Test func messagesAreNumberedWithoutAGapHoweverManySendAtOnce() async throws {
        let chat = try await Chat.shared()
        let (alice, bob) = (try await chat.person("alice"), try await chat.person("bob"))
        let conversation = try await open(chat, alice, bob)
        try await withThrowingTaskGroup(of: Void.self) { group in
            for index in 0..<60 {
                group.addTask {
                    let token = index % 2 == 0 ? alice.token : bob.token
                    let answer = try await chat.call(
                        .post, "/v1/conversations/\(conversation)/messages", text("\(index)"), token: token)
                    #expect(answer.status == 201)
                }
            }
            try await group.waitForAll()
        }
        let all = try await chat.call(
            .get, "/v1/conversations/\(conversation)/messages?limit=100", token: bob.token)
        #expect(all.items.compactMap { $0["sequence"]?.integer } == Array(1...60))
        #expect(Set(all.items.compactMap { $0["text"]?.string }).count == 60)

        let page = try await chat.call(
            .get, "/v1/conversations/\(conversation)/messages?after=10&limit=25", token: alice.token)
        #expect(page.items.compactMap { $0["sequence"]?.integer } == Array(11...35))
        #expect(page["nextCursor"]?.string == "35")
        let rest = try await chat.call(
            .get, "/v1/conversations/\(conversation)/messages?after=35&limit=50", token: alice.token)
        #expect(rest.items.count == 25)
        #expect(rest["nextCursor"] == nil)
    }

    @Test func aMessageSentAgainIsTheSameMessage() async throws {
        let chat = try await Chat.shared()
        let (alice, bob) = (try await chat.person("alice"), try await chat.person("bob"))
        let conversation = try await open(chat, alice, bob)
        let path = "/v1/conversations/\(conversation)/messages"
        let answers = try await withThrowingTaskGroup(of: Chat.Answer.self) { group in
            for _ in 0..<10 {
                group.addTask { try await chat.call(.post, path, text("hi", "one"), token: alice.token) }
            }
            return try await group.reduce(into: []) { $0.append($1) }
        }
        #expect(answers.filter { $0.status == 201 }.count == 1)
        #expect(Set(answers.compactMap { $0["messageId"]?.string }).count == 1)
        #expect(answers.allSatisfy { $0["sequence"]?.integer == 1 })

        let other = try await chat.call(.post, path, text("something else", "one"), token: alice.token)
        #expect(other.status == 422)
        #expect(other.problem == "client-message-id-reused")
        // The other's IDs are the other's own.
        #expect(try await chat.call(.post, path, text("hi", "one"), token: bob.token).status == 201)
        let event = try await chat.find(.messages, MessageSent.self) { message, record in
            message.messageId.description == answers[0]["messageId"]?.string
                && record.key.map { String(decoding: $0, as: UTF8.self) } == conversation
        }
        #expect(event.text == "hi")
        #expect(event.recipientId == bob.id)
    }

    @Test func othersDoNotEvenSeeThatAConversationIsThere() async throws {
        let chat = try await Chat.shared()
        let (alice, bob, eve) = (
            try await chat.person("alice"), try await chat.person("bob"), try await chat.person("eve")
        )
        let conversation = try await open(chat, alice, bob)
        let path = "/v1/conversations/\(conversation)/messages"
        #expect(try await chat.call(.get, path, token: eve.token).status == 404)
        #expect(try await chat.call(.post, path, text("hi"), token: eve.token).status == 404)
        #expect(try await chat.call(.get, path, token: alice.token).items.isEmpty)
    }

    @Test func conversationsAreListedFromTheLastChanged() async throws {
        let chat = try await Chat.shared()
        let alice = try await chat.person("alice")
        var ids: [String] = []
        for _ in 0..<5 {
            let conversation = try await open(chat, alice, try await chat.person("friend"))
            ids.append(conversation)
            try await chat.call(
                .post, "/v1/conversations/\(conversation)/messages", text("hello"), token: alice.token)
        }
        try await chat.call(.post, "/v1/conversations/\(ids[0])/messages", text("again"), token: alice.token)
        let expected = [ids[0], ids[4], ids[3], ids[2], ids[1]]
        let first = try await chat.call(.get, "/v1/conversations?limit=3", token: alice.token)
        let cursor = try #require(first["nextCursor"]?.string)
        let second = try await chat.call(.get, "/v1/conversations?limit=3&cursor=\(cursor)", token: alice.token)
        #expect((first.items + second.items).compactMap { $0["conversationId"]?.string } == expected)
        #expect(first.items[0]["lastMessage"]?["text"]?.string == "again")
        #expect(first.items[0]["with"]?["displayName"]?.string?.hasPrefix("Name of friend") == true)
        #expect(second["nextCursor"] == nil)
    }

    @Test func aGoodsCardShowsTheSaleAsItIsNow() async throws {
        let chat = try await Chat.shared()
        let (alice, bob, brand) = (
            try await chat.person("alice"), try await chat.person("bob"), try await chat.brand()
        )
        let sale = try await chat.sale(of: brand.id)
        let conversation = try await open(chat, alice, bob)
        let path = "/v1/conversations/\(conversation)/messages"
        let sent = try await chat.call(
            .post, path, #"{"clientMessageId":"c","kind":"goodsCard","saleId":"\#(sale.saleId)"}"#, token: alice.token)
        #expect(sent.status == 201)
        #expect(sent["card"]?["title"]?["en"]?.string == "Noon")
        #expect(
            sent["card"]?["batches"]?.elements.first?["lines"]?.elements.first?["price"]?["amount"]?.integer == 199_900)
        let unknown = try await chat.call(
            .post, path, #"{"clientMessageId":"d","kind":"goodsCard","saleId":"\#(SaleID.random())"}"#,
            token: alice.token)
        #expect(unknown.status == 422)
        #expect(unknown.wrongFields == ["saleId"])
    }

    /// As two instances do: the one that comes second waits for the conversation, and then sees what is there.
    @Test func aMessageThatTwoTransactionsStoreAtOnceFailsNobody() async throws {
        let chat = try await Chat.shared()
        let (alice, bob) = (try await chat.person("alice"), try await chat.person("bob"))
        let id = try #require(ConversationID(try await open(chat, alice, bob)))
        func message(_ text: String, in conversation: ConversationID, to reader: AccountID) -> NewMessage {
            NewMessage(
                messageId: .random(), conversationId: conversation, senderId: alice.id, recipientId: reader,
                kind: .text, text: text, saleId: nil, orderId: nil, isNotification: false, sentAt: .now())
        }
        let same = message("the same", in: id, to: bob.id)
        let others = message("another's", in: .random(), to: .random())
        let pool = try chat.pool()
        let second = try await pool.transaction { transaction in
            #expect(try await MessageCommands.store([same], in: transaction) == [same.messageId: 1])
            let second = Task {
                try await pool.transaction { try await MessageCommands.store([same, others], in: $0) }
            }
            try await eventually("the second waits") {
                try await !pool.query(
                    """
                    SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'
                    """
                ).isEmpty
            }
            return second
        }
        #expect(try await second.value == [others.messageId: 1])
        let summary = try await pool.conversation(id)
        #expect(summary?.lastSequence == 1)
        #expect(summary?.changedAt == same.sentAt)
        let next = message("the next", in: id, to: bob.id)
        #expect(try await pool.transaction { try await MessageCommands.store([next], in: $0) } == [next.messageId: 2])
        await pool.close()
    }

    @Test func whatIsReadOnOneDeviceIsReadOnAll() async throws {
        let chat = try await Chat.shared()
        let (alice, bob, eve) = (
            try await chat.person("alice"), try await chat.person("bob"), try await chat.person("eve")
        )
        let opened = try await chat.call(
            .post, "/v1/conversations", #"{"accountId":"\#(bob.id)"}"#, token: alice.token)
        let id = try #require(opened["conversationId"]?.string)
        #expect(opened["readSequence"] == .integer(0))
        for number in 1...3 {
            try await chat.call(
                .post, "/v1/conversations/\(id)/messages",
                #"{"clientMessageId":"\#(number)","kind":"text","text":"hello"}"#, token: alice.token)
        }
        func read(_ sequence: Int64, _ token: String) async throws -> Int {
            try await chat.call(.put, "/v1/conversations/\(id)/read", #"{"sequence":\#(sequence)}"#, token: token)
                .status
        }
        func found(_ token: String) async throws -> Int64? {
            try await chat.call(.get, "/v1/conversations", token: token).items
                .first { $0["conversationId"]?.string == id }?["readSequence"]?.integer
        }
        #expect(try await found(bob.token) == 0)
        #expect(try await read(2, bob.token) == 204)
        #expect(try await found(bob.token) == 2)
        // The other's own is another.
        #expect(try await found(alice.token) == 0)
        // Never back, and never beyond what is there.
        #expect(try await read(1, bob.token) == 204)
        #expect(try await found(bob.token) == 2)
        #expect(try await read(9_007_199_254_740_991, bob.token) == 204)
        #expect(try await found(bob.token) == 3)
        #expect(try await read(1, eve.token) == 404)
        #expect(try await read(-1, bob.token) == 400)
    }

    @Test func aConversationIsOpenedByAHandleAsWell() async throws {
        let chat = try await Chat.shared()
        let (alice, bob) = (try await chat.person("alice"), try await chat.person("bob"))
        func open(_ body: String) async throws -> Chat.Answer {
            try await chat.call(.post, "/v1/conversations", body, token: alice.token)
        }
        let byID = try await open(#"{"accountId":"\#(bob.id)"}"#)
        let byHandle = try await open(#"{"handle":"\#(bob.handle.uppercased())"}"#)
        #expect(byID.status == 201 && byHandle.status == 200)
        #expect(byHandle["conversationId"] == byID["conversationId"])
        for handle in ["nobody-has-this", "x", "not a handle"] {
            let answer = try await open(#"{"handle":"\#(handle)"}"#)
            #expect(answer.status == 422 && answer.wrongFields == ["handle"], "\(handle)")
        }
        let own = try await open(#"{"handle":"\#(alice.handle)"}"#)
        #expect(own.status == 422)
        for body in ["{}", #"{"handle":"\#(bob.handle)","accountId":"\#(bob.id)"}"#, #"{"handle":7}"#] {
            #expect(try await open(body).status == 400, "\(body)")
        }
    }
}
