// What operators do with accounts.
import Foundation
import HTTP
import Models
import Postgres
import ServiceKit
import TestSupport
import Testing

@testable import MessagingCore

@Suite struct OperatorTests {
    @Test func onlyTheSecretMakesAnOperator() async throws {
        let chat = try await Chat.shared()
        #expect(try await chat.call(.post, "/v1/operator/session", #"{"secret":"a guess"}"#).status == 401)
        let token = try await chat.operatorToken()
        #expect(try await chat.call(.get, "/v1/accounts/me", token: token).status == 403)
    }

    @Test func onlyAnOperatorMakesBrandsAndImportsAccounts() async throws {
        let chat = try await Chat.shared()
        let alice = try await chat.person("alice")
        #expect(
            try await chat.call(.post, "/v1/operator/brands", Chat.signUp("a-brand"), token: alice.token).status == 403)
        let accounts = #"{"issuer":"i","accounts":[{"subject":"s","displayName":"d","locale":"en"}]}"#
        #expect(try await chat.call(.post, "/v1/operator/accounts", accounts, token: alice.token).status == 403)
        #expect(try await chat.call(.post, "/v1/operator/accounts", accounts).status == 401)
        let brand = try await chat.brand()
        #expect(try await chat.call(.get, "/v1/accounts/me", token: brand.token)["kind"]?.string == "brand")
    }

    @Test func theSameSubjectIsTheSameAccountAndTakesOverWhatChanged() async throws {
        let chat = try await Chat.shared()
        let token = try await chat.operatorToken()
        let payee = AccountID.random()
        let issuer = "https://id.example/\(UUID().uuidString)"
        func accounts(_ name: String) -> String {
            let limit = #"{"amount":200000,"currency":"CNY"}"#
            let authorisation = #"[{"payeeId":"\#(payee)","limit":\#(limit),"publisher":"partner"}]"#
            let items = (0..<3).map {
                #"{"subject":"s\#($0)","displayName":"\#(name) \#($0)","locale":"zh-CN","authorisations":\#(authorisation)}"#
            }
            return #"{"issuer":"\#(issuer)","sessions":true,"accounts":[\#(items.joined(separator: ","))]}"#
        }
        let first = try await chat.call(.post, "/v1/operator/accounts", accounts("old"), token: token)
        #expect(first.status == 200)
        #expect(first.items.compactMap { $0["subject"]?.string } == ["s0", "s1", "s2"])
        let second = try await chat.call(.post, "/v1/operator/accounts", accounts("new"), token: token)
        #expect(
            second.items.compactMap { $0["accountId"]?.string } == first.items.compactMap { $0["accountId"]?.string })

        let access = try #require(second.items.first?["accessToken"]?.string)
        let me = try await chat.call(.get, "/v1/accounts/me", token: access)
        #expect(me["displayName"]?.string == "new 0")
        let id = try #require(me["accountId"]?.string.flatMap(AccountID.init))
        let event = try await chat.find(.accounts, Account.self) { account, _ in
            account.accountId == id && account.displayName == "new 0"
        }
        #expect(
            event.authorisations == [
                Account.Authorisation(
                    payeeId: payee, limit: Money(200_000, .cny), publisher: TestPublishers.partner.name)
            ])
        #expect(event.locale == "zh-CN")
    }

    @Test func aThousandAccountsComeInOneRequestAndOneMoreIsRefused() async throws {
        let chat = try await Chat.shared()
        let token = try await chat.operatorToken()
        func accounts(_ count: Int) -> String {
            let items = (0..<count).map { #"{"subject":"\#($0)","displayName":"d","locale":"en"}"# }
            return #"{"issuer":"\#(UUID().uuidString)","accounts":[\#(items.joined(separator: ","))]}"#
        }
        let answer = try await chat.call(.post, "/v1/operator/accounts", accounts(1000), token: token)
        #expect(answer.status == 200)
        #expect(Set(answer.items.compactMap { $0["accountId"]?.string }).count == 1000)
        #expect(answer.items.allSatisfy { $0["accessToken"] == nil })
        let tooMany = try await chat.call(.post, "/v1/operator/accounts", accounts(1001), token: token)
        #expect(tooMany.status == 400)
        #expect(tooMany.wrongFields == ["accounts"])
    }

    @Test func aSubjectTwiceIsNamedAndNothingIsStored() async throws {
        let chat = try await Chat.shared()
        let token = try await chat.operatorToken()
        let issuer = UUID().uuidString
        let answer = try await chat.call(
            .post, "/v1/operator/accounts",
            #"{"issuer":"\#(issuer)","accounts":[{"subject":"a","displayName":"d","locale":"en"},"#
                + #"{"subject":"b","displayName":"d","locale":"en"},{"subject":"a","displayName":"e","locale":"en"}]}"#,
            token: token)
        #expect(answer.status == 400)
        #expect(answer.wrongFields == ["accounts[2].subject"])
        let pool = try chat.pool()
        #expect(try await pool.query("SELECT 1 FROM accounts WHERE issuer = \(issuer)").isEmpty)
        await pool.close()
    }
}
