// Signing up and in. What happens to sessions and passwords later: SessionTests, PasswordTests.
import Foundation
import HTTP
import Models
import Postgres
import ServiceKit
import TestSupport
import Testing

@testable import MessagingCore

@Suite struct AccountTests {
    @Test func whoSignsUpHasAnAccountASessionAndAnEvent() async throws {
        let chat = try await Chat.shared()
        let alice = try await chat.person("alice")
        let me = try await chat.call(.get, "/v1/accounts/me", token: alice.token)
        #expect(me.status == 200)
        #expect(me["handle"]?.string == alice.handle)
        #expect(me["kind"]?.string == "person")
        let event = try await chat.find(.accounts, Account.self) { account, record in
            account.accountId == alice.id && record.key.map { Array($0) } == alice.id.textBytes
        }
        #expect(event.handle == alice.handle)
        #expect(event.kind == .person)
    }

    @Test func handlesThatSoundLikeTheOperatorAreTheOperators() async throws {
        let chat = try await Chat.shared()
        for handle in ["operator", "Admin", "STAMPEDE"] {
            let refused = try await chat.call(.post, "/v1/accounts", Chat.signUp(handle))
            #expect(refused.status == 409 && refused.problem == "handle-taken", "\(handle)")
        }
        let brand = try await chat.call(
            .post, "/v1/operator/brands", Chat.signUp("Official"), token: chat.operatorToken())
        #expect(brand.status == 201)
    }

    @Test func aHandleIsTakenOnceWhateverItsCase() async throws {
        let chat = try await Chat.shared()
        let alice = try await chat.person("alice")
        let again = try await chat.call(.post, "/v1/accounts", Chat.signUp(alice.handle.uppercased()))
        #expect(again.status == 409)
        #expect(again.problem == "handle-taken")
    }

    @Test func aProfileShowsOthersNoMoreThanNameAndKind() async throws {
        let chat = try await Chat.shared()
        let alice = try await chat.person("alice")
        let bob = try await chat.person("bob")
        let profile = try await chat.call(.get, "/v1/accounts/\(alice.id)", token: bob.token)
        #expect(profile.status == 200)
        #expect(Set(profile.body.members.keys) == ["accountId", "kind", "handle", "displayName"])
    }

    @Test func signingInNeedsThePassword() async throws {
        let chat = try await Chat.shared()
        let alice = try await chat.person("alice")
        let right = try await chat.call(
            .post, "/v1/sessions", #"{"handle":"\#(alice.handle.uppercased())","password":"\#(Chat.password)"}"#,
            headers: [("User-Agent", "her phone")])
        #expect(right.status == 201)
        let wrong = try await chat.call(
            .post, "/v1/sessions", #"{"handle":"\#(alice.handle)","password":"not that one"}"#)
        let nobody = try await chat.call(
            .post, "/v1/sessions", #"{"handle":"nobody-at-all","password":"not that one"}"#)
        #expect(wrong.status == 401 && wrong.problem == "wrong-credentials")
        #expect(wrong["title"]?.string == "Handle or password is wrong")
        // Whether there is such a handle, the answer does not say.
        #expect(nobody.status == 401)
        #expect(nobody["title"] == wrong["title"] && nobody["detail"] == wrong["detail"])
        let token = try #require(right["accessToken"]?.string)
        let sessions = try await chat.call(.get, "/v1/sessions", token: token)
        #expect(sessions.items.count == 2)
        let current = try #require(sessions.items.first { $0["isCurrent"]?.boolean == true })
        #expect(current["device"]?.string == "her phone")
    }

    @Test func passwordsAndRefreshTokensAreNotInTheDatabase() async throws {
        let chat = try await Chat.shared()
        let alice = try await chat.person("alice")
        let pool = try chat.pool()
        let stored = try await pool.query(
            """
            SELECT a.password_hash, t.digest FROM accounts a JOIN sessions s USING (account_id)
            JOIN refresh_tokens t USING (session_id) WHERE a.account_id = \(alice.id)
            """)
        let row = try #require(stored.first)
        #expect(try row.get(0, as: String.self).hasPrefix("$argon2id$"))
        #expect(try row.get(1, as: [UInt8].self) != Array(alice.refreshToken.utf8))
        await pool.close()
    }
}
