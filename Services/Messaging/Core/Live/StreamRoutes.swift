// The live event stream.
import HTTP
import Models
import ServiceKit

struct StreamRoutes: Sendable {
    let door: Doorkeeper
    let hub: LiveHub

    var routes: [Route] {
        [Route(.get, "/v1/events") { try await open($0) }]
    }

    private func open(_ request: HTTPRequest) async throws -> HTTPResponse {
        let claims = try door.member(request)
        // A browser that comes back by itself sends the header; a client that starts anew may know where it stood.
        let header = request.header("Last-Event-ID")
        let field = header == nil ? "after" : "Last-Event-ID"
        var since: StreamPosition?
        // Empty is from now on: so a client says that it has seen no event yet.
        if let text = header ?? request.query["after"], !text.isEmpty {
            since = StreamPosition(text)
            guard since != nil else { throw Self.unusable(field) }
        }
        do {
            let stream = try await hub.open(
                claims.sub, session: claims.sid, since: since, expiresAt: Timestamp(seconds: claims.exp))
            return .events(stream).with("Cache-Control", "no-store")
        } catch is LiveHub.Refusal {
            throw Self.unusable(field)
        }
    }

    private static func unusable(_ field: String) -> Problem {
        .badRequest(
            "Read the lists anew and open the stream without a position.",
            fields: [FieldProblem(field, expected: "the ID of an event of this stream, not too long ago")])
    }
}
