// What happened to every order of a rush, and when: kept as microseconds since noon, four bytes a moment.
import Kafka
import Models
import Synchronization

/// Written by the senders and the followers at once, a batch at a time.
final class Journal: Sendable {
    /// Microseconds since noon, 0: not yet. Beyond 71 minutes it stays at the last.
    struct Moment: Sendable, Equatable {
        private let value: UInt32
        static let never = Moment(value: 0)

        private init(value: UInt32) { self.value = value }
        init(_ time: Timestamp, since noon: Timestamp) {
            value = UInt32(clamping: max(1, time.microseconds - noon.microseconds))
        }
        var microseconds: UInt32? { value == 0 ? nil : value }
    }

    enum Outcome: UInt8, Sendable { case undecided, reserved, waitlisted, rejected }

    fileprivate struct State {
        var sent: [Moment]
        var accepted: [Moment]
        var decided: [Moment]
        var firstTold: [Moment]
        var lastTold: [Moment]
        var seenLive: [Moment]
        /// Microseconds from the order to its refusal, as they came.
        var refusals: [UInt32] = []
        var outcome: [Outcome]
        /// How far in its life each order was told of, by the topic `notifications`; 0: nothing yet.
        var notified: [UInt16]
        var heard: Set<UInt64> = []
        var counts = Counts()
    }

    struct Counts: Sendable {
        var sent = 0
        /// Answered 202, or acknowledged by Kafka.
        var accepted = 0
        /// Answered anything else for good, by the status that was answered.
        var refusedByStatus: [Int: Int] = [:]
        var listenersLost = 0
        /// First answers to orders, by what they said.
        var reserved = 0
        var waitlisted = 0
        var rejected = 0
        /// Orders with a second answer, not the first one once more: must stay 0.
        var decidedTwice = 0
        var promoted = 0
        var captured = 0
        var paymentFailed = 0
        var refunded = 0
        var confirmed = 0
        var released = 0
        /// Notifications to one reader, and those that became a message.
        var notified = 0
        /// Notifications behind a newer one of the same order: the chat need not say them any more.
        var overtaken = 0
        var told = 0
        /// Broadcasts, and those that became a post.
        var broadcasts = 0
        var posts = 0
        var soldOutLines = 0
        var soldOutAt: Timestamp?
        var lastEventAt: Timestamp?

        var refused: Int { refusedByStatus.values.reduce(0, +) }
        var decided: Int { reserved + waitlisted + rejected }
        /// Reserved, at first or from the waitlist, and neither paid nor let go.
        var awaitingPayment: Int { reserved + promoted - captured - released }
        /// Events that a single reader must hear of.
        var tellings: Int { reserved + waitlisted + promoted + captured + released }
    }

    let noon: Timestamp
    private let state: Mutex<State>

    init(orders: Int, noon: Timestamp) {
        self.noon = noon
        let never = Array(repeating: Moment.never, count: orders)
        state = Mutex(
            State(
                sent: never, accepted: never, decided: never, firstTold: never, lastTold: never, seenLive: never,
                outcome: Array(repeating: .undecided, count: orders), notified: Array(repeating: 0, count: orders)))
    }

    var counts: Counts { state.withLock { $0.counts } }

    /// What one sender saw of one order.
    struct Sent: Sendable {
        let order: Int
        let sentAt: Timestamp
        let answeredAt: Timestamp
        /// The status of an answer that refused it for good, 0 where none came; nil: accepted.
        var refusal: Int?
    }

    func record(_ batch: [Sent]) {
        state.withLock { state in
            for entry in batch {
                state.sent[entry.order] = Moment(entry.sentAt, since: noon)
                state.counts.sent += 1
                if let status = entry.refusal {
                    state.counts.refusedByStatus[status, default: 0] += 1
                    state.refusals.append(UInt32(clamping: entry.answeredAt.microseconds - entry.sentAt.microseconds))
                } else {
                    state.accepted[entry.order] = Moment(entry.answeredAt, since: noon)
                    state.counts.accepted += 1
                }
            }
        }
    }

    func lostListener() { state.withLock { $0.counts.listenersLost += 1 } }

    /// What a topic's record said of an order.
    enum Fact: Sendable {
        case decided(order: Int, Outcome)
        case promoted
        case confirmed, released
        case captured, paymentFailed, refunded
        /// - Parameter place: what is told, in the order's life.
        case notified(order: Int, place: OrderPlace?)
        case broadcast
        case told(order: Int)
        case posted
        case soldOut(at: Timestamp)
        case seenLive(order: Int)
    }

    func record(_ facts: [Fact], at time: Timestamp) {
        guard !facts.isEmpty else { return }
        let moment = Moment(time, since: noon)
        state.withLock { state in
            state.counts.lastEventAt = time
            for fact in facts { state.apply(fact, moment) }
        }
    }

    /// A fact with the event that said so.
    struct Heard: Sendable {
        let event: UInt64
        let fact: Fact

        /// - Parameter id: the event's `ce_id`, the same when a service published it twice around a crash.
        init(_ fact: Fact, topic: Topic, id: ByteView) {
            var hasher = Hasher()
            hasher.combine(topic)
            hasher.combine(id)
            event = UInt64(bitPattern: Int64(hasher.finalize()))
            self.fact = fact
        }
    }

    /// Records what was not heard before.
    func record(_ heard: [Heard], at time: Timestamp) {
        guard !heard.isEmpty else { return }
        let moment = Moment(time, since: noon)
        state.withLock { state in
            state.counts.lastEventAt = time
            for entry in heard where state.heard.insert(entry.event).inserted { state.apply(entry.fact, moment) }
        }
    }

    struct Times: Sendable {
        /// Microseconds, unsorted.
        var orderToAccepted: [UInt32] = []
        var orderToRefused: [UInt32] = []
        var orderToDecision: [UInt32] = []
        var orderToTold: [UInt32] = []
        var orderToLastTold: [UInt32] = []
        var orderToPhone: [UInt32] = []
        /// Since noon.
        var firstSent: UInt32 = 0
        var lastSent: UInt32 = 0
        var lastAccepted: UInt32 = 0
        var lastDecided: UInt32 = 0
        var lastTold: UInt32 = 0
    }

    /// Every order's way, from the moment when it was sent.
    func times() -> Times {
        state.withLock { state in
            var times = Times()
            times.orderToRefused = state.refusals
            times.firstSent = state.sent.compactMap(\.microseconds).min() ?? 0
            times.lastSent = state.sent.compactMap(\.microseconds).max() ?? 0
            times.lastAccepted = state.accepted.compactMap(\.microseconds).max() ?? 0
            times.lastDecided = state.decided.compactMap(\.microseconds).max() ?? 0
            times.lastTold = state.lastTold.compactMap(\.microseconds).max() ?? 0
            for order in state.sent.indices {
                guard let sent = state.sent[order].microseconds else { continue }
                func add(_ moment: Moment, to list: inout [UInt32]) {
                    if let time = moment.microseconds { list.append(time > sent ? time - sent : 0) }
                }
                add(state.accepted[order], to: &times.orderToAccepted)
                add(state.decided[order], to: &times.orderToDecision)
                add(state.firstTold[order], to: &times.orderToTold)
                add(state.lastTold[order], to: &times.orderToLastTold)
                add(state.seenLive[order], to: &times.orderToPhone)
            }
            return times
        }
    }
}

extension Journal.State {
    fileprivate mutating func apply(_ fact: Journal.Fact, _ moment: Journal.Moment) {
        switch fact {
        case .decided(let order, let outcome):
            guard self.outcome[order] == .undecided else {
                // The batch ended while the order waited: the end of its first answer, not a second one.
                if self.outcome[order] == .waitlisted, outcome == .rejected { return }
                counts.decidedTwice += 1
                return
            }
            self.outcome[order] = outcome
            decided[order] = moment
            switch outcome {
            case .reserved: counts.reserved += 1
            case .waitlisted: counts.waitlisted += 1
            default: counts.rejected += 1
            }
        case .promoted: counts.promoted += 1
        case .confirmed: counts.confirmed += 1
        case .released: counts.released += 1
        case .captured: counts.captured += 1
        case .paymentFailed: counts.paymentFailed += 1
        case .refunded: counts.refunded += 1
        case .notified(let order, let place):
            counts.notified += 1
            guard let place = place.map({ UInt16(clamping: $0.number) }) else { return }
            if place < notified[order] { counts.overtaken += 1 }
            notified[order] = max(notified[order], place)
        case .broadcast: counts.broadcasts += 1
        case .told(let order):
            counts.told += 1
            if firstTold[order] == .never { firstTold[order] = moment }
            lastTold[order] = moment
        case .posted: counts.posts += 1
        case .soldOut(let time):
            counts.soldOutLines += 1
            // The first time: what came back and was sold after it is not what is measured.
            counts.soldOutAt = min(counts.soldOutAt ?? time, time)
        case .seenLive(let order):
            if seenLive[order] == .never { seenLive[order] = moment }
        }
    }
}
