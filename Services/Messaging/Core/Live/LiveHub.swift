// Event streams: tells every connected reader what is new, and who comes back what was missed.
import HTTP
import Models
import Observability
import Runtime
import ServiceKit
import Synchronization

/// Follows the schema from snapshot to snapshot and gives each reader its part, in the order of the transactions.
///
/// The schema and not the log is what is followed, so a stream never shows what a request would not find yet, the events
/// of a reader have one order, and an event's ID, the snapshot itself, says exactly what was given out. What this
/// instance commits wakes the hub; what others commit is seen within `checkMilliseconds` while somebody is connected.
///
/// One task tells all who are connected. Who comes back is connected like anybody, its stream holding what is new, while
/// its own request looks for what it missed: whatever that costs or however it fails, nobody else waits.
final class LiveHub: Component {
    let name = "live"

    /// Why a stream is not opened.
    enum Refusal: Error {
        /// The position is of another database, or of what this one was before it was restored.
        case unknownPosition
        /// More is new since the position than a stream gives out again.
        case tooFarBack
    }

    /// What another instance commits is given out within this time.
    private static let checkMilliseconds = 100
    /// Commits that follow each other closer than this go out together.
    private static let pauseMilliseconds = 5
    private static let retryDuration = Duration.seconds(1)
    /// Changes of a kind that are looked for at a time.
    private static let pageMax = 2000
    /// Changes that are read and given to one who comes back at a time.
    private static let missedPageMax = 500
    /// Changes that one who comes back is given; who missed more reads the lists.
    private static let missedMax = 100_000
    /// Readers whose missed changes are looked for at a time, one of an account; of the pool's connections others
    /// must have most.
    private static let returningMax = 2
    private static let returningWaitersMax = 20_000
    /// What one stream keeps for a reader that is slow.
    private static let bufferBytesMax = 1 << 20
    /// What all streams keep together: beyond it those end whose readers are behind.
    private static let buffersBytesMax = 128 << 20
    /// How long one who comes back may take for what it is given between two pages.
    private static let readingSecondsMax = 30
    /// Streams of one account; one more closes the oldest.
    static let streamsOfAccountMax = 8

    private final class Reader: Sendable {
        let account: AccountID
        let session: SessionID
        let stream: EventStream
        let expiresAt: Timestamp

        init(_ account: AccountID, _ session: SessionID, _ stream: EventStream, expiresAt: Timestamp) {
            self.account = account
            self.session = session
            self.stream = stream
            self.expiresAt = expiresAt
        }

        /// Rounded up.
        var expirySecond: Int64 { expiresAt.second + (expiresAt.microseconds % 1_000_000 == 0 ? 0 : 1) }
    }

    /// Whose stream does not stand where the hub does yet.
    private struct Joining {
        let reader: Reader
        /// Told where its stream stands; nil where it begins there.
        let returning: CheckedContinuation<StreamPosition, any Error>?
    }

    private struct State {
        var joining: [Joining] = []
        var connected: [AccountID: [Reader]] = [:]
        /// Those that are connected, by the second in which they expire.
        var expiring: [Int64: [ObjectIdentifier: Reader]] = [:]
        var checkedSecond: Int64 = 0
        /// Where the connected streams stand.
        var position: StreamPosition?
        /// Where they are being taken, and which changes on the way there they were given.
        var goal: StreamPosition?
        var place = ChangePlace.start
        /// Lets the readers of one account come back one after the other.
        var turns: [AccountID: (semaphore: AsyncSemaphore, users: Int)] = [:]
        var following: Periodic?
        var checking: Periodic?
        var isStopping = false
    }

    private let changes: ChangeStorage
    private let brands: BrandStorage
    private let representation: Representation
    private let context: ServiceContext
    private let streams: Gauge
    private let sent: Counter
    private let buffers = StreamBudget(bytesMax: LiveHub.buffersBytesMax)
    private let looking = AsyncSemaphore(LiveHub.returningMax, waitersMax: LiveHub.returningWaitersMax)
    private let state = Mutex(State())

    init(_ context: ServiceContext, representation: Representation) {
        self.context = context
        self.representation = representation
        changes = ChangeStorage(postgres: context.postgres)
        brands = BrandStorage(postgres: context.postgres)
        streams = context.metrics.gauge("stampede_event_streams", help: "Open event streams")
        sent = context.metrics.counter("stampede_stream_events_total", help: "Events sent on event streams")
    }

    func start() async throws {
        let following = Periodic.watched(
            "event streams", every: nil, shortestRetry: Self.retryDuration, context
        ) { [self] in try await follow() }
        let checking = Periodic(every: .milliseconds(Self.checkMilliseconds)) { [self] in check() }
        state.withLock { state in
            state.following = following
            state.checking = checking
        }
        following.start()
        checking.start()
    }

    /// Whether the streams' readers are told what is new.
    var isReady: Bool { state.withLock { $0.following?.isReady ?? false } }
    var detail: String? { state.withLock { $0.following?.lastError } }

    func stop() async {
        let (following, checking, readers) = state.withLock { state in
            state.isStopping = true
            return (
                state.following.take(), state.checking.take(),
                state.joining.map(\.reader) + state.connected.values.joined()
            )
        }
        for reader in readers { reader.stream.close() }
        await following?.stop()
        await checking?.stop()
    }

    /// Something was committed here.
    func wake() { state.withLock { $0.following }?.wake() }

    /// Opens an account's stream.
    /// - Parameters:
    ///   - since: where an earlier stream stood; nil for what happens from now on.
    ///   - expiresAt: when the token that opened it does: then the stream is closed.
    /// - Throws: `Refusal`, or why it cannot be found out now what was missed.
    func open(
        _ account: AccountID, session: SessionID, since: StreamPosition?, expiresAt: Timestamp
    ) async throws -> EventStream {
        let stream = EventStream(
            bufferBytesMax: Self.bufferBytesMax, budget: buffers, isHeld: since != nil)
        let reader = Reader(account, session, stream, expiresAt: expiresAt)
        streams.add(1)
        stream.onClose { [weak self] in self?.left(reader) }
        guard let since else {
            join(Joining(reader: reader, returning: nil))
            return stream
        }
        do {
            let position = try await withCheckedThrowingContinuation {
                join(Joining(reader: reader, returning: $0))
            }
            guard since.precedes(position) else { throw Refusal.unknownPosition }
            let missed = since == position ? [] : try await missed(by: reader, from: since, to: position)
            // The answer must be under way before a reader can take anything.
            Task.detached { await self.give(missed, to: reader, from: since, to: position) }
        } catch {
            stream.close()
            throw error
        }
        return stream
    }

    private func join(_ joining: Joining) {
        let isStopping = state.withLock { state in
            if !state.isStopping { state.joining.append(joining) }
            return state.isStopping
        }
        if isStopping {
            joining.reader.stream.close()
            joining.returning?.resume(throwing: Problem.unavailable(retryAfterSeconds: 1))
        }
        wake()
    }

    /// A session has ended, and its streams with it.
    func close(_ session: SessionID) {
        let readers = state.withLock { state in
            (state.joining.map(\.reader) + state.connected.values.joined()).filter { $0.session == session }
        }
        for reader in readers { reader.stream.close() }
    }

    private func left(_ reader: Reader) {
        streams.add(-1)
        let gone = state.withLock { state -> [Joining] in
            let gone = state.joining.filter { $0.reader === reader }
            if !gone.isEmpty { state.joining.removeAll { $0.reader === reader } }
            state.expiring[reader.expirySecond]?[ObjectIdentifier(reader)] = nil
            if state.expiring[reader.expirySecond]?.isEmpty == true { state.expiring[reader.expirySecond] = nil }
            if var readers = state.connected[reader.account] {
                readers.removeAll { $0 === reader }
                state.connected[reader.account] = readers.isEmpty ? nil : readers
            }
            return gone
        }
        for one in gone { one.returning?.resume(throwing: Problem.unavailable(retryAfterSeconds: 1)) }
    }

    // MARK: Following

    private func follow() async throws {
        do {
            try await step()
        } catch {
            let waiting = state.withLock { state in
                let waiting = state.joining.filter { $0.returning != nil }
                state.joining.removeAll { $0.returning != nil }
                return waiting
            }
            for one in waiting { one.returning?.resume(throwing: error) }
            throw error
        }
        try await Task.sleep(for: .milliseconds(Self.pauseMilliseconds))
    }

    /// Looks after what other instances commit, and after tokens that run out.
    private func check() {
        let second = context.now().second
        let (isNeeded, expired) = state.withLock { state -> (Bool, [Reader]) in
            let isNeeded = !state.connected.isEmpty || !state.joining.isEmpty
            if second == state.checkedSecond { return (isNeeded, []) }
            state.checkedSecond = second
            let due = state.expiring.keys.filter { $0 <= second }
            return (isNeeded, due.flatMap { state.expiring[$0].map { Array($0.values) } ?? [] })
        }
        for reader in expired { reader.stream.close() }
        if isNeeded { wake() }
    }

    /// Moves every stream from where it stands to the present, and lets those that join begin there.
    private func step() async throws {
        let (old, goal, joining, isEmpty) = state.withLock { state in
            if state.connected.isEmpty {
                state.position = nil
                state.goal = nil
            }
            return (
                state.position, state.goal, state.joining.map(\.reader),
                state.connected.isEmpty && state.joining.isEmpty
            )
        }
        if isEmpty { return }
        // Later than whatever stream those who join have read: nobody comes back from ahead of it.
        let present = try await changes.currentPosition()
        guard let old else { return admit(joining, at: present) }
        guard (goal ?? old).precedes(present) else {
            context.log.warning("the database is another one or went back: all event streams end")
            for reader in state.withLock({ Array($0.connected.values.joined()) }) { reader.stream.close() }
            return admit(joining, at: present)
        }
        if let goal {
            // A round that failed half-way goes on where it ended; who joins waits for the next.
            try await tell(from: old, to: goal)
            admit([], at: goal)
            return wake()
        }
        if old != present { try await tell(from: old, to: present) }
        admit(joining, at: present)
    }

    private func tell(from old: StreamPosition, to new: StreamPosition) async throws {
        var place: ChangePlace? = state.withLock { state in
            if state.goal != new { state.place = .start }
            state.goal = new
            return state.place
        }
        while let from = place {
            let page = try await changes.changes(from: old, to: new, after: from, limit: Self.pageMax)
            try await tell(page, from: old, to: new)
            place = page.next
            if let next = page.next { state.withLock { $0.place = next } }
        }
    }

    /// Reads what concerns somebody who is connected; sends when all of the page is read, so that nothing is sent twice.
    private func tell(_ page: ChangePage, from old: StreamPosition, to new: StreamPosition) async throws {
        let wanted = state.withLock { state in
            page.keys.map { key in key.audience?.contains { state.connected[$0] != nil } ?? true }
        }
        let loaded = try await changes.load(zip(page.keys, wanted).filter(\.1).map(\.0))
        var subjects: [ChangeKey: StreamChange] = [:]
        var audiences: [ChangeKey: [AccountID]] = [:]
        for change in loaded {
            subjects[change.key] = change
            audiences[change.key] = try await audience(of: change)
        }
        var ids = EventIDs(from: old, to: new)
        for (index, key) in page.keys.enumerated() {
            let next = index + 1 < page.keys.count ? page.keys[index + 1].place.transaction : nil
            let id = ids.id(of: key.place.transaction, before: next, isLast: page.next == nil)
            guard let change = subjects[key] else { continue }
            let event = representation.event(change, id: id)
            for account in audiences[key] ?? [] { send(event, to: account) }
        }
    }

    private func audience(of change: StreamChange) async throws -> [AccountID] {
        if let known = change.key.audience { return known }
        guard case .post(let post) = change.subject else { return [] }
        let accounts = state.withLock { Array($0.connected.keys) }
        return try await brands.audience(of: post.brandId, sale: post.saleId, among: accounts)
    }

    private func send(_ event: EncodedEvent, to account: AccountID) {
        let readers = state.withLock { $0.connected[account] ?? [] }
        for reader in readers where reader.stream.send(event) { sent.add() }
    }

    /// Connects those that join where the connected streams stand now.
    private func admit(_ readers: [Reader], at position: StreamPosition) {
        let admitted = Set(readers.map(ObjectIdentifier.init))
        let (joined, surplus) = state.withLock { state in
            state.position = position
            state.goal = nil
            state.place = .start
            // Who left meanwhile is not there any more.
            let joined = state.joining.filter { admitted.contains(ObjectIdentifier($0.reader)) }
            state.joining.removeAll { admitted.contains(ObjectIdentifier($0.reader)) }
            var surplus: [Reader] = []
            // One may have been closed meanwhile: `left` has run then and would not run again.
            for one in joined where one.reader.stream.isOpen {
                let reader = one.reader
                state.connected[reader.account, default: []].append(reader)
                state.expiring[reader.expirySecond, default: [:]][ObjectIdentifier(reader)] = reader
                if let readers = state.connected[reader.account], readers.count > Self.streamsOfAccountMax {
                    surplus.append(readers[readers.count - Self.streamsOfAccountMax - 1])
                }
            }
            return (joined, surplus)
        }
        for reader in surplus { reader.stream.close() }
        if joined.isEmpty { return }
        let ready = Self.ready(position)
        for one in joined {
            if let returning = one.returning {
                returning.resume(returning: position)
            } else {
                one.reader.stream.send(ready)
            }
        }
    }

    private static func ready(_ position: StreamPosition) -> EncodedEvent {
        EncodedEvent(id: position.description, event: "ready", data: Array("{}".utf8))
    }

    // MARK: Coming back

    /// One at a time of an account, and a few of all.
    private func missed(
        by reader: Reader, from old: StreamPosition, to new: StreamPosition
    ) async throws -> [ChangeKey] {
        let turn = state.withLock { state in
            var turn = state.turns[reader.account] ?? (AsyncSemaphore(1, waitersMax: Self.returningWaitersMax), 0)
            turn.users += 1
            state.turns[reader.account] = turn
            return turn.semaphore
        }
        defer {
            state.withLock { state in
                state.turns[reader.account]?.users -= 1
                if state.turns[reader.account]?.users == 0 { state.turns[reader.account] = nil }
            }
        }
        do {
            let keys: [ChangeKey]? = try await turn.run {
                try await looking.run {
                    // More streams of its account, or the end of the service, may have closed it while it waited.
                    guard reader.stream.isOpen else { throw Problem.unavailable(retryAfterSeconds: 1) }
                    return try await changes.missed(
                        by: reader.account, from: old, to: new, countMax: Self.missedMax)
                }
            }
            guard let keys else { throw Refusal.tooFarBack }
            return keys
        } catch is AsyncSemaphore.Full {
            throw Problem.unavailable(retryAfterSeconds: 1)
        }
    }

    /// Gives a reader what it missed, page by page as it takes them, and then what its stream held back.
    private func give(
        _ keys: [ChangeKey], to reader: Reader, from old: StreamPosition, to new: StreamPosition
    ) async {
        let stream = reader.stream
        do {
            var ids = EventIDs(from: old, to: new)
            for start in stride(from: 0, to: keys.count, by: Self.missedPageMax) {
                guard try await hasRead(stream) else { return stream.close() }
                let page = keys[start..<min(start + Self.missedPageMax, keys.count)]
                let loaded = try await looking.run { try await changes.load(Array(page)) }
                var rest = loaded[...]
                for index in page.indices {
                    let next = index + 1 < keys.count ? keys[index + 1].place.transaction : nil
                    let id = ids.id(of: keys[index].place.transaction, before: next, isLast: true)
                    guard let change = rest.first, change.key == keys[index] else { continue }
                    rest = rest.dropFirst()
                    guard stream.sendAhead(representation.event(change, id: id)) else { return }
                    sent.add()
                }
            }
            stream.sendAhead(Self.ready(new))
            stream.release()
        } catch {
            // The reader comes back with the last ID that it was given.
            context.log.warning("an event stream ended before all that was missed was given", ["error": "\(error)"])
            stream.close()
        }
    }

    /// Waits until the stream's reader has taken most of what it was given.
    /// - Returns: false where it does not in the time.
    private func hasRead(_ stream: EventStream) async throws -> Bool {
        let deadline = ContinuousClock.now + .seconds(Self.readingSecondsMax)
        while stream.isOpen, stream.waitingBytes > Self.bufferBytesMax / 4 {
            if ContinuousClock.now > deadline { return false }
            try await Task.sleep(for: .milliseconds(20))
        }
        return stream.isOpen
    }
}

extension Timestamp {
    fileprivate var second: Int64 { microseconds / 1_000_000 }
}
