// Bounds of number and of time.
import Foundation
import HTTP
import Observability
import Testing
import TestSupport

@Suite struct LimitTests {
    @Test func oneRequestMoreThanAllowedIsToldSoAtOnce() async throws {
        let (started, gate) = (Tally(), Gate())
        let route = Route(.post, "/wait") { _ in
            started.add()
            await gate.passStubbornly()
            return .text("done")
        }
        try await withServer([route], configure: { $0.requestsMax = 2 }) { port, _ in
            let first = try [RawPeer(port: port), RawPeer(port: port)]
            for peer in first { await peer.say("POST /wait HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n") }
            await started.reach(2)
            let third = try RawPeer(port: port)
            let refused = try await third.post("/wait", "body")
            #expect(refused.status == 503 && refused.fields["retry-after"] == "1")
            gate.open()
            for peer in first { #expect(try await peer.answer().status == 200) }
            #expect(try await third.post("/wait", "body").status == 200)
        }
    }

    @Test func oneConnectionMoreThanAllowedIsToldSoAndClosed() async throws {
        try await withServer([hello], configure: { $0.connectionsMax = 2 }) { port, _ in
            let first = try RawPeer(port: port)
            #expect(try await first.get("/hello").status == 200)
            let second = try RawPeer(port: port)
            #expect(try await second.get("/hello").status == 200)
            let third = try RawPeer(port: port)
            let refused = try await third.answer()
            #expect(refused.status == 503 && refused.fields["retry-after"] == "1")
            #expect(try await first.get("/hello").status == 200)
        }
    }

    @Test func oneAddressHasSoManyConnectionsAndAnotherItsOwn() async throws {
        try await withServer([hello], configure: { $0.connectionsPerAddressMax = 2 }) { port, _ in
            var peers: [RawPeer] = []
            for _ in 0..<2 {
                peers.append(try RawPeer(port: port, from: "127.0.0.2"))
                #expect(try await peers.last?.get("/hello").status == 200)
            }
            let refused = try await RawPeer(port: port, from: "127.0.0.2").answer()
            #expect(refused.status == 429 && refused.fields["retry-after"] == "1")
            #expect(refused.fields["x-request-id"]?.utf8.count == 32)
            #expect(try await RawPeer(port: port, from: "127.0.0.3").get("/hello").status == 200)
            // A proxy speaks for many.
            for _ in 0..<4 {
                peers.append(try RawPeer(port: port))
                #expect(try await peers.last?.get("/hello").status == 200)
            }
            // One that ends makes room, a moment later.
            peers[0].closeItsSide()
            #expect(try await peers[0].hearToTheEnd().isEmpty)
            var status = 429
            while status == 429 {
                let next = try RawPeer(port: port, from: "127.0.0.2")
                await next.say("GET /hello HTTP/1.1\r\nHost: a\r\n\r\n")
                status = try await next.answer().status
            }
            #expect(status == 200)
        }
    }

    @Test func oneCallerHasItsRateAndAnotherItsOwn() async throws {
        let route = Route(.get, "/by/{caller}") { request in
            let caller = request.pathParameters["caller"].flatMap { UInt64($0) } ?? 0
            try request.count(callerHigh: caller, low: 1)
            return .empty()
        }
        // So slow that no request is paid off while the test runs.
        try await withServer([route], configure: { $0.callerRequestsPerSecondMax = 1 }) { port, _ in
            let peer = try RawPeer(port: port)
            var statuses: [Int] = []
            for _ in 0..<40 { statuses.append(try await peer.get("/by/1").status) }
            #expect(statuses.prefix(2) == [204, 204] && statuses.contains(429))
            #expect(try await peer.get("/by/2").status == 204)
        }
    }

    @Test func bodiesTogetherStayWithinTheirBound() async throws {
        try await withServer([echo], configure: { $0.bodyBytesMax = 10_000 }) { port, _ in
            let holding = try RawPeer(port: port)
            await holding.say(
                "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 9000\r\n\r\n" + String(repeating: "x", count: 8_000))
            // The first one's bytes are counted when the server has read them, which nothing tells: ask until it has.
            let other = try RawPeer(port: port)
            var answer = try await other.post("/echo", String(repeating: "y", count: 4_000))
            while answer.status == 200 { answer = try await other.post("/echo", String(repeating: "y", count: 4_000)) }
            #expect(answer.status == 503)
            await holding.say(String(repeating: "x", count: 1_000))
            #expect(try await holding.answer().body.utf8.count == 9_000)
            #expect(try await other.post("/echo", "z").body == "z")
        }
    }

    @Test func aHeadThatTricklesInIsCutOff() async throws {
        try await withServer([hello], configure: { $0.headerSeconds = 0.3 }) { port, _ in
            let peer = try RawPeer(port: port)
            await peer.say("GET /hello HTTP/1.1\r\nHost: a\r\n")
            let trickle = Task {
                while !Task.isCancelled {
                    await peer.say("X: y\r\n")
                    try await Task.sleep(for: .milliseconds(20))
                }
            }
            let answer = try await peer.answer()
            trickle.cancel()
            #expect(answer.status == 408)
            #expect(try await peer.hearToTheEnd().isEmpty)
        }
    }

    @Test func aBodyThatTricklesInIsCutOff() async throws {
        try await withServer([echo], configure: { $0.bodySeconds = 0.3 }) { port, _ in
            let peer = try RawPeer(port: port)
            await peer.say("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 60000\r\n\r\n")
            let trickle = Task {
                while !Task.isCancelled {
                    await peer.say("x")
                    try await Task.sleep(for: .milliseconds(20))
                }
            }
            let answer = try await peer.answer()
            trickle.cancel()
            #expect(answer.status == 408)
        }
    }

    @Test func aConnectionThatSaysNothingMoreIsClosed() async throws {
        try await withServer([hello], configure: { $0.keepAliveSeconds = 0.2 }) { port, _ in
            let peer = try RawPeer(port: port)
            #expect(try await peer.get("/hello").status == 200)
            #expect(try await peer.hearToTheEnd().isEmpty)
        }
    }

    @Test func aReaderThatDoesNotReadItsAnswerIsCutOff() async throws {
        let route = Route.inline(.get, "/big") { _ in
            HTTPResponse(200, body: .bytes([UInt8](repeating: 120, count: 32 << 20)))
        }
        let metrics = Metrics()
        try await withServer([route, hello], metrics: metrics, configure: { $0.responseSeconds = 0.3 }) { port, _ in
            let peer = try RawPeer(port: port, receiveBufferBytes: 4_096)
            await peer.say("GET /big HTTP/1.1\r\nHost: a\r\n\r\n")
            let other = try RawPeer(port: port)
            repeat {
                #expect(try await other.get("/hello").status == 200)
            } while metrics.render().contains("http_connections 2")
            #expect(try await peer.hearToTheEnd().utf8.count < 32 << 20)
        }
    }

    @Test func aHandlerThatTakesTooLongIsCancelledAndItsClientTold() async throws {
        let cancelled = Tally()
        let route = Route(.get, "/slow") { _ in
            do { try await Task.sleep(for: .seconds(600)) } catch {
                cancelled.add()
                throw error
            }
            return .empty()
        }
        try await withServer([route, hello], configure: { $0.handlerSeconds = 0.2 }) { port, _ in
            let peer = try RawPeer(port: port)
            #expect(try await peer.get("/slow").status == 503)
            await cancelled.reach(1)
            #expect(try await peer.get("/hello").status == 200)
        }
    }

    @Test func aHandlerThatIgnoresItsCancellationKeepsItsPlaceButNotItsClient() async throws {
        let (gate, ended) = (Gate(), Tally())
        let route = Route(.get, "/stubborn") { _ in
            await gate.passStubbornly()
            ended.add()
            return .text("too late")
        }
        try await withServer(
            [route, hello],
            configure: {
                $0.handlerSeconds = 0.2
                $0.requestsMax = 1
            }
        ) { port, _ in
            let peer = try RawPeer(port: port)
            #expect(try await peer.get("/stubborn").status == 503)
            #expect(try await peer.get("/hello").status == 503)
            gate.open()
            await ended.reach(1)
            // Its place is free a moment after its last line.
            var answer = try await peer.get("/hello")
            while answer.status == 503 { answer = try await peer.get("/hello") }
            #expect(answer.body == "hello")
        }
    }
}

@Suite struct DrainTests {
    @Test func drainingFinishesWhatRunsAndTakesNothingNew() async throws {
        let (started, gate) = (Tally(), Gate())
        let route = Route(.get, "/wait") { _ in
            started.add()
            await gate.passStubbornly()
            return .text("finished")
        }
        try await withServer([route, hello]) { port, server in
            let (running, idle) = (try RawPeer(port: port), try RawPeer(port: port))
            #expect(try await idle.get("/hello").status == 200)
            await running.say("GET /wait HTTP/1.1\r\nHost: a\r\n\r\n")
            await started.reach(1)
            async let drained: Void = server.drain(withinSeconds: 60)
            // The idle connection is closed at once, and nobody new gets in after.
            #expect(try await idle.hearToTheEnd().isEmpty)
            #expect(throws: RawPeerError.self) { try RawPeer(port: port) }
            gate.open()
            let answer = try await running.answer()
            #expect(answer.body == "finished" && answer.fields["connection"]?.lowercased() == "close")
            #expect(try await running.hearToTheEnd().isEmpty)
            await drained
        }
    }

    @Test func whatIsNotDoneInTimeIsBrokenOff() async throws {
        let (started, gate) = (Tally(), Gate())
        let route = Route(.get, "/wait") { _ in
            started.add()
            await gate.passStubbornly()
            return .text("never heard")
        }
        try await withServer([route]) { port, server in
            let peer = try RawPeer(port: port)
            await peer.say("GET /wait HTTP/1.1\r\nHost: a\r\n\r\n")
            await started.reach(1)
            await server.drain(withinSeconds: 0.1)
            #expect(try await !peer.hearToTheEnd().contains("never heard"))
            // The handler goes on after its server has ended, and ends.
            gate.open()
        }
    }

    @Test func drainingTwiceAndDrainingWhatNeverStartedReturns() async throws {
        try await withServer([hello]) { _, server in
            async let first: Void = server.drain(withinSeconds: 5)
            async let second: Void = server.drain(withinSeconds: 5)
            _ = await (first, second)
            await server.drain(withinSeconds: 5)
        }
        let idle = try HTTPServer(
            HTTPServerConfiguration(), routes: [], log: Logger(service: "test", sink: .discarding), metrics: Metrics())
        await idle.drain(withinSeconds: 5)
        #expect(throws: HTTPError.self) { try idle.start() }
    }

    @Test func aServerThatIsLetGoClosesItsPort() async throws {
        var server: HTTPServer? = try HTTPServer(
            HTTPServerConfiguration(), routes: [hello], log: Logger(service: "test", sink: .discarding),
            metrics: Metrics())
        let port = try #require(try server?.start())
        let peer = try RawPeer(port: port)
        #expect(try await peer.get("/hello").status == 200)
        server = nil
        #expect(try await peer.hearToTheEnd().isEmpty)
    }
}
