// Work that is done again and again for as long as a service runs.
import Synchronization

/// Runs a body every interval of monotonic time, or sooner when it is woken. No error ends it: the body runs again after
/// a pause that grows with each error and does not end early, so whoever wakes it often does not hammer what is away.
///
/// With a `restInterval` it rests while there is nothing to do: each run that finds nothing doubles the pause until that is
/// reached. A run that finds something, `wake` and `stir` bring the interval back.
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
        /// The pause after the next run that finds nothing.
        var pause: Duration?
        /// The pause under way is longer than the interval.
        var isResting = false
        var isStirred = false
    }

    private let interval: Duration?
    private let restInterval: Duration?
    private let runsAtOnce: Bool
    private let shortestRetry: Duration
    /// Whether there was anything to do.
    private let body: @Sendable () async throws -> Bool
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
        restInterval = nil
        self.runsAtOnce = runsAtOnce
        self.shortestRetry = shortestRetry
        self.told = told
        self.body = {
            try await body()
            return true
        }
    }

    /// - Parameters:
    ///   - interval: the pause after a run that found something, or after which something may be found soon.
    ///   - restInterval: the longest pause, which comes after several runs that found nothing.
    ///   - body: says whether it found anything to do.
    public init(
        every interval: Duration, restingFor restInterval: Duration,
        told: @escaping @Sendable (Outcome) -> Void = { _ in }, _ body: @escaping @Sendable () async throws -> Bool
    ) {
        self.interval = interval
        self.restInterval = restInterval
        runsAtOnce = true
        shortestRetry = .zero
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

    /// Something has happened that may give it work within the interval: it rests no longer.
    public func stir() {
        let isResting = state.withLock { state in
            state.isStirred = true
            return state.isResting
        }
        if isResting { wake() }
    }

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
                let foundAny = try await body()
                backoff.reset()
                if state.withLock({ $0.error.take() != nil }) { told(.recovered) }
                await pause(rests: !foundAny)
            } catch {
                if Task.isCancelled { return }
                let isFirst = state.withLock { $0.error.replace(by: "\(error)") == nil }
                told(.failed(error, isFirst: isFirst))
                try? await Task.sleep(for: max(backoff.next(), shortestRetry))
            }
        }
    }

    private func pause(rests: Bool = false) async {
        let pause = state.withLock { state in
            guard let interval, let restInterval, rests, !state.isStirred else {
                state.pause = nil
                state.isStirred = false
                return interval
            }
            let pause = min(restInterval, (state.pause ?? interval / 2) * 2)
            state.pause = pause
            state.isResting = pause > interval
            return pause
        }
        let isWoken = await wakeup.wait(milliseconds: pause.map { Int(($0.inSeconds * 1000).rounded(.up)) })
        state.withLock { state in
            state.isResting = false
            if isWoken { state.pause = nil }
        }
    }
}

extension Optional {
    fileprivate mutating func replace(by value: Wrapped) -> Wrapped? {
        defer { self = value }
        return self
    }
}
