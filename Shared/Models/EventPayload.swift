import JSON

/// The body of an event: what a record's value says. Its type and version stand in the record's `ce_type` header.
///
/// Reading ignores members that it does not know, so that a newer publisher can add some. `Codable` says the same
/// format by other means; tests hold the two against each other.
public protocol EventPayload: JSONWritable, Codable, Sendable, Equatable {
    /// CloudEvents' `type`: `stampede.order.placed.v1`.
    static var type: String { get }

    init(json: JSONValue) throws(JSONError)
}
