// Waiting for others without polling: they signal, a task waits.
import Dispatch
import Synchronization

/// A latch that remembers one signal. One task waits at a time.
public final class Wakeup: Sendable {
    private struct State {
        var isSignalled = false
        var waiter: CheckedContinuation<Bool, Never>?
        /// Tells the time-out of an earlier wait from that of the present one.
        var waits: UInt64 = 0
    }

    private let state = Mutex(State())

    public init() {}

    /// From any thread, also a C library's: it only resumes the task.
    public func signal() {
        let waiter = state.withLock { state -> CheckedContinuation<Bool, Never>? in
            guard let waiter = state.waiter else {
                state.isSignalled = true
                return nil
            }
            state.waiter = nil
            return waiter
        }
        waiter?.resume(returning: true)
    }

    /// Returns true after a signal, at once if there has been one since the last wait; false when the time ran out.
    /// A cancelled task is woken as if by a signal.
    public func wait(milliseconds: Int? = nil) async -> Bool {
        await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                let (ready, displaced, id) = state.withLock {
                    state -> (Bool, CheckedContinuation<Bool, Never>?, UInt64) in
                    state.waits += 1
                    if state.isSignalled {
                        state.isSignalled = false
                        return (true, nil, state.waits)
                    }
                    let displaced = state.waiter
                    state.waiter = continuation
                    return (false, displaced, state.waits)
                }
                displaced?.resume(returning: true)
                if ready {
                    continuation.resume(returning: true)
                } else if let milliseconds {
                    DispatchQueue.global().asyncAfter(deadline: .now() + .milliseconds(milliseconds)) { [self] in
                        expire(id)
                    }
                }
            }
        } onCancel: {
            signal()
        }
    }

    private func expire(_ id: UInt64) {
        let waiter = state.withLock { state -> CheckedContinuation<Bool, Never>? in
            guard state.waits == id, let waiter = state.waiter else { return nil }
            state.waiter = nil
            return waiter
        }
        waiter?.resume(returning: false)
    }
}
