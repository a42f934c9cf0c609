// Whether a sale that is not in the table is in the topic: what an order of a sale that nobody knows may cost.
import Models
import Synchronization

/// Asks the broker at most ten times a second, whoever wants to know and for however many sales.
final class SaleSearch: Sendable {
    /// The clocks of the brokers and of this machine differ by less.
    private static let skewSeconds: Int64 = 1
    private static let interval = Duration.milliseconds(100)

    private let catchUp: @Sendable () async throws -> Void
    private let now: @Sendable () -> Timestamp
    private let state = Mutex(State())

    private struct State {
        /// The table of sales is complete up to this moment.
        var completeAt = Timestamp.distantPast
        /// And for the records before these offsets, by partition: they were here before the broker was asked.
        var completeBefore: [Int32: Int64] = [:]
        var wanted: [Int32: Int64] = [:]
        var nextStart = ContinuousClock.now
        var running: Task<Void, any Error>?
    }

    /// - Parameter catchUp: brings the table of sales up to date with its topic.
    init(now: @escaping @Sendable () -> Timestamp, catchUp: @escaping @Sendable () async throws -> Void) {
        self.now = now
        self.catchUp = catchUp
    }

    /// True when a sale that a record names and the table does not have was not published before that record.
    func isComplete(for offset: Int64, of partition: Int32, at time: Timestamp) -> Bool {
        state.withLock {
            offset < $0.completeBefore[partition] ?? Int64.min
                || time.adding(seconds: Self.skewSeconds) < $0.completeAt
        }
    }

    /// Returns when the table is complete for the records of the partition before that offset, which are here.
    func complete(before offset: Int64, of partition: Int32) async throws {
        state.withLock { $0.wanted[partition] = max(offset, $0.wanted[partition] ?? offset) }
        while true {
            let step: Step = state.withLock { state in
                if offset <= state.completeBefore[partition] ?? Int64.min { return .done }
                if let running = state.running { return .wait(running) }
                let time = ContinuousClock.now
                if time < state.nextStart { return .sleep(until: state.nextStart) }
                state.nextStart = time + Self.interval
                let task = Task { [self, wanted = state.wanted] in try await look(wanted) }
                state.running = task
                return .wait(task)
            }
            switch step {
            case .done: return
            case .wait(let task): try await task.value
            case .sleep(let until): try await Task.sleep(until: until)
            }
        }
    }

    private enum Step {
        case done
        case wait(Task<Void, any Error>)
        case sleep(until: ContinuousClock.Instant)
    }

    private func look(_ wanted: [Int32: Int64]) async throws {
        let began = now()
        defer { state.withLock { $0.running = nil } }
        try await catchUp()
        state.withLock {
            $0.completeAt = max($0.completeAt, began)
            $0.completeBefore.merge(wanted) { max($0, $1) }
        }
    }
}
