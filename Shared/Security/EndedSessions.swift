// The sessions that were ended while tokens of theirs may still be out.
import Models
import Synchronization

/// A bounded set, whose members leave it when their tokens have run out by themselves.
final class EndedSessions: Sendable {
    private struct State {
        /// Until when, in seconds since 1970.
        var sessions: [SessionID: Int64] = [:]
        /// With so many the set is looked through for those that may leave.
        var sweepsAt = 1024
    }

    private let sessionsMax: Int
    private let state = Mutex(State())

    init(sessionsMax: Int) { self.sessionsMax = sessionsMax }

    var count: Int { state.withLock { $0.sessions.count } }

    func contains(_ session: SessionID) -> Bool { state.withLock { $0.sessions[session] != nil } }

    func insert(_ session: SessionID, untilSeconds: Int64, nowSeconds: Int64) {
        guard nowSeconds < untilSeconds else { return }
        state.withLock { state in
            state.sessions[session] = max(untilSeconds, state.sessions[session] ?? 0)
            guard state.sessions.count >= min(state.sweepsAt, sessionsMax) else { return }
            state.sessions = state.sessions.filter { nowSeconds < $0.value }
            // Beyond the bound those go whose tokens run out first, a tenth at a time.
            if state.sessions.count >= sessionsMax {
                let last = state.sessions.values.sorted()[sessionsMax / 10]
                state.sessions = state.sessions.filter { $0.value > last || $0.key == session }
            }
            state.sweepsAt = max(1024, 2 * state.sessions.count)
        }
    }
}

extension Timestamp {
    /// Seconds since 1970: the first whole one that is not before this.
    var secondsRoundedUp: Int64 { microseconds / 1_000_000 + (microseconds % 1_000_000 > 0 ? 1 : 0) }
}
