// The gateway's settings, in a real nginx before instances that the tests play.
import Foundation
import HTTP
import Observability
import Synchronization
import TestSupport
import Testing

@testable import StampedeCore

@Suite struct GatewayTests {
    /// Runs nginx with these ports as the instances of every service.
    private func withGateway(before ports: [Int], _ body: (String) async throws -> Void) async throws {
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
            fill_gateway deploy/nginx/gateway.conf 127.0.0.1:\(port) "$user" 1024 \(folder) \(folder) >\(folder)/nginx.conf
            nginx -p \(folder) -c \(folder)/nginx.conf -e \(folder)/error.log
            """
        let started = try ChildProgram(
            "/bin/bash", ["-c", "cd '\(Stack.root)'\n" + script], environment: ["PATH": "/usr/sbin:/usr/bin:/bin"],
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
        _ answer: @escaping @Sendable (HTTPRequest) -> HTTPResponse, _ body: (Int) async throws -> Void
    ) async throws {
        let routes = [
            Route.inline(.get, "/v1/orders", answer), Route.inline(.post, "/v1/orders", answer),
            Route.inline(.post, "/v1/sessions/refresh", answer),
        ]
        let server = try HTTPServer(
            HTTPServerConfiguration(), routes: routes, log: Logger(service: "test", sink: .discarding),
            metrics: Metrics(), problem: { _ in nil })
        let port = try server.start()
        do { try await body(Int(port)) } catch {
            await server.drain(withinSeconds: 0)
            throw error
        }
        await server.drain(withinSeconds: 0)
    }

    /// What the gateway says is a problem as the documents have it.
    private func expectProblem(_ answer: ClientResponse, _ status: Int) throws {
        let text = String(decoding: answer.body, as: UTF8.self)
        #expect(answer.status == status, "\(text)")
        #expect(answer.header("Content-Type") == "application/problem+json")
        #expect((answer.header("Retry-After") == "1") == [429, 503].contains(status))
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
            try expectProblem(try await ask("/v1/orders", body: .init(repeating: 32, count: 1 << 20 + 1)), 413)
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
            }
        }
        #expect(count.withLock { $0 } == 20)
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
