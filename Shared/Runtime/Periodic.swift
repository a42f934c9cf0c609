// Work that is done again and again for as long as a service runs.
import Synchronization

/// Runs a body every interval of monotonic time, or sooner when it is woken. No error ends it: the body runs again after
/// a pause that grows with each error and does not end early, so whoever wakes it often does not hammer what is away.
public final class Periodic: Sendable {
    /// Told to the owner: every error, and the first success after one.
    public enum Outcome: Sendable {
        /// - Parameter isFirst: the last run succeeded, or there was none.
        case failed(any Error, isFirst: Bool)
        case recovered
    }

    private struct State {
        var task: Task<Void, Never>?
        var error: String?
        var isStopped = false
    }

    private let interval: Duration?
    private let runsAtOnce: Bool
    private let shortestRetry: Duration
    private let body: @Sendable () async throws -> Void
    private let told: @Sendable (Outcome) -> Void
    private let wakeup = Wakeup()
    private let state = Mutex(State())

    /// - Parameters:
    ///   - interval: the pause after each run; nil: until it is woken.
    ///   - runsAtOnce: whether the first run comes with the start; otherwise after the first pause.
    ///   - shortestRetry: no run follows one that failed sooner than this.
    ///   - told: called from the task that runs the body.
    public init(
        every interval: Duration?, runsAtOnce: Bool = true, shortestRetry: Duration = .zero,
        told: @escaping @Sendable (Outcome) -> Void = { _ in }, _ body: @escaping @Sendable () async throws -> Void
    ) {
        self.interval = interval
        self.runsAtOnce = runsAtOnce
        self.shortestRetry = shortestRetry
        self.told = told
        self.body = body
    }

    /// Whether it runs, and the last run succeeded.
    public var isReady: Bool { state.withLock { $0.task != nil && !$0.isStopped && $0.error == nil } }

    /// Why the last run failed; nil after a success.
    public var lastError: String? { state.withLock { $0.error } }

    /// Once. After `stop` it does nothing.
    public func start() {
        state.withLock { state in
            guard state.task == nil, !state.isStopped else { return }
            state.task = Task.detached { [self] in await run() }
        }
    }

    /// Runs the body soon: at once while it pauses, and once more after a run that is under way.
    public func wake() { wakeup.signal() }

    /// Cancels a run that is under way and returns when it has ended.
    public func stop() async { await end()?.value }

    /// The same without waiting: for a body that ends late and can do no harm.
    public func cancel() { end() }

    @discardableResult
    private func end() -> Task<Void, Never>? {
        let task = state.withLock { state in
            state.isStopped = true
            return state.task
        }
        task?.cancel()
        return task
    }

    private func run() async {
        var backoff = Backoff()
        if !runsAtOnce { await pause() }
        while !Task.isCancelled {
            do {
                try await body()
                backoff.reset()
                if state.withLock({ $0.error.take() != nil }) { told(.recovered) }
                await pause()
            } catch {
                if Task.isCancelled { return }
                let isFirst = state.withLock { $0.error.replace(by: "\(error)") == nil }
                told(.failed(error, isFirst: isFirst))
                try? await Task.sleep(for: max(backoff.next(), shortestRetry))
            }
        }
    }

    private func pause() async {
        _ = await wakeup.wait(milliseconds: interval.map { Int(($0.inSeconds * 1000).rounded(.up)) })
    }
}

extension Optional {
    fileprivate mutating func replace(by value: Wrapped) -> Wrapped? {
        defer { self = value }
        return self
    }
}
