// Passwords, and leaving, which asks for one.
import EventPipeline
import Foundation
import HTTP
import Models
import Postgres
import Security
import ServiceKit
import TestSupport
import Testing

@testable import MessagingCore

@Suite(.timeLimit(.minutes(2))) struct PasswordTests {
    @Test func aPasswordIsCountedInCharactersAndIsTheSameOnEveryKeyboard() async throws {
        let chat = try await Chat.shared()
        func signUp(_ password: String) async throws -> Chat.Answer {
            let handle = "p-\(UUID().uuidString.prefix(8).lowercased())"
            let body = Chat.signUp(handle).replacing(Chat.password, with: password)
            return try await chat.call(.post, "/v1/accounts", body)
        }
        // Nine bytes; and eight code points that are four characters.
        for short in ["密码锁", "密码密码密码密", String(repeating: "e\u{301}", count: 4)] {
            #expect(try await signUp(short).wrongFields == ["password"], "\(short)")
        }
        #expect(try await signUp(String(repeating: "锁", count: 257)).wrongFields == ["password"])
        #expect(try await signUp(String(repeating: "锁", count: 256)).status == 201)
        let composed = "gro\u{df}e \u{e4}pfel \u{ac00}"
        let signed = try await signUp(composed)
        let handle = try #require(signed["account"]?["handle"]?.string)
        for form in [composed, composed.decomposedStringWithCanonicalMapping] {
            #expect(try await chat.signIn(handle, form).status == 201)
        }
        // What looks alike only is another one.
        #expect(try await chat.signIn(handle, composed.replacing("pf", with: "p\u{fb01}")).status == 401)
    }

    @Test func aHashOfBeforeGoesOnWorkingAndIsReplaced() async throws {
        let chat = try await Chat.shared()
        let alice = try await chat.person("alice")
        let pool = try chat.pool()
        let typed = "decomposed a\u{308}"
        // As it was hashed once: byte by byte as it came.
        let hash =
            "$argon2id$v=19$m=19456,t=2,p=1$9nI0m+fZlMSOxy5z3k480Q$XfIDx/mp3s/l4XHcj6yhE8YRdH+sN3uFvYr0Zpkxe+o"
        try await pool.execute("UPDATE accounts SET password_hash = \(hash) WHERE account_id = \(alice.id)")
        for form in ["decomposed \u{e4}", typed] {
            #expect(try await chat.signIn(alice.handle, form).status == 201)
        }
        let now = try await pool.query("SELECT password_hash FROM accounts WHERE account_id = \(alice.id)")
            .column(0, as: String.self).first
        #expect(now != hash)
        #expect(try await PasswordHash.verify(typed, against: now) == .right)
        await pool.close()
    }

    @Test func changingThePasswordEndsTheOtherSessionsAndNeedsTheOldOne() async throws {
        let chat = try await Chat.shared()
        let alice = try await chat.person("alice")
        let other = try await chat.signIn(alice.handle)
        func change(_ old: String, _ new: String) async throws -> Chat.Answer {
            try await chat.call(
                .put, "/v1/accounts/me/password", #"{"currentPassword":"\#(old)","newPassword":"\#(new)"}"#,
                token: alice.token)
        }
        let wrong = try await change("not that one", "a new password")
        #expect(wrong.status == 403 && wrong.problem == "wrong-password")
        #expect(try await change(Chat.password, "short").wrongFields == ["newPassword"])
        #expect(try await change(Chat.password, "a new password").status == 204)
        #expect(try await chat.isRefused(try #require(other["accessToken"]?.string)))
        #expect(try await chat.refresh(try #require(other["refreshToken"]?.string)).status == 401)
        #expect(try await !chat.isRefused(alice.token))
        #expect(try await chat.refresh(alice.refreshToken).status == 200)
        #expect(try await chat.signIn(alice.handle).status == 401)
        #expect(try await chat.signIn(alice.handle, "a new password").status == 201)
        // Whoever found an open session does not guess on for ever.
        for _ in 0..<8 { _ = try await change("not that one", "another password") }
        #expect(try await change("a new password", "another password").status == 204)
        #expect(try await change("not that one", "another password").status == 403)
        #expect(try await change("another password", "yet another password").status == 429)
    }

    // MARK: Leaving

    @Test func aDeletedAccountIsGoneAndSaysSo() async throws {
        let chat = try await Chat.shared()
        let (alice, bob) = (try await chat.person("alice"), try await chat.person("bob"))
        let brand = try await chat.brand()
        #expect(try await chat.call(.put, "/v1/brands/\(brand.id)/follow", token: alice.token).status == 204)
        let opened = try await chat.call(
            .post, "/v1/conversations", #"{"accountId":"\#(bob.id)"}"#, token: alice.token)
        let conversation = try #require(opened["conversationId"]?.string)
        try await chat.call(
            .post, "/v1/conversations/\(conversation)/messages", #"{"clientMessageId":"1","kind":"text","text":"bye"}"#,
            token: alice.token)

        func leave(_ body: String, _ token: String) async throws -> Chat.Answer {
            try await chat.call(.delete, "/v1/accounts/me", body, token: token)
        }
        #expect(try await leave("{}", alice.token).wrongFields == ["password"])
        #expect(try await leave(#"{"password":"not that one"}"#, alice.token).problem == "wrong-password")
        #expect(try await leave(#"{"password":"\#(Chat.password)"}"#, brand.token).status == 403)
        #expect(try await leave(#"{"password":"\#(Chat.password)"}"#, alice.token).status == 204)

        #expect(try await chat.isRefused(alice.token))
        #expect(try await chat.refresh(alice.refreshToken).status == 401)
        #expect(try await chat.signIn(alice.handle).status == 401)
        #expect(try await chat.call(.get, "/v1/accounts/\(alice.id)", token: bob.token).status == 404)
        // What was said to others is theirs; the name is gone.
        let list = try await chat.call(.get, "/v1/conversations", token: bob.token)
        #expect(list.items.first?["lastMessage"]?["text"]?.string == "bye")
        #expect(list.items.first?["with"]?["displayName"] == nil)
        let pool = try chat.pool()
        let left = try await pool.query(
            """
            SELECT 1 FROM follows WHERE account_id = \(alice.id)
            UNION ALL SELECT 1 FROM sessions WHERE account_id = \(alice.id)
            UNION ALL SELECT 1 FROM accounts WHERE account_id = \(alice.id)
            """)
        #expect(left.isEmpty)
        await pool.close()
        let event = try await chat.find(.accounts, AccountDeleted.self) { deleted, record in
            deleted.accountId == alice.id && record.key.map { Array($0) } == alice.id.textBytes
        }
        #expect(event.revision == 2)
        // The handle is free; who takes it is somebody else.
        let again = try await chat.call(.post, "/v1/accounts", Chat.signUp(alice.handle))
        #expect(again.status == 201 && again["account"]?["accountId"]?.string != alice.id.description)
    }

    @Test func whomAnIdentityProviderKnowsLeavesWithoutAPassword() async throws {
        let chat = try await Chat.shared()
        let body =
            #"{"issuer":"leaving","sessions":true,"accounts":[{"subject":"\#(UUID().uuidString)","displayName":"d","locale":"en"}]}"#
        let answer = try await chat.call(.post, "/v1/operator/accounts", body, token: chat.operatorToken())
        let token = try #require(answer.items.first?["accessToken"]?.string)
        let change = #"{"currentPassword":"x","newPassword":"a new password"}"#
        #expect(try await chat.call(.put, "/v1/accounts/me/password", change, token: token).problem == "no-password")
        #expect(try await chat.call(.delete, "/v1/accounts/me", "{}", token: token).status == 204)
        #expect(try await chat.isRefused(token))
    }
}
