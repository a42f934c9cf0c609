import JSON

/// The body of an event: what a record's value says. Its type and version stand in the record's `ce_type` header.
///
/// Its schema says each member once; reader, writer and what tests ask of `docs/asyncapi.yaml` come of it. Reading ignores
/// members that it does not know, so that a newer publisher can add some.
public protocol EventPayload: JSONObject, Equatable {
    /// CloudEvents' `type`: `stampede.order.placed.v1`.
    static var type: String { get }
}
