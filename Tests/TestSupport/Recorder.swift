// What happened, in order, and waiting for it.
import Synchronization

/// Collects events from any task and lets a test wait until what it expects has happened.
public final class Recorder<Event: Sendable>: Sendable {
    private struct Waiter {
        let condition: @Sendable ([Event]) -> Bool
        let continuation: CheckedContinuation<Void, Never>
    }

    private struct State {
        var events: [Event] = []
        var waiters: [Int: Waiter] = [:]
        var waits = 0
    }

    private let state = Mutex(State())

    public init() {}

    public var events: [Event] { state.withLock { $0.events } }

    public func record(_ event: Event) {
        let ready = state.withLock { state in
            state.events.append(event)
            let ready = state.waiters.filter { $0.value.condition(state.events) }
            for number in ready.keys { state.waiters[number] = nil }
            return ready.values.map(\.continuation)
        }
        for continuation in ready { continuation.resume() }
    }

    /// Returns when `condition` holds, or the task is cancelled, as a suite's time limit does: a test that waits in vain
    /// ends and lets the others be told.
    public func wait(until condition: @escaping @Sendable ([Event]) -> Bool) async {
        let number = state.withLock { state in
            state.waits += 1
            return state.waits
        }
        await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                let isOver = state.withLock { state in
                    if Task.isCancelled || condition(state.events) { return true }
                    state.waiters[number] = Waiter(condition: condition, continuation: continuation)
                    return false
                }
                if isOver { continuation.resume() }
            }
        } onCancel: {
            state.withLock { $0.waiters.removeValue(forKey: number) }?.continuation.resume()
        }
    }
}

/// Closed until opened; whoever waits goes on then, and whoever comes later at once.
public final class Gate: Sendable {
    private let recorder = Recorder<Void>()

    public init() {}

    public func open() { recorder.record(()) }

    /// Returns when it is open, or the task is cancelled.
    public func pass() async { await recorder.wait { !$0.isEmpty } }

    /// The same for one that ignores its cancellation.
    public func passStubbornly() async { await Task { await pass() }.value }
}

/// Counts, and lets others wait until it has counted so far.
public final class Tally: Sendable {
    private let recorder = Recorder<Void>()

    public init() {}

    public var count: Int { recorder.events.count }

    public func add() { recorder.record(()) }

    public func reach(_ count: Int) async { await recorder.wait { $0.count >= count } }
}
