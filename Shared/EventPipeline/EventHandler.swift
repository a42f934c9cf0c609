/// What a service does with a topic's events.
public protocol EventHandler: Sendable {
    /// Applies a batch of one partition, in order, through the unit of work's transaction. May run again for the same batch
    /// when the transaction failed: it must keep nothing outside of it.
    ///
    /// An error that no retry can cure makes the processor look for the one record that causes it, by halves, and put
    /// that one to the dead letters.
    func apply(_ batch: EventBatch, _ unit: UnitOfWork) async throws

    /// What a committed batch publishes: a pure function of the input and the deferred records that `apply` left in
    /// `UnitOfWork.publish(rendering:)`. Called again, with the batch read again, when the first time did not end.
    func render(_ batch: EventBatch, deferred: [UInt8], into outgoing: inout Outgoing) throws
}

extension EventHandler {
    public func render(_ batch: EventBatch, deferred: [UInt8], into outgoing: inout Outgoing) throws {}
}

/// Thrown by a handler that needs something done outside of its transaction first. The transaction is rolled back,
/// `preparation` runs, and the batch is applied again at once.
public struct TryAgain: Error {
    public let preparation: @Sendable () async throws -> Void

    public init(after preparation: @escaping @Sendable () async throws -> Void) {
        self.preparation = preparation
    }
}
