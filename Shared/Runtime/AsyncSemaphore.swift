// A bound on how much goes on at the same time, first come, first served.
import Synchronization

/// Lets a number of tasks at a time do something.
public final class AsyncSemaphore: Sendable {
    /// More wait than the semaphore takes.
    public struct Full: Error, Sendable {
        public init() {}
    }

    private struct State {
        var free: Int
        /// Those that wait, in their order, by a number that says who goes when one is cancelled. What stands before
        /// `first` has gone.
        var line: [(id: UInt64, continuation: CheckedContinuation<Outcome, Never>)?] = []
        var first = 0
        var waiting = 0
        var lastID: UInt64 = 0
    }

    private enum Outcome {
        case entered, cancelled, full
    }

    private let waitersMax: Int
    private let state: Mutex<State>

    /// - Parameters:
    ///   - count: how many are in at a time.
    ///   - waitersMax: how many more may wait.
    public init(_ count: Int, waitersMax: Int = .max) {
        precondition(count > 0)
        self.waitersMax = waitersMax
        state = Mutex(State(free: count))
    }

    /// Returns when it is the caller's turn; `leave` must follow. After a throw it must not.
    /// - Throws: `Full` when `waitersMax` are waiting, `CancellationError` when the caller is cancelled while it waits.
    public func enter() async throws {
        let id = state.withLock { state in
            state.lastID += 1
            return state.lastID
        }
        let outcome = await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                let now = state.withLock { state -> Outcome? in
                    if Task.isCancelled { return .cancelled }
                    if state.free > 0 {
                        state.free -= 1
                        return .entered
                    }
                    guard state.waiting < waitersMax else { return .full }
                    state.line.append((id, continuation))
                    state.waiting += 1
                    return nil
                }
                if let now { continuation.resume(returning: now) }
            }
        } onCancel: {
            giveUp(id)
        }
        switch outcome {
        case .entered: return
        case .cancelled: throw CancellationError()
        case .full: throw Full()
        }
    }

    public func leave() {
        let next = state.withLock { state -> CheckedContinuation<Outcome, Never>? in
            while state.first < state.line.count {
                defer { state.first += 1 }
                if let next = state.line[state.first] {
                    state.line[state.first] = nil
                    state.waiting -= 1
                    return next.continuation
                }
            }
            state.free += 1
            return nil
        }
        state.withLock { state in
            // Now and then: each that leaves costs the same, however many wait.
            guard state.first > 64, state.first * 2 > state.line.count else { return }
            state.line.removeFirst(state.first)
            state.first = 0
        }
        next?.resume(returning: .entered)
    }

    /// Runs `body` when it is the caller's turn.
    public func run<Value, Failure: Error>(
        _ body: () async throws(Failure) -> Value
    ) async throws -> Value {
        try await enter()
        defer { leave() }
        return try await body()
    }

    /// How many wait now.
    var waiting: Int { state.withLock { $0.waiting } }

    private func giveUp(_ id: UInt64) {
        let waiter = state.withLock { state -> CheckedContinuation<Outcome, Never>? in
            guard let index = state.line.lastIndex(where: { $0?.id == id }) else { return nil }
            defer {
                state.line[index] = nil
                state.waiting -= 1
            }
            return state.line[index]?.continuation
        }
        waiter?.resume(returning: .cancelled)
    }
}
