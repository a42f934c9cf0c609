// A change as an event of a stream.
import HTTP
import JSON
import Models

struct StreamView: Sendable {
    let sales: SaleTables

    func event(_ change: StreamChange, id: String) -> EncodedEvent {
        switch change.subject {
        case .message(let message): Self.event("message", id, MessageView(message: message, sales: sales))
        case .post(let post): Self.event("post", id, PostView(post: post, sales: sales))
        case .order(let order): Self.event("order", id, order)
        }
    }

    /// Tells a reader where its stream begins.
    static func ready(_ position: StreamPosition) -> EncodedEvent {
        EncodedEvent(id: position.description, event: "ready", data: Array("{}".utf8))
    }

    private static func event(_ name: String, _ id: String, _ view: some JSONWritable) -> EncodedEvent {
        var writer = JSONWriter(capacity: 512)
        view.write(to: &writer)
        return EncodedEvent(id: id, event: name, data: writer.bytes)
    }
}
