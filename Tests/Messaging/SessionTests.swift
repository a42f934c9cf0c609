// What ends a session, what does not, and what that does to its tokens.
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

@Suite(.timeLimit(.minutes(2))) struct SessionTests {
    // MARK: Refreshing

    @Test func anAnswerThatWasLostIsGivenAgainAndThoseAtOnceGetTheSame() async throws {
        let chat = try await Chat.shared()
        let alice = try await chat.person("alice")
        let answers = try await withThrowingTaskGroup(of: Chat.Answer.self) { group in
            for _ in 0..<8 { group.addTask { try await chat.refresh(alice.refreshToken) } }
            return try await group.reduce(into: []) { $0.append($1) }
        }
        #expect(answers.allSatisfy { $0.status == 200 })
        let next = Set(answers.compactMap { $0["refreshToken"]?.string })
        #expect(next.count == 1 && !next.contains(alice.refreshToken))
        for answer in answers {
            #expect(try await !chat.isRefused(try #require(answer["accessToken"]?.string)))
        }
        #expect(try await chat.refresh(try #require(next.first)).status == 200)
    }

    @Test func aTokenWhoseSuccessorWasUsedEndsTheSessionWithItsAccessTokens() async throws {
        let chat = try await Chat.shared()
        let second = try await RunningService.start(
            MessagingService.self,
            environment: Chat.environment(chat.broker, chat.database).merging(["STAMPEDE_INSTANCE": "second"]) { $1 })
        let alice = try await chat.person("alice")
        let next = try #require(try await chat.refresh(alice.refreshToken)["refreshToken"]?.string)
        let last = try await chat.refresh(next)
        let tokens = [alice.token, try #require(last["accessToken"]?.string)]
        for token in tokens { #expect(try await !chat.isRefused(token, port: second.httpPort)) }

        let stolen = try await chat.refresh(alice.refreshToken)
        #expect(stolen.status == 401 && stolen.problem == "refresh-token-refused")
        #expect(stolen["detail"]?.string?.contains("used before") == true)
        for token in tokens { #expect(try await chat.isRefused(token)) }
        // The other instance hears of it.
        for token in tokens {
            try await eventually("refused everywhere") { try await chat.isRefused(token, port: second.httpPort) }
        }
        // The whole family is refused, the newest too.
        #expect(try await chat.refresh(try #require(last["refreshToken"]?.string)).status == 401)
        #expect(await second.stop())
    }

    @Test func theAnswerIsNotGivenAgainAfterTheGrace() async throws {
        let chat = try await Chat.shared()
        let alice = try await chat.person("alice")
        let pool = try chat.pool()
        let (digest, next) = (Digest.sha256(alice.refreshToken.utf8), Digest.sha256("next".utf8))
        func refresh(after seconds: Int64) async throws -> SessionCommands.Refresh {
            let now = Timestamp.now().adding(seconds: seconds)
            return try await pool.transaction { transaction in
                try await SessionCommands.refresh(digest: digest, with: next, at: now, in: transaction)
            }
        }
        let first = try await refresh(after: 0)
        #expect(try await refresh(after: SessionStatements.graceSeconds - 2) == first)
        guard case .reused = try await refresh(after: SessionStatements.graceSeconds + 1) else {
            Issue.record("given again")
            return
        }
        await pool.close()
    }

    // MARK: Ending

    @Test func anEndedSessionIsOverInEveryWay() async throws {
        let chat = try await Chat.shared()
        let alice = try await chat.person("alice")
        let bob = try await chat.person("bob")
        let other = try #require(try await chat.signIn(alice.handle)["accessToken"]?.string)
        let sessions = try await chat.call(.get, "/v1/sessions", token: alice.token)
        let current = try #require(sessions.items.first { $0["isCurrent"]?.boolean == true })
        let id = try #require(current["sessionId"]?.string)
        #expect(try await chat.call(.delete, "/v1/sessions/\(id)", token: bob.token).status == 404)
        // Its stream, too.
        let request = ClientRequest(
            .get, "http://127.0.0.1:\(chat.service.httpPort)/v1/events",
            headers: [("Authorization", "Bearer \(alice.token)")])
        var events = chat.http.events(request).makeAsyncIterator()
        #expect(try await events.next()?.event == "ready")
        #expect(try await chat.call(.delete, "/v1/sessions/\(id)", token: other).status == 204)
        // It is closed; whoever comes back with the token is refused.
        await #expect(throws: HTTPClientError.self) { while try await events.next() != nil {} }
        #expect(try await chat.refresh(alice.refreshToken).status == 401)
        #expect(try await chat.isRefused(alice.token))
        #expect(try await !chat.isRefused(other))
        #expect(try await chat.call(.delete, "/v1/sessions/\(id)", token: other).status == 404)
    }

    @Test func signingOutEverywhereEndsAllSessionsAndNobodyElses() async throws {
        let chat = try await Chat.shared()
        let (alice, bob) = (try await chat.person("alice"), try await chat.person("bob"))
        let other = try await chat.signIn(alice.handle)
        #expect(try await chat.call(.delete, "/v1/sessions", token: alice.token).status == 204)
        for token in [alice.token, try #require(other["accessToken"]?.string)] {
            #expect(try await chat.isRefused(token))
        }
        for token in [alice.refreshToken, try #require(other["refreshToken"]?.string)] {
            #expect(try await chat.refresh(token).status == 401)
        }
        #expect(try await !chat.isRefused(bob.token))
        #expect(try await chat.signIn(alice.handle).status == 201)
    }

    @Test func sessionsOfOneAccountAreBounded() async throws {
        let chat = try await Chat.shared()
        let alice = try await chat.person("alice")
        let pool = try chat.pool()
        let old = Timestamp.now().adding(seconds: -86_400)
        let ids = (0..<SessionStatements.sessionsMax).map { _ in SessionID.random() }
        try await pool.execute(
            SessionStatements.insertWithoutRefresh(
                ids, of: ids.map { _ in alice.id }, device: "old", at: old, expiresAt: .distantFuture))
        #expect(try await chat.signIn(alice.handle).status == 201)
        let count = try await pool.query("SELECT count(*) FROM sessions WHERE account_id = \(alice.id)").first
        #expect(try count?.get(0, as: Int64.self) == Int64(SessionStatements.sessionsMax))
        // The newest stay.
        #expect(try await chat.refresh(alice.refreshToken).status == 200)
        await pool.close()
    }

    @Test func whatHasServedItsTimeIsRemoved() async throws {
        let chat = try await Chat.shared()
        let alice = try await chat.person("alice")
        let pool = try chat.pool()
        let (session, ended) = (SessionID.random(), SessionID.random())
        let now = Timestamp.now()
        try await pool.execute(
            SessionStatements.insertWithoutRefresh(
                [session], of: [alice.id], device: "expired", at: now, expiresAt: now))
        try await pool.execute("INSERT INTO ended_sessions VALUES (\(ended), \(now))")
        try await pool.execute("INSERT INTO attempts VALUES (\(Array(ended.description.utf8)), 1, \(now))")
        let long = now.adding(seconds: -SessionStatements.refreshSeconds - 1)
        let digest = Digest.sha256(ended.description.utf8)
        let own = try #require(
            try await pool.query(
                "SELECT session_id FROM sessions WHERE account_id = \(alice.id) AND device <> 'expired'"
            )
            .column(0, as: SessionID.self).first)
        try await pool.execute("INSERT INTO refresh_tokens VALUES (\(digest), \(own), \(long))")
        let relay = try #require(chat.service.service.components.compactMap { $0 as? Relay }.first)
        try await IdentitySweep.sweep(relay)
        let left = try await pool.query(
            """
            SELECT 1 FROM sessions WHERE session_id = \(session)
            UNION ALL SELECT 1 FROM ended_sessions WHERE session_id = \(ended)
            UNION ALL SELECT 1 FROM attempts WHERE ends_at <= \(now)
            UNION ALL SELECT 1 FROM refresh_tokens WHERE digest = \(digest)
            """)
        #expect(left.isEmpty)
        // What is in use is left.
        #expect(try await chat.refresh(alice.refreshToken).status == 200)
        await pool.close()
    }
}
