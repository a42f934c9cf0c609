// Server-sent events, from the handler to the reader's socket.
import Foundation
import HTTP
import Observability
import Synchronization
import Testing
import TestSupport

@Suite struct EventStreamTests {
    /// A route that opens streams and keeps them for the test.
    private final class Opened: Sendable {
        let streams = Mutex<[EventStream]>([])
        let (count, closed) = (Tally(), Tally())
        let bufferBytesMax: Int

        init(bufferBytesMax: Int = 256 << 10) { self.bufferBytesMax = bufferBytesMax }

        var route: Route {
            Route(.get, "/events") { request in
                let stream = EventStream(bufferBytesMax: self.bufferBytesMax)
                stream.onClose { self.closed.add() }
                if let last = request.header("Last-Event-ID") {
                    stream.send(id: nil, data: Array("after \(last)".utf8))
                }
                self.streams.withLock { $0.append(stream) }
                self.count.add()
                return .events(stream)
            }
        }

        func send(_ event: EncodedEvent) -> Int { streams.withLock { $0.map { $0.send(event) ? 1 : 0 }.reduce(0, +) } }
    }

    private static let request = "GET /events HTTP/1.1\r\nHost: a\r\n"

    @Test func eventsArriveAsTheyAreSentAndTheStreamEndsWhenItIsClosed() async throws {
        let opened = Opened()
        try await withServer([opened.route]) { port, _ in
            let peer = try RawPeer(port: port)
            await peer.say(Self.request + "Last-Event-ID: 41\r\n\r\n")
            let head = try await peer.hear(until: "\r\n\r\n")
            #expect(head.hasPrefix("HTTP/1.1 200") && head.contains("Content-Type: text/event-stream\r\n"))
            #expect(try await peer.hear(until: "\n\n") == "data: after 41\n\n")
            let stream = try #require(opened.streams.withLock { $0.first })
            #expect(stream.send(id: "42", event: "order", data: Array("one\ntwo\r\nthree\rfour".utf8)))
            let event = try await peer.hear(until: "\n\n")
            #expect(event == "id: 42\nevent: order\ndata: one\ndata: two\ndata: three\ndata: four\n\n")
            stream.send(id: "4\n3", event: "a\rb", data: [])
            stream.close()
            #expect(try await peer.hearToTheEnd() == "id: 43\nevent: ab\ndata: \n\n")
            await opened.closed.reach(1)
            #expect(!stream.send(data: [1]) && !stream.isOpen)
        }
    }

    @Test func aHandlerThatWaitsFirstOpensItsStreamToo() async throws {
        let route = Route(.get, "/events") { _ in
            for _ in 0..<20 { await Task.yield() }
            _ = await Task.detached { 1 }.value
            let stream = EventStream()
            stream.send(data: Array("hello".utf8))
            stream.close()
            return .events(stream)
        }
        try await withServer([route]) { port, _ in
            let peer = try RawPeer(port: port)
            await peer.say(Self.request + "\r\n")
            #expect(try await peer.hearToTheEnd().hasSuffix("\r\n\r\ndata: hello\n\n"))
        }
    }

    @Test func aReaderThatGoesAwayClosesItsStream() async throws {
        let opened = Opened()
        try await withServer([opened.route]) { port, _ in
            var peer: RawPeer? = try RawPeer(port: port)
            await peer?.say(Self.request + "\r\n")
            _ = try await peer?.hear(until: "\r\n\r\n")
            peer = nil
            await opened.closed.reach(1)
            #expect(opened.send(EncodedEvent(data: [65])) == 0)
        }
    }

    @Test func aReaderThatIsTooSlowIsClosedAndCostsNoMoreThanItsBuffer() async throws {
        let opened = Opened(bufferBytesMax: 64 << 10)
        try await withServer([opened.route]) { port, _ in
            let slow = try RawPeer(port: port, receiveBufferBytes: 4_096)
            await slow.say(Self.request + "\r\n")
            _ = try await slow.hear(until: "\r\n\r\n")
            let event = EncodedEvent(data: [UInt8](repeating: 120, count: 1_000))
            let stream = try #require(opened.streams.withLock { $0.first })
            // The network's own buffers take some megabytes at most.
            var sent = 0
            while stream.send(event), sent < 100_000 {
                sent += 1
                if sent % 16 == 0 { await Task.yield() }
            }
            #expect(sent < 100_000)
            await opened.closed.reach(1)
            _ = try await slow.hearToTheEnd()
        }
    }

    @Test func aSilentStreamSaysNowAndThenThatItIsThere() async throws {
        let opened = Opened()
        try await withServer([opened.route], configure: { $0.heartbeatSeconds = 0.2 }) { port, _ in
            let peer = try RawPeer(port: port)
            await peer.say(Self.request + "\r\n")
            _ = try await peer.hear(until: "\r\n\r\n")
            for _ in 0..<3 { #expect(try await peer.hear(until: "\n\n") == ": \n\n") }
        }
    }

    @Test func oneStreamMoreThanAllowedIsRefusedAndStreamsDoNotCountAsConnections() async throws {
        let opened = Opened()
        let count = 6
        try await withServer(
            [opened.route],
            configure: {
                $0.streamsMax = count
                $0.connectionsMax = 2
            }
        ) { port, _ in
            var peers: [RawPeer] = []
            // A connection's place is free a moment after its stream has begun: ask again until it is.
            while peers.count < count {
                let peer = try RawPeer(port: port)
                await peer.say(Self.request + "\r\n")
                let head = try await peer.hear(until: "\r\n\r\n")
                if head.hasPrefix("HTTP/1.1 200") { peers.append(peer) }
            }
            var refused = try await RawPeer(port: port).get("/events")
            while refused.body.contains("connections") { refused = try await RawPeer(port: port).get("/events") }
            #expect(refused.status == 503 && refused.body.contains("event stream"))
            await opened.closed.reach(1)
            #expect(opened.send(EncodedEvent(data: [65])) == count)
            for peer in peers { #expect(try await peer.hear(until: "\n\n") == "data: A\n\n") }
        }
    }

    @Test func headOfAStreamIsItsFieldsOnly() async throws {
        let opened = Opened()
        try await withServer([opened.route]) { port, _ in
            let peer = try RawPeer(port: port)
            let head = try await peer.ask("HEAD /events HTTP/1.1\r\nHost: a\r\n\r\n")
            #expect(head.status == 200 && head.fields["content-type"] == "text/event-stream")
            await opened.closed.reach(1)
        }
    }

    @Test(arguments: [1, 2]) func oneEventReachesTwoThousandStreams(threads: Int) async throws {
        let opened = Opened()
        let count = 2_000
        try await withServer([opened.route, hello], configure: { $0.threads = threads }) { port, _ in
            var peers: [RawPeer] = []
            for _ in 0..<count {
                let peer = try RawPeer(port: port)
                await peer.say(Self.request + "\r\n")
                peers.append(peer)
            }
            await opened.count.reach(count)
            #expect(opened.send(EncodedEvent(id: "1", data: Array("sold out".utf8))) == count)
            #expect(opened.send(EncodedEvent(id: "2", data: Array("thank you".utf8))) == count)
            for peer in peers {
                _ = try await peer.hear(until: "\r\n\r\n")
                #expect(
                    try await peer.hear(until: "thank you\n\n") == "id: 1\ndata: sold out\n\nid: 2\ndata: thank you\n\n"
                )
            }
            #expect(try await RawPeer(port: port).get("/hello").status == 200)
            peers = []
            await opened.closed.reach(count)
        }
    }

    @Test func drainingEndsStreamsAfterWhatWasSent() async throws {
        let opened = Opened()
        try await withServer([opened.route]) { port, server in
            let peer = try RawPeer(port: port)
            await peer.say(Self.request + "\r\n")
            _ = try await peer.hear(until: "\r\n\r\n")
            #expect(opened.send(EncodedEvent(data: Array("last".utf8))) == 1)
            await server.drain(withinSeconds: 30)
            #expect(try await peer.hearToTheEnd() == "data: last\n\n")
            await opened.closed.reach(1)
        }
    }

    @Test func aStreamThatNobodyGetsIsClosed() async throws {
        let closed = Tally()
        let gate = Gate()
        let route = Route(.get, "/late") { _ in
            await gate.passStubbornly()
            let stream = EventStream()
            stream.onClose { closed.add() }
            return .events(stream)
        }
        try await withServer([route], configure: { $0.handlerSeconds = 0.1 }) { port, _ in
            let answer = try await RawPeer(port: port).get("/late")
            #expect(answer.status == 503)
            gate.open()
            await closed.reach(1)
        }
    }

    @Test func onCloseRunsOnceAndAtOnceWhenItComesLate() {
        let stream = EventStream()
        let calls = Tally()
        stream.onClose { calls.add() }
        stream.close()
        stream.close()
        #expect(calls.count == 1)
        stream.onClose { calls.add() }
        #expect(calls.count == 2)
    }

    @Test func whatIsHeldComesBehindWhatGoesAhead() async throws {
        let stream = EventStream(isHeld: true)
        try await withServer([Route(.get, "/events") { _ in .events(stream) }]) { port, _ in
            let peer = try RawPeer(port: port)
            await peer.say(Self.request + "\r\n")
            _ = try await peer.hear(until: "\r\n\r\n")
            stream.send(data: Array("new".utf8))
            stream.sendAhead(EncodedEvent(data: Array("missed".utf8)))
            #expect(try await peer.hear(until: "\n\n") == "data: missed\n\n")
            stream.release()
            #expect(try await peer.hear(until: "\n\n") == "data: new\n\n")
            stream.send(data: Array("newer".utf8))
            #expect(try await peer.hear(until: "\n\n") == "data: newer\n\n")
        }
    }

    /// Whose reader keeps up goes on; what ended streams kept is free again.
    @Test func streamsThatAreBehindEndWhenAllTogetherKeepTooMuch() {
        let budget = StreamBudget(bytesMax: 10_000)
        let event = EncodedEvent(data: Array(repeating: 120, count: 992))
        var behind = (0..<4).map { EventStream(budget: budget, isHeld: $0 == 0) }
        for stream in behind { #expect((0..<2).allSatisfy { _ in stream.send(event) }) }
        #expect(budget.keptBytes == 8000)
        #expect((0..<3).allSatisfy { _ in behind[0].send(event) })
        #expect(budget.keptBytes == 11_000)
        let fresh = EventStream(budget: budget)
        #expect(fresh.send(event))
        #expect(!behind[1].send(event) && !behind[1].isOpen)
        #expect(behind[0].isOpen && budget.keptBytes == 10_000)
        #expect(behind[2].send(event))
        behind = []
        #expect(budget.keptBytes == 1000)
    }
}
