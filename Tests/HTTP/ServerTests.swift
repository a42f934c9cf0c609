// What a server answers, asked over real sockets.
import Foundation
import HTTP
import JSON
import Observability
import Synchronization
import Testing
import TestSupport

@Suite struct ServerTests {
    @Test func aHandlerGetsPathQueryFieldsAndBody() async throws {
        let route = Route(.post, "/v1/sales/{sale}/orders/{order}") { request in
            let parts = [
                request.pathParameters["sale"], request.pathParameters["order"], request.query["page"],
                request.header("x-test"), request.bearerToken, String(decoding: request.body, as: UTF8.self),
                request.path, request.remoteAddress,
            ]
            return .text(parts.map { $0 ?? "-" }.joined(separator: "|"))
        }
        try await withServer([route]) { port, _ in
            let answer = try await RawPeer(port: port).post(
                "/v1/sales/s%201/orders/o2?page=3", "body", fields: "X-TEST:  yes \r\nauthorization: bearer t.o.k\r\n")
            #expect(answer.body == "s 1|o2|3|yes|t.o.k|body|/v1/sales/s%201/orders/o2|127.0.0.1")
        }
    }

    @Test func aHandlerThatWaitsIsAnsweredWhenItIsDone() async throws {
        let (started, gate) = (Tally(), Gate())
        let route = Route(.get, "/wait") { _ in
            started.add()
            await gate.passStubbornly()
            return .text("done")
        }
        try await withServer([route, hello]) { port, _ in
            let waiting = try RawPeer(port: port)
            await waiting.say("GET /wait HTTP/1.1\r\nHost: a\r\n\r\n")
            await started.reach(1)
            #expect(try await RawPeer(port: port).get("/hello").body == "hello")
            gate.open()
            #expect(try await waiting.answer().body == "done")
            // The connection is good for more.
            #expect(try await waiting.get("/wait").body == "done")
        }
    }

    @Test(arguments: [1, 2]) func manyWaitingRequestsAreEachGivenTheirOwnAnswer(threads: Int) async throws {
        let routes = [
            Route(.post, "/loop") { request in
                await Task.yield()
                let inner = await Task.detached { request.body }.value
                return HTTPResponse(200, body: .bytes(inner))
            },
            Route(.post, "/pool", computes: true) { request in HTTPResponse(200, body: .bytes(request.body)) },
            Route.inline(.post, "/inline") { request in HTTPResponse(200, body: .bytes(request.body)) },
        ]
        try await withServer(routes, configure: { $0.threads = threads }) { port, _ in
            try await withThrowingTaskGroup { group in
                for peer in 0..<32 {
                    group.addTask {
                        let connection = try RawPeer(port: port)
                        for round in 0..<30 {
                            let text = "peer \(peer) round \(round)"
                            let path = ["/loop", "/pool", "/inline"][(peer + round) % 3]
                            let answer = try await connection.post(path, text)
                            #expect(answer.status == 200 && answer.body == text)
                        }
                    }
                }
                try await group.waitForAll()
            }
        }
    }

    @Test func headGivesTheFieldsOfGetWithoutItsBody() async throws {
        try await withServer([hello]) { port, _ in
            let peer = try RawPeer(port: port)
            let head = try await peer.ask("HEAD /hello HTTP/1.1\r\nHost: a\r\n\r\n")
            #expect(head.status == 200 && head.fields["content-length"] == "5" && head.body.isEmpty)
            #expect(try await peer.get("/hello").body == "hello")
        }
    }

    @Test func optionsAndOtherMethodsNameTheMethodsThatThereAre() async throws {
        try await withServer([hello, echo]) { port, _ in
            let peer = try RawPeer(port: port)
            let options = try await peer.ask("OPTIONS /hello HTTP/1.1\r\nHost: a\r\n\r\n")
            #expect(options.status == 204 && options.fields["allow"] == "GET, HEAD, OPTIONS")
            #expect(try await peer.ask("OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n").status == 204)
            let other = try await peer.ask("DELETE /echo HTTP/1.1\r\nHost: a\r\n\r\n")
            #expect(other.status == 405 && other.fields["allow"] == "POST, OPTIONS")
            #expect(other.fields["content-type"] == "application/problem+json")
            #expect(try await peer.ask("BREW /hello HTTP/1.1\r\nHost: a\r\n\r\n").status == 501)
            #expect(try await peer.get("/nothing").status == 404)
            // Refused after its body was thrown away: the connection is still good.
            #expect(try await peer.post("/nothing", String(repeating: "x", count: 100_000)).status == 404)
            #expect(try await peer.get("/hello").status == 200)
        }
    }

    @Test func anHTTP10RequestIsAnsweredAndItsConnectionClosed() async throws {
        try await withServer([hello]) { port, _ in
            let peer = try RawPeer(port: port)
            await peer.say("GET /hello HTTP/1.0\r\n\r\n")
            #expect(try await peer.hearToTheEnd().hasSuffix("hello"))
        }
    }

    @Test func theTraceOfTheCallerIsContinuedAndNamedInTheAnswer() async throws {
        let route = Route(.get, "/trace") { request in
            .text(TraceContext.current == request.trace ? request.trace.traceparent : "not the current one")
        }
        let inline = Route.inline(.get, "/inline") { request in
            .text(TraceContext.current == request.trace ? request.trace.traceparent : "not the current one")
        }
        try await withServer([route, inline]) { port, _ in
            let peer = try RawPeer(port: port)
            let id = "4bf92f3577b34da6a3ce929d0e0e4736"
            for path in ["/trace", "/inline"] {
                let answer = try await peer.get(path, fields: "traceparent: 00-\(id)-00f067aa0ba902b7-01\r\n")
                #expect(answer.body.hasPrefix("00-\(id)-") && !answer.body.contains("00f067aa0ba902b7"))
                #expect(answer.fields["x-request-id"] == id)
                let fresh = try await peer.get(path, fields: "traceparent: nonsense\r\n")
                #expect(fresh.body.contains(fresh.fields["x-request-id"] ?? "none") && !fresh.body.contains(id))
            }
        }
    }

    @Test func requestsAreCountedByRouteAndStatus() async throws {
        let metrics = Metrics()
        try await withServer(
            [hello, Route.inline(.get, "/v1/{id}") { _ in throw Problem.notFound() }], metrics: metrics
        ) {
            port, _ in
            let peer = try RawPeer(port: port)
            for _ in 0..<3 { _ = try await peer.get("/hello") }
            _ = try await peer.get("/v1/42")
            _ = try await peer.get("/nowhere/at/all")
            let text = metrics.render()
            #expect(text.contains("http_requests_total{method=\"GET\",route=\"/hello\",status=\"200\"} 3"))
            #expect(text.contains("http_requests_total{method=\"GET\",route=\"/v1/{id}\",status=\"404\"} 1"))
            #expect(text.contains("http_requests_total{method=\"GET\",route=\"none\",status=\"404\"} 1"))
            #expect(text.contains("http_connections 1"))
        }
    }

    @Test(arguments: [
        ("", "127.0.0.1"), ("203.0.113.9", "203.0.113.9"), ("1.2.3.4, 203.0.113.9", "203.0.113.9"),
        ("203.0.113.9, 10.0.0.7", "203.0.113.9"), ("203.0.113.9, 127.0.0.1, 10.0.0.7", "203.0.113.9"),
        ("203.0.113.9, nonsense", "127.0.0.1"), ("203.0.113.9, , 10.0.0.7", "10.0.0.7"), ("10.0.0.7", "10.0.0.7"),
        ("127.0.0.2", "127.0.0.2"), ("203.0.113.9, 127.0.0.3", "127.0.0.3"),
        ("203.0.113.9, 192.168.47.255", "203.0.113.9"), ("203.0.113.9, 192.168.48.0", "192.168.48.0"),
        ("203.0.113.9, fdff::1", "203.0.113.9"), ("203.0.113.9, fe00::1", "fe00::1"),
        ("203.0.113.9, ::ffff:10.0.0.7", "203.0.113.9"), ("2001:db8::1", "2001:db8::1"),
        ("2001:DB8:0:0::01", "2001:db8::1"), ("::ffff:203.0.113.9", "203.0.113.9"),
        ("203.0.113.9:4711", "203.0.113.9"), ("[2001:db8::1]:443", "2001:db8::1"),
    ])
    func theClientIsTheLastAddressThatIsNoProxys(forwarded: String, client: String) async throws {
        let route = Route.inline(.get, "/who") { .text($0.remoteAddress) }
        let proxies = try TrustedProxies(["127.0.0.1", "10.0.0.7", "192.168.32.0/20", "fd00::/8"])
        try await withServer([route], configure: { $0.trustedProxies = proxies }) { port, _ in
            let fields = forwarded.isEmpty ? "" : "X-Forwarded-For: \(forwarded)\r\n"
            let answer = try await RawPeer(port: port).get("/who", fields: fields)
            #expect(answer.body == client)
            // Nobody else is believed, of the same machine or not.
            let other = try await RawPeer(port: port, from: "127.0.0.9").get("/who", fields: fields)
            #expect(other.body == "127.0.0.9")
        }
    }

    @Test(arguments: [("", true), ("X-Forwarded-For: 203.0.113.9\r\n", false)])
    func whoIsNotTrustedDoesNotChooseWhatIsRecorded(fields: String, mayChoose: Bool) async throws {
        let route = Route.inline(.get, "/trace") { .text($0.trace.traceparent) }
        try await withServer([route]) { port, _ in
            let id = "4bf92f3577b34da6a3ce929d0e0e4736"
            let answer = try await RawPeer(port: port).get(
                "/trace", fields: fields + "traceparent: 00-\(id)-00f067aa0ba902b7-01\r\n")
            // The trace goes on in any case.
            #expect(answer.body.hasPrefix("00-\(id)-") && answer.fields["x-request-id"] == id)
            #expect(answer.body.hasSuffix(mayChoose ? "-01" : "-00"))
        }
    }

    @Test func noCacheKeepsWhatMayHoldATokenOrAnError() async throws {
        let own = Route.inline(.post, "/own") { _ in HTTPResponse.text("x").with("Cache-Control", "max-age=5") }
        try await withServer([hello, echo, own]) { port, _ in
            let peer = try RawPeer(port: port)
            #expect(try await peer.post("/echo", "x").fields["cache-control"] == "no-store")
            #expect(try await peer.get("/nothing").fields["cache-control"] == "no-store")
            #expect(try await peer.get("/hello").fields["cache-control"] == nil)
            #expect(try await peer.post("/own", "x").fields["cache-control"] == "max-age=5")
        }
    }

    @Test func portZeroIsAFreePortAndATakenOneIsNamedInTheError() async throws {
        try await withServer([hello]) { port, _ in
            let second = try HTTPServer(
                HTTPServerConfiguration(port: port), routes: [hello], log: Logger(service: "test", sink: .discarding),
                metrics: Metrics())
            #expect(throws: HTTPError.system("listen on 127.0.0.1:\(port): Address already in use")) {
                try second.start()
            }
        }
        let nowhere = try HTTPServer(
            HTTPServerConfiguration(address: "example"), routes: [], log: Logger(service: "test", sink: .discarding),
            metrics: Metrics())
        #expect(throws: HTTPError.invalidAddress("example")) { try nowhere.start() }
    }

    @Test func tenThousandRequestsOnOneConnectionLeaveNothingBehind() async throws {
        try await withServer([echo], configure: { $0.keepAliveSeconds = 60 }) { port, _ in
            let peer = try RawPeer(port: port)
            let body = String(repeating: "0123456789abcdef", count: 1_024)
            for _ in 0..<500 { _ = try await peer.post("/echo", body) }
            let before = try residentBytes()
            for _ in 0..<10_000 {
                let answer = try await peer.post("/echo", body)
                guard answer.body.utf8.count == body.utf8.count else { throw RawPeerError.noAnswer(answer.body) }
            }
            // One body kept of each would be 160 MB. Other tests of the process run meanwhile.
            #expect(try residentBytes() - before < 80 << 20)
        }
    }

    private func residentBytes() throws -> Int {
        let text = try String(contentsOfFile: "/proc/self/statm", encoding: .utf8)
        return Int(text.split(separator: " ")[1])! * Int(sysconf(Int32(_SC_PAGESIZE)))
    }
}

@Suite struct ProblemTests {
    struct Custom: Error { let secret = "hunter2-in-the-error" }

    private func problem(
        _ handler: @escaping @Sendable (HTTPRequest) async throws -> HTTPResponse, body: String = "{}",
        fields: String = "", mapping: @escaping @Sendable (any Error) -> Problem? = { _ in nil },
        log: Logger = Logger(service: "test", sink: .discarding)
    ) async throws -> (RawAnswer, [String: Any]) {
        let result = Mutex<RawAnswer?>(nil)
        try await withServer([Route(.post, "/x", handler)], log: log, problem: mapping) { port, _ in
            let answer = try await RawPeer(port: port).post("/x", body, fields: fields)
            result.withLock { $0 = answer }
        }
        let answer = try #require(result.withLock { $0 })
        let document = try JSONSerialization.jsonObject(with: Data(answer.body.utf8)) as? [String: Any]
        #expect(answer.fields["content-type"] == "application/problem+json")
        return (answer, try #require(document))
    }

    @Test func aThrownProblemIsSentAsItIs() async throws {
        let (answer, document) = try await problem { _ in
            throw Problem(
                429, type: "too-many-orders", title: "Too many \"orders\"", detail: "At most 2.",
                fields: [FieldProblem("quantity", expected: "1 or 2")], retryAfterSeconds: 7)
        }
        #expect(answer.status == 429 && answer.fields["retry-after"] == "7")
        #expect(document["type"] as? String == "urn:stampede:problem:too-many-orders")
        #expect(document["title"] as? String == "Too many \"orders\"")
        #expect(document["status"] as? Int == 429)
        #expect(document["detail"] as? String == "At most 2.")
        #expect((document["fields"] as? [[String: String]])?.first == ["field": "quantity", "expected": "1 or 2"])
        #expect(document["traceId"] as? String == answer.fields["x-request-id"])
    }

    @Test func aDocumentThatIsWrongIsRefusedByTheNameOfItsField() async throws {
        let (answer, document) = try await problem(
            { request in
                let count = try request.json { value throws(JSONError) in try value.integer("count", in: 1...9) }
                return .text("\(count)")
            }, body: #"{"count":"3"}"#)
        #expect(answer.status == 400)
        #expect(
            (document["fields"] as? [[String: String]])?.first
                == ["field": "count", "expected": "an integer from 1 to 9"])
    }

    @Test func anotherMediaTypeThanJSONIsRefused() async throws {
        let (answer, _) = try await problem(
            { request in .text("\(try request.json { value throws(JSONError) in try value.integer("n") })") },
            fields: "Content-Type: text/xml\r\n")
        #expect(answer.status == 415)
    }

    @Test func whatTheServiceKnowsIsSaidAndWhatNobodyKnowsIsLoggedAndKept() async throws {
        let (known, _) = try await problem(
            { _ in throw Custom() }, mapping: { _ in .unavailable(retryAfterSeconds: 2) })
        #expect(known.status == 503 && known.fields["retry-after"] == "2")
        let lines = Mutex<[UInt8]>([])
        let log = Logger(service: "test", sink: LogSink { line in lines.withLock { $0 += line } })
        let (unknown, _) = try await problem({ _ in throw Custom() }, log: log)
        #expect(unknown.status == 500 && !unknown.body.contains("hunter2"))
        #expect(lines.withLock { String(decoding: $0, as: UTF8.self) }.contains("hunter2-in-the-error"))
    }

    @Test(arguments: ["a\r\nSet-Cookie: b=c", "a\nb", "a\0b"])
    func aFieldThatWouldBecomeTwoIsNotSent(value: String) async throws {
        let (answer, _) = try await problem { _ in HTTPResponse.text("x").with("X-Echo", value) }
        #expect(answer.status == 500 && answer.fields["set-cookie"] == nil)
    }

    @Test(arguments: [0, 99, 100, 101, 600, -1]) func aStatusThatIsNoneIsNotSent(status: Int) async throws {
        #expect(try await problem { _ in HTTPResponse(status) }.0.status == 500)
    }
}
