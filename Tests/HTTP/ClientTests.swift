// The client, against this module's server and against peers that do not behave.
import Foundation
import Observability
import Synchronization
import TestSupport
import Testing

@testable import HTTP

@Suite struct ClientTests {
    private func url(_ port: UInt16, _ path: String) -> String { "http://127.0.0.1:\(port)\(path)" }

    @Test(.timeLimit(.minutes(1))) func aConnectionMayHaveTheNumberThatTheResolverHad() async throws {
        try await withServer([hello]) { port, _ in
            for _ in 0..<3 {
                let client = try HTTPClient(connectSeconds: 600)
                await #expect(throws: HTTPClientError.self) {
                    try await client.send(ClientRequest(.get, "http://nowhere.invalid/"))
                }
                // Of a socket that is not watched the answer would be seen when the time is up, and no sooner.
                let request = ClientRequest(.get, url(port, "/hello"), timeoutSeconds: 600)
                #expect(try await client.send(request).status == 200)
                await client.close()
            }
        }
    }

    @Test func aBurstFindsItsHostByName() async throws {
        try await withServer([hello]) { port, _ in
            let answered = Tally()
            func burst(_ host: String) async throws {
                try await BurstClient(.init(address: host, port: port, connections: 2)).run(count: 5) { _, request in
                    request += Array("GET /hello HTTP/1.1\r\nHost: a\r\n\r\n".utf8)
                } answered: { answers in
                    for answer in answers where answer.status == 200 { answered.add() }
                }
            }
            try await burst("localhost")
            #expect(answered.count == 5)
            await #expect(throws: HTTPClientError.self) { try await burst("nowhere.invalid") }
        }
    }

    @Test func methodFieldsAndBodyArriveAndTheAnswerComesBack() async throws {
        let handler: @Sendable (HTTPRequest) async throws -> HTTPResponse = { request in
            let text =
                "\(request.method.rawValue) \(request.header("x-a") ?? "-") \(request.header("content-type") ?? "-") "
                + "\(request.header("x-empty") ?? "-") \(String(decoding: request.body, as: UTF8.self))"
            return .text(text, status: 201).with("X-B", "two  words")
        }
        let methods: [HTTPMethod] = [.get, .post, .put, .patch, .delete]
        try await withServer(methods.map { Route($0, "/any", handler) }) { port, _ in
            let client = try HTTPClient()
            for method in methods + methods.reversed() {
                for body in ["", "body"] {
                    let answer = try await client.send(
                        ClientRequest(
                            method, url(port, "/any?x=1"), headers: [("X-A", "1"), ("X-Empty", "")],
                            body: Array(body.utf8)))
                    #expect(answer.status == 201 && answer.header("x-b") == "two  words")
                    #expect(String(decoding: answer.body, as: UTF8.self) == "\(method.rawValue) 1 -  \(body)")
                }
            }
            let head = try await client.send(ClientRequest(.head, url(port, "/any")))
            #expect(head.status == 201 && head.body.isEmpty && head.header("content-length") != "0")
            let options = try await client.send(ClientRequest(.options, url(port, "/any")))
            #expect(options.status == 204)
            let json = try await client.send(.json(.post, url(port, "/any"), Array("{}".utf8)))
            #expect(String(decoding: json.body, as: UTF8.self) == "POST - application/json - {}")
            await client.close()
        }
    }

    @Test func oneConnectionCarriesRequestsOneAfterTheOther() async throws {
        let metrics = Metrics()
        try await withServer([hello], metrics: metrics) { port, _ in
            let client = try HTTPClient(connectionsMax: 1)
            for _ in 0..<200 { _ = try await client.send(ClientRequest(.get, url(port, "/hello"))) }
            #expect(metrics.render().contains("http_connections 1\n"))
            await client.close()
        }
    }

    @Test func manyAtATimeShareTheConnectionsThereAre() async throws {
        let running = Atomic<Int>(0)
        let most = Atomic<Int>(0)
        let route = Route(.post, "/echo") { request in
            most.max(running.wrappingAdd(1, ordering: .relaxed).newValue, ordering: .relaxed)
            await Task.yield()
            _ = await Task.detached { 1 }.value
            running.wrappingSubtract(1, ordering: .relaxed)
            return HTTPResponse(200, body: .bytes(request.body))
        }
        try await withServer([route]) { port, _ in
            let client = try HTTPClient(connectionsMax: 8, connectionsPerHostMax: 4)
            let url = url(port, "/echo")
            try await withThrowingTaskGroup { group in
                for number in 0..<500 {
                    group.addTask(executorPreference: number % 2 == 0 ? client.executor : nil) {
                        let answer = try await client.send(ClientRequest(.post, url, body: Array("\(number)".utf8)))
                        #expect(String(decoding: answer.body, as: UTF8.self) == "\(number)")
                    }
                }
                try await group.waitForAll()
            }
            #expect(most.load(ordering: .relaxed) <= 4)
            await client.close()
        }
    }

    @Test func whatCannotWaitForAConnectionIsRefusedAtOnce() async throws {
        let (started, gate) = (Tally(), Gate())
        let route = Route(.get, "/wait") { _ in
            started.add()
            await gate.passStubbornly()
            return .empty()
        }
        try await withServer([route]) { port, _ in
            let client = try HTTPClient(connectionsMax: 1, requestsWaitingMax: 0)
            let url = url(port, "/wait")
            async let first = client.send(ClientRequest(.get, url))
            await started.reach(1)
            await #expect(throws: HTTPClientError.overloaded) { try await client.send(ClientRequest(.get, url)) }
            gate.open()
            #expect(try await first.status == 204)
            await client.close()
        }
    }

    @Test func timeIsUpWhileRunningAndWhileWaitingForAConnection() async throws {
        let gate = Gate()
        let route = Route(.get, "/wait") { _ in
            await gate.passStubbornly()
            return .empty()
        }
        try await withServer([route]) { port, _ in
            let client = try HTTPClient(connectionsMax: 1)
            let url = url(port, "/wait")
            let first = Task { try await client.send(ClientRequest(.get, url, timeoutSeconds: 1)) }
            let second = Task { try await client.send(ClientRequest(.get, url, timeoutSeconds: 0.2)) }
            await #expect(throws: HTTPClientError.timedOut) { try await second.value }
            await #expect(throws: HTTPClientError.timedOut) { try await first.value }
            gate.open()
            #expect(try await client.send(ClientRequest(.get, url)).status == 204)
            await client.close()
        }
    }

    @Test func aCancelledTaskBreaksItsRequestOff() async throws {
        let (started, gate) = (Tally(), Gate())
        let route = Route(.get, "/wait") { _ in
            started.add()
            await gate.passStubbornly()
            return .empty()
        }
        try await withServer([route]) { port, _ in
            let client = try HTTPClient(connectionsMax: 1)
            let url = url(port, "/wait")
            let running = Task { try await client.send(ClientRequest(.get, url)) }
            await started.reach(1)
            let waiting = Task { try await client.send(ClientRequest(.get, url)) }
            waiting.cancel()
            await #expect(throws: HTTPClientError.cancelled) { try await waiting.value }
            running.cancel()
            await #expect(throws: HTTPClientError.cancelled) { try await running.value }
            gate.open()
            #expect(try await client.send(ClientRequest(.get, url)).status == 204)
            await client.close()
        }
    }

    @Test func anAnswerThatIsTooLongIsBrokenOff() async throws {
        try await withServer([hello]) { port, _ in
            let client = try HTTPClient()
            await #expect(throws: HTTPClientError.responseTooLarge(bytesMax: 4)) {
                try await client.send(ClientRequest(.get, url(port, "/hello"), responseBytesMax: 4))
            }
            #expect(try await client.send(ClientRequest(.get, url(port, "/hello"), responseBytesMax: 5)).status == 200)
            await client.close()
        }
    }

    @Test func aPeerThatIsNotThereOrSpeaksNonsenseIsAnError() async throws {
        let client = try HTTPClient()
        var free: UInt16 = 0
        try await withServer([]) { port, _ in free = port }
        let error = await #expect(throws: HTTPClientError.self) {
            try await client.send(ClientRequest(.get, url(free, "/")))
        }
        guard case .connection = error else {
            Issue.record("\(String(describing: error))")
            return
        }
        #expect(error?.isRetriable == true)
        for answer in ["nonsense\r\n\r\n", "", "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc"] {
            let peer = try OneAnswer(answer)
            let error = await #expect(throws: HTTPClientError.self) {
                try await client.send(ClientRequest(.get, url(peer.port, "/")))
            }
            guard case .broken = error else {
                Issue.record("\(answer): \(String(describing: error))")
                return
            }
        }
        await client.close()
    }

    @Test(arguments: [
        ClientRequest(.get, "ftp://127.0.0.1/"), ClientRequest(.get, "127.0.0.1"), ClientRequest(.get, "http://"),
        ClientRequest(.get, "http://127.0.0.1/\r\nX: y"), ClientRequest(.get, "file:///etc/passwd"),
        ClientRequest(.get, "http://127.0.0.1/", headers: [("X", "a\r\nY: b")]),
        ClientRequest(.get, "http://127.0.0.1/", headers: [("X Y", "a")]),
        ClientRequest(.get, "http://127.0.0.1/", headers: [("", "a")]),
    ])
    func whatMustNotBeSentIsRefused(request: ClientRequest) async throws {
        let client = try HTTPClient()
        let error = await #expect(throws: HTTPClientError.self) { try await client.send(request) }
        guard case .invalidRequest = error else {
            Issue.record("\(String(describing: error))")
            return
        }
        await client.close()
    }

    @Test func afterItsEndAClientSendsNothing() async throws {
        let (started, gate) = (Tally(), Gate())
        let route = Route(.get, "/wait") { _ in
            started.add()
            await gate.passStubbornly()
            return .empty()
        }
        try await withServer([route]) { port, _ in
            let client = try HTTPClient(connectionsMax: 1)
            let url = url(port, "/wait")
            let running = Task { try await client.send(ClientRequest(.get, url)) }
            await started.reach(1)
            await client.close()
            await #expect(throws: HTTPClientError.closed) { try await running.value }
            await #expect(throws: HTTPClientError.closed) { try await client.send(ClientRequest(.get, url)) }
            await client.close()
            gate.open()
        }
    }

    /// Answers one connection with these bytes, whatever it asks, and closes.
    private final class OneAnswer: Sendable {
        let port: UInt16

        init(_ answer: String) throws {
            let listener = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
            var address = sockaddr_in()
            address.sin_family = sa_family_t(AF_INET)
            address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
            var length = socklen_t(MemoryLayout<sockaddr_in>.size)
            let bound = withUnsafeMutablePointer(to: &address) { pointer in
                pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                    bind(listener, $0, length) == 0 && listen(listener, 1) == 0
                        && getsockname(listener, $0, &length) == 0
                }
            }
            guard bound else { throw RawPeerError.noConnection }
            port = UInt16(bigEndian: address.sin_port)
            DispatchQueue.global().async {
                let peer = accept(listener, nil, nil)
                var buffer = [UInt8](repeating: 0, count: 4_096)
                _ = recv(peer, &buffer, buffer.count, 0)
                _ = Array(answer.utf8).withUnsafeBytes { send(peer, $0.baseAddress, $0.count, 0) }
                close(peer)
                close(listener)
            }
        }
    }
}

@Suite struct ClientEventTests {
    @Test func aStreamThatBreaksIsTakenUpAfterItsLastEvent() async throws {
        let asked = Mutex<[String?]>([])
        let route = Route(.get, "/events") { request in
            let last = request.header("last-event-id").flatMap(Int.init) ?? 0
            asked.withLock { $0.append(request.header("last-event-id")) }
            let stream = EventStream()
            _ = stream.append(Array("retry: 1\n\n".utf8))
            for id in last + 1...last + 3 { stream.send(id: "\(id)", event: "tick", data: Array("event \(id)".utf8)) }
            stream.close()
            return .events(stream)
        }
        try await withServer([route]) { port, _ in
            let client = try HTTPClient()
            var events: [ServerSentEvent] = []
            for try await event in client.events(ClientRequest(.get, "http://127.0.0.1:\(port)/events")) {
                events.append(event)
                if events.count == 9 { break }
            }
            #expect(events == (1...9).map { ServerSentEvent(id: "\($0)", event: "tick", data: "event \($0)") })
            #expect(asked.withLock { Array($0.prefix(3)) } == [nil, "3", "6"])
            await client.close()
        }
    }

    @Test func noContentEndsAStreamAndARefusalIsThrown() async throws {
        let routes = [
            Route.inline(.get, "/end") { _ in .empty() },
            Route.inline(.get, "/no") { _ in throw Problem.unauthorized() },
        ]
        try await withServer(routes) { port, _ in
            let client = try HTTPClient()
            for try await event in client.events(ClientRequest(.get, "http://127.0.0.1:\(port)/end")) {
                Issue.record("\(event)")
            }
            await #expect(throws: HTTPClientError.status(401)) {
                for try await event in client.events(ClientRequest(.get, "http://127.0.0.1:\(port)/no")) {
                    Issue.record("\(event)")
                }
            }
            await client.close()
        }
    }

    @Test func aServerThatIsBusyIsAskedAgain() async throws {
        let asked = Tally()
        let route = Route(.get, "/events") { _ in
            asked.add()
            if asked.count == 1 { throw Problem.unavailable(retryAfterSeconds: 1) }
            let stream = EventStream()
            stream.send(id: "1", data: Array("at last".utf8))
            return .events(stream)
        }
        try await withServer([route]) { port, _ in
            let client = try HTTPClient()
            for try await event in client.events(ClientRequest(.get, "http://127.0.0.1:\(port)/events")) {
                #expect(event.data == "at last")
                break
            }
            await client.close()
        }
    }

    @Test func aReaderThatIsBehindMakesTheServerWait() async throws {
        let opened = Mutex<EventStream?>(nil)
        let (started, closed) = (Tally(), Tally())
        let route = Route(.get, "/events") { _ in
            let stream = EventStream(bufferBytesMax: 64 << 10)
            stream.onClose { closed.add() }
            opened.withLock { $0 = stream }
            started.add()
            return .events(stream)
        }
        try await withServer([route]) { port, _ in
            let client = try HTTPClient()
            var iterator = client.events(ClientRequest(.get, "http://127.0.0.1:\(port)/events")).makeAsyncIterator()
            async let first = iterator.next()
            await started.reach(1)
            let stream = try #require(opened.withLock { $0 })
            stream.send(id: "0", data: Array("first".utf8))
            let event = try await first
            #expect(event?.data == "first")
            // Nobody reads on: the stream must fill up and be closed, not grow in the client.
            var sent = 0
            let data = [UInt8](repeating: 120, count: 4_000)
            while stream.send(id: "\(sent + 1)", data: data), sent < 100_000 {
                sent += 1
                if sent % 8 == 0 { await Task.yield() }
            }
            #expect(sent < 100_000)
            await closed.reach(1)
            await client.close()
        }
    }

    @Test func cancellingOrLeavingAStreamClosesItsConnection() async throws {
        let (started, closed) = (Tally(), Tally())
        let route = Route(.get, "/events") { _ in
            let stream = EventStream()
            stream.onClose { closed.add() }
            stream.send(data: Array("x".utf8))
            started.add()
            return .events(stream)
        }
        try await withServer([route]) { port, _ in
            let client = try HTTPClient()
            let request = ClientRequest(.get, "http://127.0.0.1:\(port)/events")
            for try await _ in client.events(request) { break }
            await closed.reach(1)
            let task = Task {
                var iterator = client.events(request).makeAsyncIterator()
                while try await iterator.next() != nil {}
            }
            await started.reach(2)
            task.cancel()
            await #expect(throws: HTTPClientError.cancelled) { try await task.value }
            await closed.reach(2)
            await client.close()
        }
    }
}

@Suite struct EventParserTests {
    private func parse(_ pieces: [[UInt8]]) -> [ServerSentEvent] {
        var parser = EventParser()
        return pieces.flatMap { piece in piece.withUnsafeBytes { parser.parse($0) ?? [] } }
    }

    @Test func fieldsCommentsAndLineEndsAreReadAsTheStandardHasThem() {
        let text =
            "\u{feff}data: a\n\n: comment\ndata:b\rdata: c\r\n\r\nevent: e\nid: 7\ndata\n\nid\ndata:  two\n\n"
            + "event: lost\n\ndata: open"
        #expect(
            parse([Array(text.utf8)]) == [
                ServerSentEvent(id: nil, data: "a"), ServerSentEvent(id: nil, data: "b\nc"),
                ServerSentEvent(id: "7", event: "e", data: ""), ServerSentEvent(id: "", data: " two"),
            ])
    }

    @Test func itDoesNotMatterWhereTheNetworkCutsTheText() {
        var random = SeededRandom(seed: 3)
        for _ in 0..<300 {
            let lines = (0..<random.int(in: 1...30)).map { _ in
                random.pick(["data: ä\u{1f4f1}", "data", "", "", "id: 1", "event: x", ": c", "retry: 5", "other: y"])
                    + random.pick(["\n", "\r", "\r\n"])
            }
            let bytes = Array(lines.joined().utf8)
            var pieces: [[UInt8]] = []
            var rest = bytes[...]
            while !rest.isEmpty {
                let count = random.int(in: 1...min(5, rest.count))
                pieces.append(Array(rest.prefix(count)))
                rest = rest.dropFirst(count)
            }
            #expect(parse(pieces) == parse([bytes]))
        }
    }

    @Test func whatIsSentIsWhatIsRead() {
        var random = SeededRandom(seed: 4)
        for _ in 0..<300 {
            let text = random.text()
            let event = EncodedEvent(id: "5", event: "kind", data: Array(text.utf8))
            // Scalars, because Swift counts CR LF as one character.
            var expected = ""
            var previous: Unicode.Scalar = " "
            for scalar in text.unicodeScalars {
                if scalar == "\n", previous == "\r" {
                } else {
                    expected.unicodeScalars.append(scalar == "\r" ? "\n" : scalar)
                }
                previous = scalar
            }
            #expect(parse([event.bytes]) == [ServerSentEvent(id: "5", event: "kind", data: expected)])
        }
    }

    @Test func aLineWithoutAnEndIsNotCollectedForEver() {
        var parser = EventParser()
        let piece = [UInt8](repeating: 120, count: 1 << 19)
        let results = (0..<4).map { _ in piece.withUnsafeBytes { parser.parse($0) } }
        #expect(results.contains { $0 == nil })
    }
}
