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
}

@Suite struct BrandTests {
    private func post(_ text: String, _ client: String = UUID().uuidString) -> String {
        #"{"clientMessageId":"\#(client)","kind":"text","text":{"en":"\#(text)","zh":"\#(text)!"}}"#
    }

    @Test func postsAreNumberedAndPublished() async throws {
        let chat = try await Chat.shared()
        let (brand, alice) = (try await chat.brand(), try await chat.person("alice"))
        let path = "/v1/brands/\(brand.id)/posts"
        for number in 1...3 {
            let answer = try await chat.call(.post, path, post("\(number)", "c\(number)"), token: brand.token)
            #expect(answer.status == 201)
            #expect(answer["sequence"]?.integer == Int64(number))
        }
        #expect(try await chat.call(.post, path, post("2", "c2"), token: brand.token).status == 200)
        #expect(try await chat.call(.post, path, post("other", "c2"), token: brand.token).status == 422)
        #expect(try await chat.call(.post, path, post("not mine"), token: alice.token).status == 403)
        let read = try await chat.call(.get, "\(path)?after=1", token: alice.token)
        #expect(read.items.compactMap { $0["text"]?["zh"]?.string } == ["2!", "3!"])
        let event = try await chat.find(.messages, BrandPosted.self) { post, record in
            post.brandId == brand.id && post.sequence == 3 && record.key.map { Array($0) } == brand.id.textBytes
        }
        #expect(event.text.text(for: "zh") == "3!")
    }

    @Test func aBrandIsFollowedAndNoLonger() async throws {
        let chat = try await Chat.shared()
        let (brand, alice) = (try await chat.brand(), try await chat.person("alice"))
        func isFollowed() async throws -> Bool? {
            var cursor = ""
            while true {
                let page = try await chat.call(.get, "/v1/brands?limit=100\(cursor)", token: alice.token)
                if let found = page.items.first(where: { $0["brandId"]?.string == brand.id.description }) {
                    return found["isFollowed"]?.boolean
                }
                guard let next = page["nextCursor"]?.string else { return nil }
                cursor = "&cursor=\(next)"
            }
        }
        #expect(try await isFollowed() == false)
        for _ in 0..<2 {
            #expect(try await chat.call(.put, "/v1/brands/\(brand.id)/follow", token: alice.token).status == 204)
        }
        #expect(try await isFollowed() == true)
        #expect(try await chat.call(.delete, "/v1/brands/\(brand.id)/follow", token: alice.token).status == 204)
        #expect(try await isFollowed() == false)
        // A person is no brand.
        #expect(try await chat.call(.put, "/v1/brands/\(alice.id)/follow", token: brand.token).status == 404)
    }
}
