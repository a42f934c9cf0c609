// What the publisher of commands' records does next, decided from values alone. `Relay` carries the actions out; the
// simulation carries them out against a log and a database of its own.
import Runtime

/// Publishes the outbox rows that commands leave, in the order of their commits, whichever instance committed them.
///
/// Two transactions on one key are ordered by the row that both lock, and each takes its number in the outbox behind that
/// lock: whoever sees the later row sees the earlier one, unless that was sent and deleted. So a publisher that always
/// sends all that it sees, in the order of the numbers, and deletes what it has itself seen acknowledged, keeps the order
/// of each key; even two of them at a time only repeat records. That it is one at a time, the holder of a lease, saves
/// the repetition.
struct PublisherMachine: Sendable {
    enum Event: Equatable, Sendable {
        case looked(Look)
        case sent
        case rested
        /// Something was committed, or the time is over.
        case woken
        /// This instance ends.
        case ending
        case released
        case failed(Fate)
    }

    /// What a look into the outbox gave.
    enum Look: Equatable, Sendable {
        /// Another instance publishes.
        case follows
        /// This one does: the rows' numbers, in order, and whether there are more.
        case leads([Int64], more: Bool)
    }

    enum Action: Equatable, Sendable {
        /// In one transaction: take or keep the lease, delete these rows, read the next.
        case look(forget: [Int64])
        case send([Int64])
        /// Until something is committed or the time is over.
        case wait(Duration)
        case rest(Duration)
        /// Give the lease up, delete these rows.
        case release(forget: [Int64])
        case end
    }

    /// How often a follower looks whether the lease is free, and a leader for what it was not woken for.
    static let followInterval = Duration.milliseconds(1000)
    static let leadInterval = Duration.milliseconds(1000)
    static let leaseSeconds = 3

    /// Why nothing is published.
    private(set) var standing: String?
    private(set) var last: Action = .look(forget: [])
    private(set) var isLeading = false
    private var sent: [Int64] = []
    private var hasMore = false
    private var backoff = Backoff()
    private var isEnding = false
    private var afterRest: Action = .look(forget: [])

    init() {}

    mutating func handle(_ event: Event) -> Action {
        switch event {
        case .failed, .rested, .ending: break
        default: standing = nil
        }
        last = decide(event)
        return last
    }

    private mutating func decide(_ event: Event) -> Action {
        switch event {
        case .looked(let look):
            backoff.reset()
            sent = []
            switch look {
            case .follows:
                isLeading = false
                return isEnding ? .release(forget: []) : .wait(Self.followInterval)
            case .leads(let rows, let more):
                isLeading = true
                hasMore = more
                if !rows.isEmpty { return .send(rows) }
                return isEnding ? .release(forget: []) : .wait(Self.leadInterval)
            }
        case .sent:
            backoff.reset()
            if case .send(let rows) = last { sent += rows }
            return isEnding && !hasMore ? .release(forget: sent) : .look(forget: sent)
        case .woken: return .look(forget: sent)
        case .rested: return afterRest
        case .ending:
            isEnding = true
            // What is committed and not sent stays in the outbox for the others; one more look sends what it can.
            return .look(forget: sent)
        case .released: return .end
        case .failed(let fate):
            if isEnding { return .end }
            if case .fatal(let reason) = fate { standing = reason }
            if case .send = last {
                // Asked again which rows there are: the lease may have gone meanwhile.
                afterRest = .look(forget: sent)
            } else {
                afterRest = last
            }
            return .rest(backoff.next())
        }
    }
}
