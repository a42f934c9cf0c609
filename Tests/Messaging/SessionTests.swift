// What ends a session, what does not, and what that does to its tokens; passwords; leaving.
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
    private func refresh(_ chat: Chat, _ token: String) async throws -> Chat.Answer {
        try await chat.call(.post, "/v1/sessions/refresh", #"{"refreshToken":"\#(token)"}"#)
    }

    private func signIn(_ chat: Chat, _ handle: String, _ password: String = Chat.password) async throws -> Chat.Answer
    {
        try await chat.call(.post, "/v1/sessions", #"{"handle":"\#(handle)","password":"\#(password)"}"#)
    }

    private func isRefused(_ chat: Chat, _ token: String, port: UInt16? = nil) async throws -> Bool {
        try await chat.call(.get, "/v1/brands", token: token, port: port).status == 401
    }

    // MARK: Refreshing

    @Test func anAnswerThatWasLostIsGivenAgainAndThoseAtOnceGetTheSame() async throws {
        let chat = try await Chat.shared()
        let alice = try await chat.person("alice")
        let answers = try await withThrowingTaskGroup(of: Chat.Answer.self) { group in
            for _ in 0..<8 { group.addTask { try await refresh(chat, alice.refreshToken) } }
            return try await group.reduce(into: []) { $0.append($1) }
        }
        #expect(answers.allSatisfy { $0.status == 200 })
        let next = Set(answers.compactMap { $0["refreshToken"]?.string })
        #expect(next.count == 1 && !next.contains(alice.refreshToken))
        for answer in answers {
            #expect(try await !isRefused(chat, try #require(answer["accessToken"]?.string)))
        }
        #expect(try await refresh(chat, try #require(next.first)).status == 200)
    }

    @Test func aTokenWhoseSuccessorWasUsedEndsTheSessionWithItsAccessTokens() async throws {
        let chat = try await Chat.shared()
        let second = try await RunningService.start(
            MessagingService.self,
            environment: Chat.environment(chat.broker, chat.database).merging(["STAMPEDE_INSTANCE": "second"]) { $1 })
        let alice = try await chat.person("alice")
        let next = try #require(try await refresh(chat, alice.refreshToken)["refreshToken"]?.string)
        let last = try await refresh(chat, next)
        let tokens = [alice.token, try #require(last["accessToken"]?.string)]
        for token in tokens { #expect(try await !isRefused(chat, token, port: second.httpPort)) }

        let stolen = try await refresh(chat, alice.refreshToken)
        #expect(stolen.status == 401 && stolen.problem == "refresh-token-refused")
        #expect(stolen["detail"]?.string?.contains("used before") == true)
        for token in tokens { #expect(try await isRefused(chat, token)) }
        // The other instance hears of it.
        for token in tokens {
            try await eventually("refused everywhere") { try await isRefused(chat, token, port: second.httpPort) }
        }
        // The whole family is refused, the newest too.
        #expect(try await refresh(chat, try #require(last["refreshToken"]?.string)).status == 401)
        #expect(await second.stop())
    }

    @Test func theAnswerIsNotGivenAgainAfterTheGrace() async throws {
        let chat = try await Chat.shared()
        let alice = try await chat.person("alice")
        let pool = try chat.pool()
        let (digest, next) = (Digest.sha256(alice.refreshToken.utf8), Digest.sha256("next".utf8))
        func refresh(after seconds: Int64) async throws -> SessionStorage.Refresh {
            let now = Timestamp.now().adding(seconds: seconds)
            return try await pool.transaction { transaction in
                try await SessionStorage.refresh(digest: digest, with: next, at: now, in: transaction)
            }
        }
        let first = try await refresh(after: 0)
        #expect(try await refresh(after: SessionStorage.graceSeconds - 2) == first)
        guard case .reused = try await refresh(after: SessionStorage.graceSeconds + 1) else {
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
        let other = try #require(try await signIn(chat, alice.handle)["accessToken"]?.string)
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
        #expect(try await refresh(chat, alice.refreshToken).status == 401)
        #expect(try await isRefused(chat, alice.token))
        #expect(try await !isRefused(chat, other))
        #expect(try await chat.call(.delete, "/v1/sessions/\(id)", token: other).status == 404)
    }

    @Test func signingOutEverywhereEndsAllSessionsAndNobodyElses() async throws {
        let chat = try await Chat.shared()
        let (alice, bob) = (try await chat.person("alice"), try await chat.person("bob"))
        let other = try await signIn(chat, alice.handle)
        #expect(try await chat.call(.delete, "/v1/sessions", token: alice.token).status == 204)
        for token in [alice.token, try #require(other["accessToken"]?.string)] {
            #expect(try await isRefused(chat, token))
        }
        for token in [alice.refreshToken, try #require(other["refreshToken"]?.string)] {
            #expect(try await refresh(chat, token).status == 401)
        }
        #expect(try await !isRefused(chat, bob.token))
        #expect(try await signIn(chat, alice.handle).status == 201)
    }

    @Test func sessionsOfOneAccountAreBounded() async throws {
        let chat = try await Chat.shared()
        let alice = try await chat.person("alice")
        let pool = try chat.pool()
        let old = Timestamp.now().adding(seconds: -86_400)
        let ids = (0..<SessionStorage.sessionsMax).map { _ in SessionID.random() }
        try await pool.transaction { transaction in
            try await SessionStorage.insertWithoutRefresh(
                ids, of: ids.map { _ in alice.id }, device: "old", at: old, expiresAt: .distantFuture, in: transaction)
        }
        #expect(try await signIn(chat, alice.handle).status == 201)
        let count = try await pool.query("SELECT count(*) FROM sessions WHERE account_id = \(alice.id)").first
        #expect(try count?.get(0, as: Int64.self) == Int64(SessionStorage.sessionsMax))
        // The newest stay.
        #expect(try await refresh(chat, alice.refreshToken).status == 200)
        await pool.close()
    }

    @Test func whatHasServedItsTimeIsRemoved() async throws {
        let chat = try await Chat.shared()
        let alice = try await chat.person("alice")
        let pool = try chat.pool()
        let (session, ended) = (SessionID.random(), SessionID.random())
        let now = Timestamp.now()
        try await pool.transaction { transaction in
            try await SessionStorage.insertWithoutRefresh(
                [session], of: [alice.id], device: "expired", at: now, expiresAt: now, in: transaction)
        }
        try await pool.execute("INSERT INTO ended_sessions VALUES (\(ended), \(now))")
        try await pool.execute("INSERT INTO attempts VALUES (\(Array(ended.description.utf8)), 1, \(now))")
        let long = now.adding(seconds: -SessionStorage.refreshSeconds - 1)
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
        #expect(try await refresh(chat, alice.refreshToken).status == 200)
        await pool.close()
    }

    // MARK: Attempts

    @Test func ofManyGuessesAtOnceOnlyTenAreCheckedWhateverInstanceTheyAskAndSuccessesCountForNothing() async throws {
        let chat = try await Chat.shared()
        let second = try await RunningService.start(
            MessagingService.self,
            environment: Chat.environment(chat.broker, chat.database).merging(["STAMPEDE_INSTANCE": "second"]) { $1 })
        let alice = try await chat.person("alice")
        for _ in 0..<11 { #expect(try await signIn(chat, alice.handle).status == 201) }
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
        #expect(try await signIn(chat, alice.handle.uppercased()).status == 429)
        // Others are not concerned.
        #expect(try await signIn(chat, try await chat.person("bob").handle).status == 201)
        #expect(await second.stop())
    }

    @Test func whoGuessesAtAnAccountCalledOperatorKeepsNoOperatorOut() async throws {
        let chat = try await Chat.shared()
        for handle in ["operator", "operator 127.0.0.1"] {
            for _ in 0..<11 { _ = try await signIn(chat, handle, "wrong password") }
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
        func storage(_ seconds: Int64) -> AttemptStorage {
            AttemptStorage(postgres: pool, now: { start.adding(seconds: seconds) })
        }
        let limit = AttemptLimit.signUps(2, from: UUID().uuidString)
        let first = try await storage(0).take(limit)
        _ = try await storage(59).take(limit)
        do {
            _ = try await storage(59).take(limit)
            Issue.record("taken")
        } catch let problem as Problem {
            #expect(problem.status == 429 && problem.retryAfterSeconds == 1)
        }
        await storage(59).giveBack([first])
        _ = try await storage(59).take(limit)
        for _ in 0..<2 { _ = try await storage(60).take(limit) }
        // Of a window that is over nothing is given back.
        await storage(60).giveBack([first])
        await #expect(throws: Problem.self) { try await storage(61).take(limit) }
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
        #expect(try await signIn(chat, alice.handle).status == 201)
        #expect(await strict.stop())
    }

    // MARK: Passwords

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
            #expect(try await signIn(chat, handle, form).status == 201)
        }
        // What looks alike only is another one.
        #expect(try await signIn(chat, handle, composed.replacing("pf", with: "p\u{fb01}")).status == 401)
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
            #expect(try await signIn(chat, alice.handle, form).status == 201)
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
        let other = try await signIn(chat, alice.handle)
        func change(_ old: String, _ new: String) async throws -> Chat.Answer {
            try await chat.call(
                .put, "/v1/accounts/me/password", #"{"currentPassword":"\#(old)","newPassword":"\#(new)"}"#,
                token: alice.token)
        }
        let wrong = try await change("not that one", "a new password")
        #expect(wrong.status == 403 && wrong.problem == "wrong-password")
        #expect(try await change(Chat.password, "short").wrongFields == ["newPassword"])
        #expect(try await change(Chat.password, "a new password").status == 204)
        #expect(try await isRefused(chat, try #require(other["accessToken"]?.string)))
        #expect(try await refresh(chat, try #require(other["refreshToken"]?.string)).status == 401)
        #expect(try await !isRefused(chat, alice.token))
        #expect(try await refresh(chat, alice.refreshToken).status == 200)
        #expect(try await signIn(chat, alice.handle).status == 401)
        #expect(try await signIn(chat, alice.handle, "a new password").status == 201)
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

        #expect(try await isRefused(chat, alice.token))
        #expect(try await refresh(chat, alice.refreshToken).status == 401)
        #expect(try await signIn(chat, alice.handle).status == 401)
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
        #expect(try await isRefused(chat, token))
    }
}
