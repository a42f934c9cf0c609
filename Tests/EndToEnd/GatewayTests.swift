// The gateway's settings, in a real nginx before instances that the tests play.
import Foundation
import HTTP
import Models
import Observability
import Security
import Synchronization
import TestSupport
import Testing

@testable import StampedeCore

@Suite struct GatewayTests {
    /// Runs nginx with these ports as the instances of every service.
    private func withGateway(
        before ports: [Int], settings: [String: String] = [:], _ body: (String) async throws -> Void
    ) async throws {
        let port = try FreePorts.take()
        let folder = "/tmp/stampede-gateway-\(getpid())-\(UUID().uuidString.prefix(8))"
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(atPath: folder) }
        // It goes to the background once it listens.
        let script = """
            set -euo pipefail
            source deploy/nginx/fill.sh
            upstream_servers() { printf 'server 127.0.0.1:%s max_fails=0;\\n' \(ports.map(String.init).joined(separator: " ")); }
            user=''
            ((EUID != 0)) || user='user www-data;'
            fill_gateway deploy/nginx/gateway.conf 127.0.0.1:\(port) "$user" 1024 \(folder) \(folder) \(folder)/site >\(folder)/nginx.conf
            nginx -p \(folder) -c \(folder)/nginx.conf -e \(folder)/error.log
            """
        let started = try ChildProgram(
            "/bin/bash", ["-c", "cd '\(Stack.root)'\n" + script],
            environment: ["PATH": "/usr/sbin:/usr/bin:/bin"].merging(settings) { $1 },
            output: .standardError)
        try #require(await started.wait() == 0)
        defer {
            let file = "\(folder)/nginx.pid"
            let text = try? String(contentsOfFile: file, encoding: .utf8)
            if let text, let nginx = pid_t(text.trimmingCharacters(in: .newlines)) { kill(nginx, SIGTERM) }
            // Until it has ended: it still writes into the folder.
            while FileManager.default.fileExists(atPath: file) { usleep(1_000) }
        }
        try await body("http://127.0.0.1:\(port)")
    }

    private func withInstance(
        _ answer: @escaping @Sendable (HTTPRequest) -> HTTPResponse, bodySeconds: Double = 30,
        _ body: (Int) async throws -> Void
    ) async throws {
        var routes = [Route.inline(.get, "/v1/orders", answer)]
        for operation in try Self.bodyLimits().keys {
            let parts = operation.split(separator: " ").map(String.init)
            routes.append(.inline(HTTPMethod(rawValue: parts[0]) ?? .post, parts[1], bodyBytesMax: 8 << 20, answer))
        }
        var configuration = HTTPServerConfiguration()
        configuration.bodySeconds = bodySeconds
        let server = try HTTPServer(
            configuration, routes: routes, log: Logger(service: "test", sink: .discarding),
            metrics: Metrics(), problem: { _ in nil })
        let port = try server.start()
        do { try await body(Int(port)) } catch {
            await server.drain(withinSeconds: 0)
            throw error
        }
        await server.drain(withinSeconds: 0)
    }

    /// How many bytes of a body the documents allow, for every operation that has one.
    private static func bodyLimits() throws -> [String: Int] {
        try ["catalog", "messaging", "payment", "reservation"].reduce(into: [:]) { limits, service in
            limits.merge(try OpenAPIDocument(service: service).bodyLimits) { $1 }
        }
    }

    /// What the gateway says is a problem as the documents have it.
    private func expectProblem(_ answer: ClientResponse, _ status: Int) throws {
        let text = String(decoding: answer.body, as: UTF8.self)
        #expect(answer.status == status, "\(text)")
        #expect(answer.header("Content-Type") == "application/problem+json")
        #expect((answer.header("Retry-After") == "1") == [429, 503].contains(status))
        let id = answer.header("X-Request-Id") ?? ""
        #expect(id.utf8.count == 32 && text.contains("\"traceId\":\"\(id)\""))
        #expect(answer.header("Cache-Control") == "no-store")
        let document = try Repository.yaml("docs/openapi/messaging.yaml")
        let schema = try #require(document["components"]?["schemas"]?["Problem"])
        let problem = try DocumentTree(json: answer.body)
        #expect(JSONSchema(schema, in: document).problems(problem) == [])
        #expect(text.contains("\"status\":\(status)}"))
    }

    @Test func whatItRefusesIsAProblem() async throws {
        let (nobody, free) = (try FreePorts.hold(), try FreePorts.take())
        close(nobody.socket)
        try await withGateway(before: [nobody.port, free]) { gateway in
            let client = try HTTPClient()
            func ask(_ path: String, _ headers: [(String, String)] = [], body: [UInt8] = []) async throws
                -> ClientResponse
            {
                try await client.send(
                    ClientRequest(body.isEmpty ? .get : .post, gateway + path, headers: headers, body: body))
            }
            let long = String(repeating: "a", count: 9_000)
            try expectProblem(try await ask("/v1/sales/%zz"), 400)
            try expectProblem(try await ask("/metrics"), 404)
            let trace = TraceContext.new()
            let traced = try await ask("/metrics", [("traceparent", trace.traceparent)])
            #expect(traced.header("X-Request-Id") == trace.traceID)
            let tracing = Process()
            tracing.executableURL = URL(filePath: "/usr/bin/curl")
            tracing.arguments = ["--silent", "--include", "--request", "TRACE", "\(gateway)/v1/sales"]
            let said = Pipe()
            tracing.standardOutput = said
            try tracing.run()
            let text = String(decoding: said.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self)
            #expect(text.hasPrefix("HTTP/1.1 405") && text.contains("\r\nAllow: GET, HEAD, POST"))
            try expectProblem(try await ask("/v1/sales?\(long)"), 414)
            try expectProblem(try await ask("/v1/sales", [("X-Long", long)]), 431)
            try expectProblem(try await ask("/v1/sales"), 503)
            // More than twenty a second and a hundred at once.
            let answers = try await withThrowingTaskGroup(of: ClientResponse.self) { group in
                for _ in 0..<200 { group.addTask { try await ask("/v1/sessions", body: [123, 125]) } }
                return try await group.reduce(into: []) { $0.append($1) }
            }
            try expectProblem(try #require(answers.first { $0.status == 429 }), 429)
        }
    }

    @Test func aBodyMayBeAsLongAsTheDocumentsSay() async throws {
        let limits = try Self.bodyLimits()
        #expect(limits.count > 10)
        try await withInstance({ request in .text("\(request.body.count)") }) { port in
            try await withGateway(before: [port], settings: ["GATEWAY_RATE": "10000"]) { gateway in
                let client = try HTTPClient()
                for (operation, limit) in limits {
                    let parts = operation.split(separator: " ").map(String.init)
                    let method = try #require(HTTPMethod(rawValue: parts[0]))
                    let path = parts[1].replacing(/\{[A-Za-z]+\}/, with: "1")
                    let longest = ClientRequest(method, gateway + path, body: .init(repeating: 32, count: limit))
                    let answer = try await client.send(longest)
                    #expect(String(decoding: answer.body, as: UTF8.self) == "\(limit)", "\(operation)")
                    let longer = ClientRequest(method, gateway + path, body: .init(repeating: 32, count: limit + 1))
                    try expectProblem(try await client.send(longer), 413)
                }
            }
        }
    }

    /// What anybody may write into a request makes nobody another client.
    @Test(arguments: ["none", "random", "forged", "forwarded"])
    func anAddressIsLimitedWhateverItsRequestsSay(kind: String) async throws {
        let key = try SigningKey.generate()
        try await withInstance({ _ in .empty() }) { port in
            // So slow that nothing is paid off while the test runs: the first and two more pass.
            try await withGateway(before: [port], settings: ["GATEWAY_RATE": "1"]) { gateway in
                let client = try HTTPClient()
                func ask(from address: String) async throws -> Int {
                    let fields: (String, String)? =
                        switch kind {
                        case "random": ("Authorization", "Bearer \(Random.token())\(Random.token())")
                        case "forged":
                            (
                                "Authorization",
                                "Bearer "
                                    + (try key.sign(
                                        claims: AccessClaims(
                                            sub: .random(), kind: .person, sid: .random(), iat: 1, exp: 9_999_999_999)))
                            )
                        case "forwarded": ("X-Forwarded-For", "203.0.113.\(Int.random(in: 0...255))")
                        default: nil
                        }
                    var request = ClientRequest(.get, "\(gateway)/v1/orders", headers: fields.map { [$0] } ?? [])
                    request.localAddress = address
                    return try await client.send(request).status
                }
                var statuses: [Int] = []
                for _ in 0..<30 { statuses.append(try await ask(from: LoopbackAddress.client(1))) }
                #expect(statuses.first == 204)
                #expect(statuses.count { $0 == 429 } >= 20)
                #expect(try await ask(from: LoopbackAddress.client(2)) == 204)
            }
        }
    }

    @Test func theClientOfATrustedProxyIsTheLastAddressThatIsNone() async throws {
        let seen = Mutex<[String]>([])
        try await withInstance({ request in
            seen.withLock { $0.append(request.headers.values("X-Forwarded-For").joined(separator: " and ")) }
            return .empty()
        }) { port in
            let proxies = ["GATEWAY_TRUSTED_PROXIES": "\(LoopbackAddress.client(1)),10.9.8.0/24", "GATEWAY_RATE": "1"]
            try await withGateway(before: [port], settings: proxies) { gateway in
                let client = try HTTPClient()
                func ask(_ number: Int, _ forwarded: String) async throws -> Int {
                    var request = ClientRequest(
                        .get, "\(gateway)/v1/orders", headers: [("X-Forwarded-For", forwarded)])
                    request.localAddress = LoopbackAddress.client(number)
                    return try await client.send(request).status
                }
                _ = try await ask(1, "192.0.2.1, 203.0.113.9, 10.9.8.7")
                _ = try await ask(2, "203.0.113.9")
                #expect(seen.withLock { $0 } == ["203.0.113.9", LoopbackAddress.client(2)])
                // One behind the proxy who asks too often keeps out no other one behind it.
                var statuses: [Int] = []
                for _ in 0..<10 { statuses.append(try await ask(1, "203.0.113.66")) }
                #expect(statuses.contains(429))
                #expect(try await ask(1, "203.0.113.67") == 204)
            }
        }
    }

    @Test func anAddressHasSoManyRequestsUnderWay() async throws {
        try await withInstance({ _ in .empty() }) { port in
            try await withGateway(before: [port], settings: ["GATEWAY_CONNECTIONS": "2"]) { gateway in
                let client = try HTTPClient()
                func ask(_ number: Int) async throws -> ClientResponse {
                    var request = ClientRequest(.get, "\(gateway)/v1/orders")
                    request.localAddress = LoopbackAddress.client(number)
                    return try await client.send(request)
                }
                // Two whose bodies do not end. They count once the gateway has read their heads: ask until it has.
                let slow = try (0..<2).map { _ in
                    let socket = try LocalSocket(port: try #require(URL(string: gateway)?.port), from: 1)
                    socket.say("POST /v1/orders HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nx")
                    return socket
                }
                var answer = try await ask(1)
                while answer.status == 204 { answer = try await ask(1) }
                try expectProblem(answer, 429)
                #expect(try await ask(2).status == 204)
                for socket in slow { socket.say("x") }
                while answer.status == 429 { answer = try await ask(1) }
                #expect(answer.status == 204)
            }
        }
    }

    @Test func aRequestWithoutAHostHasOneBehindTheGateway() async throws {
        let hosts = Mutex<[String]>([])
        try await withInstance({ request in
            hosts.withLock { $0.append(request.header("Host") ?? "") }
            return .empty()
        }) { port in
            try await withGateway(before: [port]) { gateway in
                let socket = try LocalSocket(port: try #require(URL(string: gateway)?.port), from: 1)
                socket.say("GET /v1/orders HTTP/1.0\r\n\r\n")
                #expect(await socket.hearToTheEnd().hasPrefix("HTTP/1.1 204"))
                #expect(hosts.withLock { $0 } == ["stampede"])
            }
        }
    }

    /// The gateway weakens the tag of what it compresses; its service knows the tag as it made it.
    @Test func answersAreCompressedButForThoseWithTokens() async throws {
        let matched = Mutex<String?>(nil)
        try await withInstance({ request in
            matched.withLock { $0 = request.header("If-Match") }
            return .json(Array("{\"text\":\"\(String(repeating: "x", count: 5_000))\"}".utf8)).with("ETag", "\"7\"")
        }) { port in
            try await withGateway(before: [port]) { gateway in
                let client = try HTTPClient()
                func ask(_ method: HTTPMethod, _ path: String) async throws -> ClientResponse {
                    try await client.send(
                        ClientRequest(
                            method, gateway + path, headers: [("Accept-Encoding", "gzip"), ("If-Match", "W/\"7\"")]))
                }
                let orders = try await ask(.get, "/v1/orders")
                #expect(orders.header("Content-Encoding") == "gzip" && orders.body.count < 1_000)
                #expect(orders.header("Vary") == "Accept-Encoding" && orders.header("ETag") == "W/\"7\"")
                #expect(matched.withLock { $0 } == "\"7\"")
                for path in ["/v1/sessions", "/v1/sessions/refresh", "/v1/accounts", "/v1/operator/session"] {
                    let tokens = try await ask(.post, path)
                    #expect(tokens.header("Content-Encoding") == nil && tokens.body.count > 5_000)
                    #expect(tokens.header("Cache-Control") == "no-store")
                }
            }
        }
    }

    @Test func aPageOfAnotherOriginMayAskWhereSomebodySaidSoAndNowhereElse() async throws {
        let origin = "https://shop.example"
        try await withInstance({ _ in .json(Array("{}".utf8)) }) { port in
            for (allowed, isAllowed) in [("none", false), ("https://other.example, \(origin)", true)] {
                try await withGateway(before: [port], settings: ["GATEWAY_ORIGINS": allowed]) { gateway in
                    let client = try HTTPClient()
                    func ask(_ method: HTTPMethod, _ path: String, _ origin: String) async throws -> ClientResponse {
                        try await client.send(ClientRequest(method, gateway + path, headers: [("Origin", origin)]))
                    }
                    for path in ["/v1/orders", "/none"] {
                        let answer = try await ask(.get, path, origin)
                        #expect(answer.header("Access-Control-Allow-Origin") == (isAllowed ? origin : nil), "\(path)")
                        #expect(answer.header("Access-Control-Allow-Credentials") == nil)
                        #expect(answer.header("X-Content-Type-Options") == "nosniff")
                    }
                    let preflight = try await ask(.options, "/v1/orders", origin)
                    #expect((preflight.header("Access-Control-Allow-Headers") != nil) == isAllowed)
                    #expect(preflight.header("Access-Control-Allow-Origin") == (isAllowed ? origin : nil))
                    for other in ["https://shop.example.evil", "http://shop.example", "null"] {
                        let answer = try await ask(.get, "/v1/orders", other)
                        #expect(answer.header("Access-Control-Allow-Origin") == nil, "\(other)")
                    }
                }
            }
        }
    }

    @Test(arguments: [
        ("GATEWAY_RATE", "0"), ("GATEWAY_RATE", "1;"), ("GATEWAY_CONNECTIONS", "many"),
        ("GATEWAY_TRUSTED_PROXIES", "10.0.0.1; }"), ("GATEWAY_UNLIMITED", "proxy.example"),
        ("GATEWAY_ORIGINS", "https://shop.example/"), ("GATEWAY_ORIGINS", "*"), ("GATEWAY_ORIGINS", "https://a\"; }"),
    ])
    func aSettingThatIsNoneIsRefused(name: String, value: String) async throws {
        let script = """
            set -euo pipefail
            source deploy/nginx/fill.sh
            upstream_servers() { echo 'server 127.0.0.1:9;'; }
            fill_gateway deploy/nginx/gateway.conf 127.0.0.1:1 '' 1024 /tmp /tmp /tmp >/dev/null 2>&1
            """
        let program = try ChildProgram(
            "/bin/bash", ["-c", "cd '\(Stack.root)'\n" + script],
            environment: ["PATH": "/usr/sbin:/usr/bin:/bin", name: value], output: .standardError)
        #expect(await program.wait() == 78)
    }

    @Test func nobodyIsRefusedBecauseOneInstanceOfTwoIsAway() async throws {
        let dead = try FreePorts.hold()
        close(dead.socket)
        let count = Mutex(0)
        try await withInstance({ _ in
            count.withLock { $0 += 1 }
            return .empty()
        }) { port in
            try await withGateway(before: [dead.port, port]) { gateway in
                let client = try HTTPClient()
                for method in [HTTPMethod.get, .post] {
                    for _ in 0..<10 {
                        let answer = try await client.send(ClientRequest(method, "\(gateway)/v1/orders"))
                        #expect(answer.status == 204)
                    }
                }
                // A body that comes after its head is not kept, and still reaches the other one.
                for _ in 0..<10 {
                    let socket = try LocalSocket(port: try #require(URL(string: gateway)?.port), from: 1)
                    socket.say("POST /v1/orders HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nConnection: close\r\n\r\nx")
                    try await Task.sleep(for: .milliseconds(10))
                    socket.say("x")
                    #expect(await socket.hearToTheEnd().hasPrefix("HTTP/1.1 204"))
                }
            }
        }
        #expect(count.withLock { $0 } == 30)
    }

    @Test(arguments: ["/v1/orders", "/v1/sales", "/v1/sessions"])
    func aBodyThatComesByteByByteIsGivenUp(path: String) async throws {
        try await withInstance({ _ in .empty() }, bodySeconds: 1) { port in
            try await withGateway(before: [port]) { gateway in
                let socket = try LocalSocket(port: try #require(URL(string: gateway)?.port), from: 1)
                socket.say("POST \(path) HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\n")
                let dripping = Task {
                    while !Task.isCancelled {
                        socket.say("x")
                        try await Task.sleep(for: .milliseconds(100))
                    }
                }
                let heard = await socket.hearToTheEnd()
                dripping.cancel()
                #expect(heard.hasPrefix("HTTP/1.1 408"), "\(heard)")
                #expect(heard.contains("application/problem+json"), "\(heard)")
            }
        }
    }

    /// A refresh token that comes twice ends its session: the gateway must not be who sends it twice.
    @Test func aCommandThatMayHaveArrivedIsNotSentAgain() async throws {
        let count = Mutex(0)
        let proxy = Mutex<FaultProxy?>(nil)
        try await withInstance({ _ in
            let number = count.withLock { count in
                count += 1
                return count
            }
            if number == 2 { proxy.withLock { $0 }?.reset() }
            return .empty()
        }) { port in
            let between = try FaultProxy(to: port)
            proxy.withLock { $0 = between }
            defer { between.close() }
            try await withGateway(before: [between.port, between.port]) { gateway in
                // One connection and so one of nginx's workers, which has kept its own to the instance.
                let client = try HTTPClient(connectionsMax: 1)
                let request = ClientRequest(.post, "\(gateway)/v1/sessions/refresh")
                #expect(try await client.send(request).status == 204)
                #expect(try await client.send(request).status == 503)
            }
        }
        #expect(count.withLock { $0 } == 2)
    }
}

/// A bare socket to a port of this machine, from an address of its own.
private final class LocalSocket: Sendable {
    private let descriptor: Int32

    init(port: Int, from number: Int) throws {
        descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
        func named(_ text: String, _ port: Int) -> sockaddr_in {
            var address = sockaddr_in()
            address.sin_family = sa_family_t(AF_INET)
            address.sin_port = UInt16(port).bigEndian
            inet_pton(AF_INET, text, &address.sin_addr)
            return address
        }
        func use(
            _ address: sockaddr_in, _ call: (Int32, UnsafePointer<sockaddr>, socklen_t) -> Int32
        ) throws {
            let code = withUnsafePointer(to: address) { pointer in
                pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                    call(descriptor, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
                }
            }
            try #require(code == 0)
        }
        try use(named(LoopbackAddress.client(number), 0)) { bind($0, $1, $2) }
        try use(named("127.0.0.1", port)) { connect($0, $1, $2) }
    }

    deinit { close(descriptor) }

    func say(_ text: String) {
        _ = Array(text.utf8).withUnsafeBytes { send(descriptor, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL)) }
    }

    func hearToTheEnd() async -> String {
        let descriptor = descriptor
        return await Task.detached {
            var heard: [UInt8] = []
            var buffer = [UInt8](repeating: 0, count: 4_096)
            while case let count = recv(descriptor, &buffer, buffer.count, 0), count > 0 {
                heard += buffer.prefix(count)
            }
            return String(decoding: heard, as: UTF8.self)
        }.value
    }
}
