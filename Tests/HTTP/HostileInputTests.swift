// Requests that are wrong by accident or on purpose.
import Foundation
import HTTP
import Observability
import TestSupport
import Testing

@Suite struct HostileInputTests {
    private static let smuggled = "GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n"

    /// Says `request` to a server that would notice a smuggled second request; gives all that was answered.
    private func hostile(_ request: String, closes: Bool = true) async throws -> String {
        let noticed = Tally()
        let routes = [
            hello, echo,
            Route.inline(.get, "/smuggled") { _ in
                noticed.add()
                return .text("smuggled")
            },
        ]
        var heard = ""
        try await withServer(routes, configure: { $0.headerSeconds = 2 }) { port, _ in
            let peer = try RawPeer(port: port)
            await peer.say(request)
            if closes { peer.closeItsSide() }
            heard = try await peer.hearToTheEnd()
            #expect(try await RawPeer(port: port).get("/hello").body == "hello", "the server must live on")
        }
        #expect(noticed.count == 0, "\(request.debugDescription) smuggled a request")
        return heard
    }

    @Test(arguments: [
        "Content-Length: 5\r\nTransfer-Encoding: chunked", "Transfer-Encoding: chunked\r\nContent-Length: 5",
        "Content-Length: 5\r\nContent-Length: 0", "Content-Length: 0\r\nContent-Length: 0",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity", "Transfer-Encoding: xchunked",
        "Transfer-Encoding: chunked, identity", "Transfer-Encoding: identity, chunked",
        "Transfer-Encoding: \"chunked\"",
        "Transfer-Encoding:\u{0b}chunked", "Content-Length: +5", "Content-Length: -5", "Content-Length: 5, 5",
        "Content-Length: 0x5", "Content-Length: 5 5", "Content-Length: 99999999999999999999999", "Content-Length: ",
        "Content-Length : 5", "Transfer-Encoding : chunked", " Transfer-Encoding: chunked\r\nContent-Length: 5",
        "X: y\r\n Content-Length: 5\r\nTransfer-Encoding:\r\n chunked",
    ])
    func aBodyWhoseLengthIsDoubtfulIsRefusedAndTheConnectionClosed(fields: String) async throws {
        let heard = try await hostile(
            "POST /echo HTTP/1.1\r\nHost: a\r\n\(fields)\r\n\r\n0\r\n\r\n\(Self.smuggled)")
        #expect(!heard.hasPrefix("HTTP/1.1 2"), "\(heard)")
        #expect(heard.isEmpty || heard.hasPrefix("HTTP/1.1 4") || heard.hasPrefix("HTTP/1.1 5"), "\(heard)")
    }

    @Test(arguments: [
        "5\r\nhello\r\n0\r\n\r\n", "5;ext=1\r\nhello\r\n0\r\n\r\n", "2\r\nhe\r\n3\r\nllo\r\n0\r\nTrailer: x\r\n\r\n",
    ])
    func aBodyInChunksArrivesWhole(chunks: String) async throws {
        let heard = try await hostile(
            "POST /echo HTTP/1.1\r\nHost: a\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n\(chunks)")
        #expect(heard.hasPrefix("HTTP/1.1 200") && heard.hasSuffix("hello"))
    }

    @Test(arguments: [
        "zz\r\nhello\r\n0\r\n\r\n", "-5\r\nhello\r\n0\r\n\r\n", "5\r\nhelloXX0\r\n\r\n", "5\r\nhel",
        "FFFFFFFFFFFFFFFFF\r\nhello\r\n0\r\n\r\n", "\r\nhello\r\n0\r\n\r\n",
    ])
    func brokenChunksAreNeverAnsweredAsIfTheyWereWhole(chunks: String) async throws {
        let heard = try await hostile(
            "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n\(chunks)\(Self.smuggled)")
        #expect(!heard.contains("HTTP/1.1 200"), "\(heard)")
    }

    @Test(arguments: [
        "GET\r\n\r\n", "GET /hello\r\n\r\n", "GET /hello HTTP/2.0\r\nHost: a\r\n\r\n",
        "GET /hello HTTP/1.2\r\nHost: a\r\n\r\n",
        "GET /hello XTTP/1.1\r\nHost: a\r\n\r\n", "GET hello HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET  HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET /hel lo HTTP/1.1\r\nHost: a\r\n\r\n", "GET /hello HTTP/1.1\r\n\r\n",
        "GET /hello HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", "GET /hello HTTP/1.1\r\nHost: a\r\nBad Name: x\r\n\r\n",
        "GET /hello HTTP/1.1\r\nHost: a\r\nno colon\r\n\r\n",
        "GET /hello HTTP/1.1\r\nHost: a\r\nX: a\u{01}b\r\n\r\n", "\u{16}\u{03}\u{01}\u{02}\u{00}\u{01}\u{00}",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "GET /../hello HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET /%2e%2e/hello HTTP/1.1\r\nHost: a\r\n\r\n", "GET /hello%00 HTTP/1.1\r\nHost: a\r\n\r\n",
        "CONNECT a:443 HTTP/1.1\r\nHost: a\r\n\r\n", "GET http://a\\b/hello HTTP/1.1\r\nHost: a\r\n\r\n",
    ])
    func whatIsNoRequestIsNeverServed(request: String) async throws {
        let heard = try await hostile(request)
        #expect(!heard.contains("HTTP/1.1 2"), "\(heard)")
    }

    /// Those of the library's parser too, which answers by itself.
    @Test(arguments: [
        (400, "GET /hello\r\n\r\n"), (505, "GET /hello HTTP/2.0\r\nHost: a\r\n\r\n"),
        (505, "GET /hello HTTP/1.2\r\nHost: a\r\n\r\n"), (400, "GET /hello XTTP/1.1\r\nHost: a\r\n\r\n"),
        (400, "GET hello HTTP/1.1\r\nHost: a\r\n\r\n"), (400, "GET /hello HTTP/1.1\r\n\r\n"),
        (400, "GET /hello HTTP/1.1\r\nHost: a\r\nno colon\r\n\r\n"), (505, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
        (400, "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: +5\r\n\r\n"),
        (413, "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999\r\n\r\n"),
        (400, "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"),
        (400, "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhelloXX0\r\n\r\n"),
        (417, "GET /hello HTTP/1.1\r\nHost: a\r\nExpect: x\r\n\r\n"), (404, "GET /x HTTP/1.1\r\nHost: a\r\n\r\n"),
        (405, "PUT /hello HTTP/1.1\r\nHost: a\r\n\r\n"), (501, "BREW /hello HTTP/1.1\r\nHost: a\r\n\r\n"),
        (431, "GET /hello HTTP/1.1\r\nHost: a\r\nX: " + String(repeating: "x", count: 40_000) + "\r\n\r\n"),
        (414, "GET /" + String(repeating: "x", count: 40_000) + " HTTP/1.1\r\nHost: a\r\n\r\n"),
    ])
    func everyRefusalIsOneProblemWithARequestID(status: Int, request: String) async throws {
        try await withServer([hello, echo]) { port, _ in
            let peer = try RawPeer(port: port)
            await peer.say(request)
            peer.closeItsSide()
            let answer = try await peer.answer()
            #expect(answer.status == status)
            #expect(answer.fields["content-type"] == "application/problem+json")
            let id = try #require(answer.fields["x-request-id"])
            #expect(id.utf8.count == 32 && answer.body.contains("\"traceId\":\"\(id)\""))
            #expect((answer.fields["allow"] != nil) == (status == 405))
            #expect(try await peer.hearToTheEnd().isEmpty)
        }
    }

    /// A route of large bodies asks by the head who sends one.
    @Test func whoMayNotSendABodyIsToldBeforeItIsRead() async throws {
        let route = Route(.post, "/large", bodyBytesMax: 4 << 20) { .text("\($0.body.count)") }
            .admitting { if $0.bearerToken != "good" { throw Problem.unauthorized() } }
            // What else is said of a route takes nothing of it away.
            .answering { $1.with("Cache-Control", "no-store") }
        try await withServer([route]) { port, _ in
            let head = "POST /large HTTP/1.1\r\nHost: a\r\nContent-Length: 4000000\r\n"
            for fields in ["", "Authorization: Bearer bad\r\n", "Expect: 100-continue\r\n"] {
                let answer = try await RawPeer(port: port).ask(head + fields + "\r\n")
                #expect(answer.status == 401 && answer.fields["connection"] == "close")
                #expect(answer.fields["www-authenticate"] == "Bearer")
            }
            let body = String(repeating: "x", count: 4_000_000)
            let answer = try await RawPeer(port: port).post("/large", body, fields: "Authorization: Bearer good\r\n")
            #expect(answer.body == "4000000")
        }
        // What a gate says comes first.
        let closed = route.guarded { throw Problem.unavailable(retryAfterSeconds: 1) }
        try await withServer([closed]) { port, _ in
            let answer = try await RawPeer(port: port).post("/large", "x")
            #expect(answer.status == 503)
        }
    }

    @Test func randomBytesNeverStopTheServer() async throws {
        var random = SeededRandom(seed: 5)
        let pieces = [
            "GET ", "POST ", "/hello", "/echo", " HTTP/1.1", "\r\n", "\n", "\r", "Host: a", "Content-Length: 3",
            "Transfer-Encoding: chunked", ":", " ", "\0", "abc", "\u{ff}", "0\r\n\r\n", "3\r\nabc\r\n",
            "Expect: 100-continue",
            "Connection: close", "\r\n\r\n",
        ]
        try await withServer([hello, echo]) { port, _ in
            for _ in 0..<300 {
                let peer = try RawPeer(port: port)
                let text = (0..<random.int(in: 1...24)).map { _ in random.pick(pieces) }.joined()
                await peer.say(text)
                peer.closeItsSide()
                _ = try await peer.hearToTheEnd()
            }
            #expect(try await RawPeer(port: port).get("/hello").body == "hello")
        }
    }

    @Test func aTargetOrFieldsThatAreTooLongAreRefused() async throws {
        try await withServer([hello], configure: { $0.headerBytesMax = 4_096 }) { port, _ in
            let long = try await RawPeer(port: port).get("/hello?\(String(repeating: "x", count: 5_000))")
            #expect(long.status == 414 && long.fields["content-type"] == "application/problem+json")
            let wide = try await RawPeer(port: port).get(
                "/hello", fields: "X: \(String(repeating: "x", count: 5_000))\r\n")
            #expect(wide.status == 431 && wide.fields["content-type"] == "application/problem+json")
            let peer = try RawPeer(port: port)
            await peer.say("GET /hello HTTP/1.1\r\nHost: a\r\n" + String(repeating: "X: yyyyyyyy\r\n", count: 100_000))
            #expect([431, 413].contains(try await peer.answer().status))
            #expect(
                try await RawPeer(port: port).get("/hello", fields: "X: \(String(repeating: "x", count: 3_000))\r\n")
                    .status == 200)
        }
    }

    @Test func aBodyThatIsTooLongIsRefusedWithoutBeingRead() async throws {
        let route = Route(.post, "/small", bodyBytesMax: 10) { _ in .text("read") }
        try await withServer([route]) { port, _ in
            let announced = try await RawPeer(port: port).ask(
                "POST /small HTTP/1.1\r\nHost: a\r\nContent-Length: 10000000000\r\n\r\nabc")
            #expect(announced.status == 413 && announced.fields["connection"] == "close")
            let polite = try await RawPeer(port: port).ask(
                "POST /small HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 11\r\n\r\n")
            #expect(polite.status == 413)
            let chunked = try RawPeer(port: port)
            await chunked.say(
                "POST /small HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n6\r\nabcdef\r\n6\r\nabcdef\r\n")
            #expect(try await chunked.answer().status == 413)
            // A sender that goes on sending still hears the refusal.
            let stubborn = try RawPeer(port: port)
            await stubborn.say("POST /small HTTP/1.1\r\nHost: a\r\nContent-Length: 900000\r\n\r\n")
            await stubborn.say(String(repeating: "x", count: 900_000))
            #expect(try await stubborn.answer().status == 413)
            #expect(try await RawPeer(port: port).post("/small", "0123456789").body == "read")
        }
    }

    @Test func aClientThatAsksFirstIsToldToGoOn() async throws {
        try await withServer([echo]) { port, _ in
            let peer = try RawPeer(port: port)
            await peer.say("POST /echo HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n")
            #expect(try await peer.hear(until: "\r\n\r\n").hasPrefix("HTTP/1.1 100"))
            await peer.say("hello")
            #expect(try await peer.answer().body == "hello")
            #expect(try await peer.ask("POST /echo HTTP/1.1\r\nHost: a\r\nExpect: miracles\r\n\r\n").status == 417)
        }
    }

    @Test func pipelinedRequestsAreAnsweredInOrder() async throws {
        let route = Route(.get, "/n/{n}") { request in
            if request.pathParameters["n"] == "1" { for _ in 0..<50 { await Task.yield() } }
            return .text("answer \(request.pathParameters["n"] ?? "")")
        }
        try await withServer([route, echo]) { port, _ in
            let peer = try RawPeer(port: port)
            await peer.say(
                (1...5).map { "GET /n/\($0) HTTP/1.1\r\nHost: a\r\n\r\n" }.joined()
                    + "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nokGET /n/7 HTTP/1.1\r\nHost: a\r\n\r\n"
            )
            for n in 1...5 { #expect(try await peer.answer().body == "answer \(n)") }
            #expect(try await peer.answer().body == "ok")
            #expect(try await peer.answer().body == "answer 7")
        }
    }

    @Test func aPeerThatHasClosedItsSideStillGetsItsAnswer() async throws {
        let (started, gate) = (Tally(), Gate())
        let route = Route(.get, "/wait") { _ in
            started.add()
            await gate.passStubbornly()
            return .text("late")
        }
        try await withServer([route]) { port, _ in
            let peer = try RawPeer(port: port)
            await peer.say("GET /wait HTTP/1.1\r\nHost: a\r\n\r\n")
            peer.closeItsSide()
            await started.reach(1)
            gate.open()
            #expect(try await peer.hearToTheEnd().hasSuffix("late"))
        }
    }

    @Test func aConnectionWhoseEndComesWithItsLastRequestIsClosedAfterTheAnswer() async throws {
        try await withServer([hello]) { port, _ in
            for _ in 0..<20 {
                let peer = try RawPeer(port: port)
                await peer.say("GET /hello HTTP/1.1\r\nHost: a\r\n\r\nGET /hello HTTP/1.1\r\nHost: a\r\n\r\n")
                peer.closeItsSide()
                let heard = try await peer.hearToTheEnd()
                #expect(heard.split(separator: "HTTP/1.1 200").count == 2)
            }
        }
    }

    @Test func aPeerThatGoesAwayWhileItsHandlerRunsHarmsNobody() async throws {
        let (started, ended, gate) = (Tally(), Tally(), Gate())
        let route = Route(.get, "/wait") { _ in
            started.add()
            await gate.passStubbornly()
            ended.add()
            return .text(String(repeating: "x", count: 1 << 20))
        }
        try await withServer([route, hello]) { port, _ in
            for _ in 0..<20 {
                let peer = try RawPeer(port: port)
                await peer.say("GET /wait HTTP/1.1\r\nHost: a\r\n\r\n")
            }
            await started.reach(20)
            gate.open()
            await ended.reach(20)
            #expect(try await RawPeer(port: port).get("/hello").body == "hello")
        }
    }
}
