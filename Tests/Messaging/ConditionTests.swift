// What a request says besides its body: which command it is, which list it goes on with, what it has read before.
import Foundation
import HTTP
import Models
import Postgres
import ServiceKit
import TestSupport
import Testing

@testable import MessagingCore

@Suite struct ConditionTests {
    @Test func whoSignsUpAgainUnderTheSameKeyHasTheSameAccount() async throws {
        let chat = try await Chat.shared()
        let operatorToken = try await chat.operatorToken()
        for (path, token) in [("/v1/accounts", nil), ("/v1/operator/brands", Optional(operatorToken))] {
            let key = [("Idempotency-Key", UUID().uuidString)]
            let handle = "again-\(UUID().uuidString.prefix(8).lowercased())"
            let body = Chat.signUp(handle)
            let first = try await chat.call(.post, path, body, token: token, headers: key)
            #expect(first.status == 201)
            let again = try await chat.call(.post, path, body, token: token, headers: key)
            #expect(again.status == 201)
            #expect(again["account"] == first["account"])
            #expect(again.headers["Location"] == first.headers["Location"])
            // Tokens are told once: the second session is another, and both are good.
            #expect(again["refreshToken"] != first["refreshToken"])
            for answer in [first, again] {
                let access = try #require(answer["accessToken"]?.string)
                #expect(try await chat.call(.get, "/v1/accounts/me", token: access).status == 200)
            }
            // Neither another name nor another password gets in by the key.
            for other in [
                body.replacing("Name of", with: "Another name of"), body.replacing(Chat.password, with: "another one"),
            ] {
                let answer = try await chat.call(.post, path, other, token: token, headers: key)
                #expect(answer.status == 422 && answer.problem == "idempotency-key-reused")
            }
            let without = try await chat.call(.post, path, body, token: token)
            #expect(without.status == 409 && without.problem == "handle-taken")
        }
    }

    @Test func nothingSecretIsKeptOfASignUp() async throws {
        let chat = try await Chat.shared()
        let key = UUID().uuidString
        let handle = "secret-\(UUID().uuidString.prefix(8).lowercased())"
        let answer = try await chat.call(
            .post, "/v1/accounts", Chat.signUp(handle), headers: [("Idempotency-Key", key)])
        #expect(answer.status == 201)
        let pool = try chat.pool()
        let rows = try await pool.query("SELECT answer FROM idempotency_keys WHERE key = \(key)")
        #expect(try rows.column(0, as: [UInt8].self) == [[]])
        await pool.close()
    }

    @Test func whoGuessesIsToldTheLimit() async throws {
        let chat = try await Chat.shared()
        let handle = "guessed-\(UUID().uuidString.prefix(8).lowercased())"
        let guess = #"{"handle":"\#(handle)","password":"wrong password"}"#
        var last = try await chat.call(.post, "/v1/sessions", guess)
        for _ in 0..<10 where last.status == 401 { last = try await chat.call(.post, "/v1/sessions", guess) }
        #expect(last.status == 429)
        #expect(last.headers["RateLimit-Limit"] == "10")
        #expect(last.headers["RateLimit-Remaining"] == "0")
        #expect(last.headers["RateLimit-Reset"] == last.headers["Retry-After"])
    }

    @Test func tokensAreNobodysToKeepAndWhatWasReadIsAskedForAnew() async throws {
        let chat = try await Chat.shared()
        let alice = try await chat.person("alice")
        let tokens = try await chat.call(
            .post, "/v1/sessions/refresh", #"{"refreshToken":"\#(alice.refreshToken)"}"#)
        #expect(tokens.status == 200 && tokens.headers["Cache-Control"] == "no-store")
        #expect(try await chat.call(.get, "/v1/accounts/me").headers["Cache-Control"] == "no-store")
        for path in ["/v1/accounts/me", "/v1/orders", "/v1/conversations", "/v1/accounts/\(alice.id)"] {
            let first = try await chat.call(.get, path, token: alice.token)
            let tag = try #require(first.headers["ETag"], "\(path)")
            let again = try await chat.call(.get, path, token: alice.token, headers: [("If-None-Match", tag)])
            #expect(again.status == 304 && again.body == .null)
            #expect(first.headers["Cache-Control"] == "private, no-cache")
        }
    }

    /// A last slice that is full has no next one, whichever list it is; its cursor is of that list alone.
    @Test func listsEndWhereTheyEnd() async throws {
        let chat = try await Chat.shared()
        let (alice, brand) = (try await chat.person("alice"), try await chat.brand())
        let sale = try await chat.sale(of: brand.id)
        var conversation = ""
        for _ in 0..<2 {
            let other = try await chat.person("other")
            let opened = try await chat.call(
                .post, "/v1/conversations", #"{"accountId":"\#(other.id)"}"#, token: alice.token)
            conversation = try #require(opened["conversationId"]?.string)
            try await chat.call(.post, "/v1/orders", chat.order(sale.saleId), token: alice.token)
        }
        for number in 1...2 {
            let text = #"{"clientMessageId":"\#(number)","kind":"text","text":"hello"}"#
            try await chat.call(.post, "/v1/conversations/\(conversation)/messages", text, token: alice.token)
            let post = #"{"clientMessageId":"\#(number)","kind":"text","text":{"en":"hello"}}"#
            try await chat.call(.post, "/v1/brands/\(brand.id)/posts", post, token: brand.token)
        }
        var cursors: [String: String] = [:]
        for list in [
            "/v1/conversations", "/v1/orders", "/v1/conversations/\(conversation)/messages",
            "/v1/brands/\(brand.id)/posts",
        ] {
            let both = try await chat.call(.get, "\(list)?limit=2", token: alice.token)
            #expect(both.items.count == 2 && both["nextCursor"] == nil, "\(list)")
            let one = try await chat.call(.get, "\(list)?limit=1", token: alice.token)
            let cursor = try #require(one["nextCursor"]?.string, "\(list)")
            let isNumbered = list.hasSuffix("s/\(conversation)/messages") || list.hasSuffix("/posts")
            let rest = try await chat.call(
                .get, "\(list)?limit=1&\(isNumbered ? "after" : "cursor")=\(cursor)", token: alice.token)
            #expect(rest.items == [both.items[1]] && rest["nextCursor"] == nil, "\(list)")
            if !isNumbered { cursors[list] = cursor }
        }
        let brands = try await chat.call(.get, "/v1/brands?limit=1", token: alice.token)
        cursors["/v1/brands"] = brands["nextCursor"]?.string
        let bob = try await chat.person("bob")
        for (list, cursor) in cursors {
            for place in ["/v1/conversations", "/v1/orders", "/v1/brands"] {
                let answer = try await chat.call(.get, "\(place)?cursor=\(cursor)", token: alice.token)
                #expect(answer.status == (place == list ? 200 : 400), "\(list) -> \(place)")
            }
            let others = try await chat.call(.get, "\(list)?cursor=\(cursor)", token: bob.token)
            // Brands are the same list for all.
            #expect(others.status == (list == "/v1/brands" ? 200 : 400), "\(list)")
        }
    }
}
