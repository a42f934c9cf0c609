// The route of the event stream.
import HTTP
import Models
import Security
import ServiceKit

struct StreamRoutes: Sendable {
    let streams: EventStreams

    func open(_ request: HTTPRequest, _ caller: AccessClaims) async throws -> HTTPResponse {
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
            let stream = try await streams.open(
                caller.sub, session: caller.sid, since: since, expiresAt: Timestamp(seconds: caller.exp))
            return .events(stream).with("Cache-Control", "no-store")
        } catch let refusal as StreamRefusal {
            switch refusal {
            case .unknownPosition, .tooFarBack: throw Self.unusable(field)
            case .notNow: throw Problem.unavailable(retryAfterSeconds: 1)
            }
        }
    }

    private static func unusable(_ field: String) -> Problem {
        .badRequest(
            "Read the lists anew and open the stream without a position.",
            fields: [FieldProblem(field, expected: "the ID of an event of this stream, not too long ago")])
    }
}
