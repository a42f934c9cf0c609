// Event streams: every connected reader is told at once what is new.
import ServiceKit

struct Live: Feature {
    let serves: [Endpoint]
    let repeats: [any Component]

    init(streams: EventStreams) {
        serves = [Endpoint(.get, "/v1/events", for: .members, StreamRoutes(streams: streams).open)]
        repeats = [streams]
    }
}
