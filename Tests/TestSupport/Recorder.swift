// What happened, in order, and waiting for it.
import Synchronization

/// Collects events from any task and lets a test wait until what it expects has happened.
package final class Recorder<Event: Sendable>: Sendable {
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

    package init() {}

    package var events: [Event] { state.withLock { $0.events } }

    package func record(_ event: Event) {
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
    package func wait(until condition: @escaping @Sendable ([Event]) -> Bool) async {
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
package final class Gate: Sendable {
    private let recorder = Recorder<Void>()

    package init() {}

    package func open() { recorder.record(()) }

    /// Returns when it is open, or the task is cancelled.
    package func pass() async { await recorder.wait { !$0.isEmpty } }

    /// The same for one that ignores its cancellation.
    package func passStubbornly() async { await Task { await pass() }.value }
}

/// Counts, and lets others wait until it has counted so far.
package final class Tally: Sendable {
    private let recorder = Recorder<Void>()

    package init() {}

    package var count: Int { recorder.events.count }

    package func add() { recorder.record(()) }

    package func reach(_ count: Int) async { await recorder.wait { $0.count >= count } }
}
