// What fails in the stock keeper's rounds.
import Observability
import Synchronization

/// What fails is said when it begins, when it changes and when it is over.
final class KeeperFailures: Sendable {
    private struct State {
        var last: [String: String] = [:]
        var now: [String: String] = [:]
    }

    private let log: Logger
    private let countMax: Int
    private let state = Mutex(State())

    init(log: Logger, atMost count: Int) {
        self.log = log
        countMax = count
    }

    func begin() { state.withLock { $0 = State(last: $0.now) } }

    func attempt(_ what: String, _ whose: String = "", _ body: () async throws -> Void) async {
        do { try await body() } catch {
            if Task.isCancelled { return }
            let (name, reason) = ("\(what) \(whose)", "\(error)")
            let isNew = state.withLock { state in
                if state.now.count < countMax { state.now[name] = reason }
                return state.last[name] != reason
            }
            if isNew {
                log.warning("the stock keeper will try again", ["what": what, "of": whose, "error": reason])
            }
        }
    }

    func end() {
        let over = state.withLock { state in state.last.keys.filter { state.now[$0] == nil } }
        if !over.isEmpty { log.info("the stock keeper goes on", ["what": over.sorted().joined(separator: "; ")]) }
    }
}
