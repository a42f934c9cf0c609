// A part of a service that starts, runs and stops.

/// Something with a life of its own: a consumer, a table kept current, a timer.
///
/// The runner starts components in order and stops them in reverse. Where `start` throws because Postgres or Kafka is
/// away, it is called again after a while; any other error ends the program.
public protocol Component: Sendable {
    /// What health and logs call it.
    var name: String { get }

    /// Returns when the component is ready for others to rely on. What goes on after belongs into a task of its own.
    /// May be called again after it threw.
    func start() async throws

    /// Finishes what is at work and returns. Called once, also after a `start` that did not succeed. The runner does not
    /// wait longer than the drain time; what matters after that must be safe to lose.
    func stop() async

    /// Whether it does its work now. While one component is not, the service says that it is not ready.
    var isReady: Bool { get }

    /// Why it is not ready, where it can say so: for health.
    var detail: String? { get }
}

extension Component {
    public var isReady: Bool { true }
    public var detail: String? { nil }
}
