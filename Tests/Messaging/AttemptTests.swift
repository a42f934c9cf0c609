// Whoever guesses, or signs up by the thousand, is slowed down.
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

@Suite(.timeLimit(.minutes(2))) struct AttemptTests {
    @Test func ofManyGuessesAtOnceOnlyTenAreCheckedWhateverInstanceTheyAskAndSuccessesCountForNothing() async throws {
        let chat = try await Chat.shared()
        let second = try await RunningService.start(
            MessagingService.self,
            environment: Chat.environment(chat.broker, chat.database).merging(["STAMPEDE_INSTANCE": "second"]) { $1 })
        let alice = try await chat.person("alice")
        for _ in 0..<11 { #expect(try await chat.signIn(alice.handle).status == 201) }
        let guess = #"{"handle":"\#(alice.handle)","password":"wrong password"}"#
        let answers = try await withThrowingTaskGroup(of: Chat.Answer.self) { group in
            for place in 0..<40 {
                let port = place % 2 == 0 ? chat.service.httpPort : second.httpPort
                group.addTask { try await chat.call(.post, "/v1/sessions", guess, port: port) }
            }
            return try await group.reduce(into: []) { $0.append($1) }
        }
        #expect(answers.count { $0.status == 401 } == 10)
        let refused = answers.filter { $0.status == 429 }
        #expect(refused.count == 30)
        for answer in refused {
            let seconds = answer.headers["Retry-After"].flatMap(Int.init) ?? 0
            #expect((1...60).contains(seconds))
        }
        // The right one is not checked either, by whatever spelling of the handle.
        #expect(try await chat.signIn(alice.handle.uppercased()).status == 429)
        // Others are not concerned.
        #expect(try await chat.signIn(try await chat.person("bob").handle).status == 201)
        #expect(await second.stop())
    }

    @Test func whoGuessesAtAnAccountCalledOperatorKeepsNoOperatorOut() async throws {
        let chat = try await Chat.shared()
        for handle in ["operator", "operator 127.0.0.1"] {
            for _ in 0..<11 { _ = try await chat.signIn(handle, "wrong password") }
        }
        _ = try await chat.operatorToken()
        // And the other way round.
        for _ in 0..<5 {
            #expect(try await chat.call(.post, "/v1/operator/session", #"{"secret":"x"}"#).status == 401)
        }
        _ = try await chat.operatorToken()
    }

    @Test func attemptsComeBackWhenTheWindowEnds() async throws {
        let chat = try await Chat.shared()
        let pool = try chat.pool()
        let start = Timestamp.now()
        func attempts(_ seconds: Int64) -> AttemptCommands {
            AttemptCommands(postgres: pool, now: { start.adding(seconds: seconds) })
        }
        let limit = AttemptLimit.signUps(2, from: UUID().uuidString)
        let first = try await attempts(0).take(limit)
        _ = try await attempts(59).take(limit)
        await #expect(throws: TooManyAttempts(retryAfterSeconds: 1, limit: 2)) { try await attempts(59).take(limit) }
        await attempts(59).giveBack([first])
        _ = try await attempts(59).take(limit)
        for _ in 0..<2 { _ = try await attempts(60).take(limit) }
        // Of a window that is over nothing is given back.
        await attempts(60).giveBack([first])
        await #expect(throws: TooManyAttempts.self) { try await attempts(61).take(limit) }
        await pool.close()
    }

    @Test func namesOfDifferentThingsNeverMeet() {
        let names = [
            AttemptLimit.password("ab", from: "c"), .password("a", from: "bc"), .password("operator", from: "c"),
            .operatorSecret(from: "c"), .passwords(from: "c"), .signUps(1, from: "c"), .password("", from: "abc"),
        ].map(\.name)
        #expect(Set(names).count == names.count)
        #expect(AttemptLimit.password("AB", from: "c").name == AttemptLimit.password("ab", from: "c").name)
    }

    @Test func whoSignsUpTooOftenWaitsAndSignsInAllTheSame() async throws {
        let chat = try await Chat.shared()
        let alice = try await chat.person("alice")
        let strict = try await RunningService.start(
            MessagingService.self,
            environment: Chat.environment(chat.broker, chat.database).merging([
                "STAMPEDE_INSTANCE": "strict", "STAMPEDE_SIGN_UPS_PER_MINUTE": "1",
            ]) { $1 })
        // The address has signed more than one up.
        let refused = try await chat.call(.post, "/v1/accounts", Chat.signUp("carol"), port: strict.httpPort)
        #expect(refused.status == 429 && refused.headers["Retry-After"] != nil)
        #expect(try await chat.signIn(alice.handle).status == 201)
        #expect(await strict.stop())
    }
}
