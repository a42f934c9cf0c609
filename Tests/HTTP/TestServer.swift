// A server on a free port for the length of a test.
import Foundation
import HTTP
import Observability
import TestSupport

/// Runs `body` with a server of these routes and drains it after.
func withServer(
    _ routes: [Route], metrics: Metrics = Metrics(), log: Logger = Logger(service: "test", sink: .discarding),
    problem: @escaping @Sendable (any Error) -> Problem? = { _ in nil },
    configure: (inout HTTPServerConfiguration) -> Void = { _ in },
    _ body: (UInt16, HTTPServer) async throws -> Void
) async throws {
    var configuration = HTTPServerConfiguration()
    configure(&configuration)
    let server = try HTTPServer(configuration, routes: routes, log: log, metrics: metrics, problem: problem)
    let port = try server.start()
    do {
        try await body(port, server)
    } catch {
        await server.drain(withinSeconds: 0)
        throw error
    }
    await server.drain(withinSeconds: 5)
}

/// Answers with what it was asked, so that tests can look at what arrived.
let echo = Route(.post, "/echo", bodyBytesMax: 64 << 10) { request in
    HTTPResponse(200, headers: [("Content-Type", "application/octet-stream")], body: .bytes(request.body))
}
let hello = Route.inline(.get, "/hello") { _ in .text("hello") }

extension RawPeer {
    /// One request on this connection and its answer.
    func ask(_ request: String) async throws -> RawAnswer {
        await say(request)
        return try await answer(toHead: request.hasPrefix("HEAD"))
    }

    func get(_ path: String, fields: String = "") async throws -> RawAnswer {
        try await ask("GET \(path) HTTP/1.1\r\nHost: a\r\n\(fields)\r\n")
    }

    func post(_ path: String, _ body: String, fields: String = "") async throws -> RawAnswer {
        try await ask("POST \(path) HTTP/1.1\r\nHost: a\r\nContent-Length: \(body.utf8.count)\r\n\(fields)\r\n\(body)")
    }
}
