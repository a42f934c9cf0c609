// What happened, in order, and waiting for it.
import Kafka
import Synchronization
import TestSupport

/// Collects events from any task and lets a test wait until what it expects has happened.
final class Recorder<Event: Sendable>: Sendable {
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

    var events: [Event] { state.withLock { $0.events } }

    func record(_ event: Event) {
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
    func wait(until condition: @escaping @Sendable ([Event]) -> Bool) async {
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

extension TestBroker {
    /// Lets requests fail until that has shown. Librdkafka's cluster may lose an error that it is told of in the moment
    /// in which such a request arrives.
    func fail(_ request: EmbeddedBroker.Request, with error: Int32, until hasShown: () -> Bool) async {
        while !hasShown(), !Task.isCancelled {
            embedded?.stopFailing(request)
            embedded?.failRequests(request, with: [error])
            try? await Task.sleep(for: .seconds(1))
        }
        embedded?.stopFailing(request)
    }
}

/// Closed until opened.
final class Gate: Sendable {
    private let recorder = Recorder<Void>()

    func open() { recorder.record(()) }

    func pass() async { await recorder.wait { !$0.isEmpty } }
}
