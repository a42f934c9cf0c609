// What every service has besides what it is for.
import Models
import ServiceKit

/// The feature that the others stand on: the publisher of what commands leave in the outbox, the keys by which callers are
/// known, and a watch over the outbox.
public struct Pipeline: Feature {
    public let consumes: [any Consumer]
    public let repeats: [any Component]

    /// - Parameters:
    ///   - relay: nil for a service that takes no commands.
    ///   - keys: nil for a service that verifies no tokens, or is their issuer.
    public init(_ context: ServiceContext, relay: Relay? = nil, keys: AccessKeys? = nil) {
        consumes = keys.map { [$0] } ?? []
        repeats = (relay.map { [$0] } ?? []) + [PipelineWatch(context)]
    }
}
