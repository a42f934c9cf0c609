// A browser's session: its refresh token is in a cookie that no script sees, and goes nowhere else.
import Foundation
import HTTP
import ServiceKit
import TestSupport
import Testing

@testable import MessagingCore

@Suite(.timeLimit(.minutes(2))) struct RefreshCookieTests {
    private func signedUp(_ chat: Chat) async throws -> (handle: String, answer: Chat.Answer) {
        let handle = "web-\(UUID().uuidString.prefix(8).lowercased())"
        let answer = try await chat.call(
            .post, "/v1/accounts", String(Chat.signUp(handle).dropLast()) + #","refreshTokenIn":"cookie"}"#)
        return (handle, answer)
    }

    /// The pair that a browser would send back.
    private func pair(_ answer: Chat.Answer) throws -> String {
        String(try #require(answer.headers["set-cookie"]).prefix { $0 != ";" })
    }

    private func refresh(_ chat: Chat, _ cookie: String, _ more: [(String, String)] = []) async throws -> Chat.Answer {
        try await chat.call(.post, "/v1/sessions/refresh", "{}", headers: [("Cookie", cookie)] + more)
    }

    @Test func theTokenIsInTheCookieAloneAndEachTradeGivesTheNext() async throws {
        let chat = try await Chat.shared()
        let (handle, first) = try await signedUp(chat)
        let field = try #require(first.headers["set-cookie"])
        for part in ["Path=/v1/sessions/refresh", "HttpOnly", "Secure", "SameSite=Strict", "Max-Age=2592000"] {
            #expect(field.contains("; \(part)"), "\(field)")
        }
        #expect(first["refreshToken"] == nil)

        let signedIn = try await chat.call(
            .post, "/v1/sessions",
            #"{"handle":"\#(handle)","password":"\#(Chat.password)","refreshTokenIn":"cookie"}"#)
        #expect(signedIn.status == 201 && signedIn["refreshToken"] == nil)
        #expect(try pair(signedIn) != pair(first))

        let second = try await refresh(chat, "other=1; \(pair(first)); last=2", [("Sec-Fetch-Site", "same-origin")])
        #expect(second.status == 200 && second["refreshToken"] == nil)
        #expect(try pair(second) != pair(first))
        #expect(try await !chat.isRefused(try #require(second["accessToken"]?.string)))
        #expect(try await refresh(chat, pair(second)).status == 200)
    }

    @Test func whoAsksForTheBodyGetsNoCookie() async throws {
        let chat = try await Chat.shared()
        let alice = try await chat.person("alice")
        for place in ["", #","refreshTokenIn":"body""#, #","refreshTokenIn":null"#] {
            let answer = try await chat.call(
                .post, "/v1/sessions", #"{"handle":"\#(alice.handle)","password":"\#(Chat.password)"\#(place)}"#)
            #expect(answer.headers["set-cookie"] == nil && answer["refreshToken"]?.string != nil, "\(place)")
        }
        #expect(try await chat.refresh(alice.refreshToken).headers["set-cookie"] == nil)
        let wrong = try await chat.call(
            .post, "/v1/sessions",
            #"{"handle":"\#(alice.handle)","password":"\#(Chat.password)","refreshTokenIn":"page"}"#)
        #expect(wrong.status == 400 && wrong.wrongFields == ["refreshTokenIn"])
    }

    @Test func anotherOriginsPageIsRefusedAndUsesNothingUp() async throws {
        let chat = try await Chat.shared()
        let cookie = try pair(try await signedUp(chat).answer)
        for site in ["same-site", "cross-site", "elsewhere"] {
            #expect(try await refresh(chat, cookie, [("Sec-Fetch-Site", site)]).status == 403, "\(site)")
        }
        // Nor may it sign the browser in as somebody.
        let handle = "other-\(UUID().uuidString.prefix(8).lowercased())"
        let body = String(Chat.signUp(handle).dropLast()) + #","refreshTokenIn":"cookie"}"#
        let session = #"{"handle":"\#(handle)","password":"\#(Chat.password)","refreshTokenIn":"cookie"}"#
        for (path, body) in [("/v1/accounts", body), ("/v1/sessions", session)] {
            let answer = try await chat.call(.post, path, body, headers: [("Sec-Fetch-Site", "same-site")])
            #expect(answer.status == 403 && answer.headers["set-cookie"] == nil, "\(path)")
        }
        // Neither was it used, nor taken away.
        #expect(try await refresh(chat, cookie, [("Sec-Fetch-Site", "same-origin")]).status == 200)
    }

    @Test func whatIsNotTakenIsTakenAway() async throws {
        let chat = try await Chat.shared()
        let long = String(repeating: "x", count: 4000)
        for token in ["unknown", long] {
            let answer = try await refresh(chat, "\(RefreshCookie.name)=\(token)")
            #expect(answer.status == 401 && answer.problem == "refresh-token-refused", "\(token.prefix(40))")
            #expect(answer.headers["set-cookie"] == RefreshCookie.cleared)
        }
        for cookie in ["\(RefreshCookie.name)=", "x=\(RefreshCookie.name)=y", "", long] {
            let answer = try await refresh(chat, cookie)
            #expect(answer.status == 400 && answer.wrongFields == ["refreshToken"], "\(cookie.prefix(40))")
        }
    }

    @Test func signingOutTakesTheCookieAwayAndEndsTheSession() async throws {
        let chat = try await Chat.shared()
        let (handle, answer) = try await signedUp(chat)
        let token = try #require(answer["accessToken"]?.string)
        let other = try await chat.signIn(handle)
        // Another's end is nothing to the cookie of the one that asks.
        let sessions = try await chat.call(.get, "/v1/sessions", token: token).items
        let otherID = try #require(sessions.first { $0["isCurrent"] == .boolean(false) }?["sessionId"]?.string)
        let ended = try await chat.call(.delete, "/v1/sessions/\(otherID)", token: token)
        #expect(ended.status == 204 && ended.headers["set-cookie"] == nil)
        #expect(try await chat.refresh(try #require(other["refreshToken"]?.string)).status == 401)

        let own = try await chat.call(.delete, "/v1/sessions/current", token: token)
        #expect(own.status == 204 && own.headers["set-cookie"] == RefreshCookie.cleared)
        #expect(try await chat.isRefused(token))
        #expect(try await refresh(chat, pair(answer)).status == 401)
    }

    @Test func allWaysToEndTheOwnSessionTakeItAway() async throws {
        let chat = try await Chat.shared()
        let first = try #require(try await signedUp(chat).answer["accessToken"]?.string)
        let all = try await chat.call(.delete, "/v1/sessions", token: first)
        #expect(all.headers["set-cookie"] == RefreshCookie.cleared)
        let second = try #require(try await signedUp(chat).answer["accessToken"]?.string)
        let gone = try await chat.call(
            .delete, "/v1/accounts/me", #"{"password":"\#(Chat.password)"}"#, token: second)
        #expect(gone.status == 204 && gone.headers["set-cookie"] == RefreshCookie.cleared)
    }
}
