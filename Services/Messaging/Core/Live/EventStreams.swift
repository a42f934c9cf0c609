// Event streams: tells every connected reader what is new, and who comes back what was missed.
import HTTP
import Models
import Observability
import Postgres
import Runtime
import ServiceKit
import Synchronization

/// Why a stream is not opened.
enum StreamRefusal: Error, Equatable, Sendable {
    /// The position is of another database, or of what this one was before it was restored.
    case unknownPosition
    /// More is new since the position than a stream gives out again.
    case tooFarBack
    /// The stream was closed before it was open, or too many come back at once.
    case notNow
}

/// Follows the schema from snapshot to snapshot and gives each reader its part, in the order of the transactions.
///
/// The schema and not the log is what is followed, so a stream never shows what a request would not find yet, the events
/// of a reader have one order, and an event's ID, the snapshot itself, says exactly what was given out. What this
/// instance commits wakes the streams; what others commit is seen within `lookInterval` while somebody is connected.
///
/// One task tells all who are connected. Who comes back is connected like anybody, its stream holding what is new, while
/// its own request looks for what it missed: whatever that costs or however it fails, nobody else waits.
final class EventStreams: Component {
    let name = "live"

    /// What another instance commits is given out within this time.
    private static let lookInterval = Duration.milliseconds(100)
    /// Commits that follow each other closer than this go out together.
    private static let pauseMilliseconds = 5
    private static let retryDuration = Duration.seconds(1)
    /// Changes of a kind that are looked for at a time.
    private static let pageMax = 2000
    /// What one stream keeps for a reader that is slow.
    static let bufferBytesMax = 1 << 20
    /// What all streams keep together: beyond it those end whose readers are behind.
    private static let buffersBytesMax = 128 << 20

    private struct State {
        var readers = ConnectedReaders()
        /// Where the connected streams stand.
        var position: StreamPosition?
        /// Where they are being taken, and which changes on the way there they were given.
        var goal: StreamPosition?
        var place = ChangePlace.start
        var following: Periodic?
        var checking: Periodic?
        var isStopping = false
    }

    private let changes: ChangeQueries
    private let missed: MissedChanges
    private let view: StreamView
    private let context: ServiceContext
    private let streams: Gauge
    private let sent: Counter
    private let buffers = StreamBudget(bytesMax: EventStreams.buffersBytesMax)
    private let state = Mutex(State())

    init(_ context: ServiceContext, sales: SaleTables) {
        self.context = context
        view = StreamView(sales: sales)
        changes = ChangeQueries(postgres: context.postgres)
        streams = context.metrics.gauge("stampede_event_streams", help: "Open event streams")
        sent = context.metrics.counter("stampede_stream_events_total", help: "Events sent on event streams")
        missed = MissedChanges(changes, view: view, sent: sent, log: context.log)
    }

    func start() async throws {
        let following = Periodic.watched(
            "event streams", every: nil, shortestRetry: Self.retryDuration, context
        ) { [self] in try await follow() }
        let checking = Periodic(every: nil) { [self] in try await check() }
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
            return (state.following.take(), state.checking.take(), state.readers.all)
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
    /// - Throws: `StreamRefusal`, or why it cannot be found out now what was missed.
    func open(
        _ account: AccountID, session: SessionID, since: StreamPosition?, expiresAt: Timestamp
    ) async throws -> EventStream {
        let stream = EventStream(
            bufferBytesMax: Self.bufferBytesMax, budget: buffers, isHeld: since != nil)
        let reader = StreamReader(account, session, stream, expiresAt: expiresAt)
        streams.add(1)
        stream.onClose { [weak self] in self?.left(reader) }
        guard let since else {
            join(ConnectedReaders.Joining(reader: reader, returning: nil))
            return stream
        }
        do {
            let position = try await withCheckedThrowingContinuation {
                join(ConnectedReaders.Joining(reader: reader, returning: $0))
            }
            guard since.precedes(position) else { throw StreamRefusal.unknownPosition }
            let keys = since == position ? [] : try await missed.keys(for: reader, from: since, to: position)
            // The answer must be under way before a reader can take anything.
            Task.detached { [missed] in await missed.give(keys, to: reader, from: since, to: position) }
        } catch {
            stream.close()
            throw error
        }
        return stream
    }

    private func join(_ joining: ConnectedReaders.Joining) {
        let (isStopping, checking) = state.withLock { state in
            if !state.isStopping { state.readers.join(joining) }
            return (state.isStopping, state.checking)
        }
        checking?.wake()
        if isStopping {
            joining.reader.stream.close()
            joining.returning?.resume(throwing: StreamRefusal.notNow)
        }
        wake()
    }

    /// A session has ended, and its streams with it.
    func close(_ session: SessionID) {
        let readers = state.withLock { $0.readers.all }
        for reader in readers where reader.session == session { reader.stream.close() }
    }

    private func left(_ reader: StreamReader) {
        streams.add(-1)
        let gone = state.withLock { $0.readers.remove(reader) }
        for one in gone { one.returning?.resume(throwing: StreamRefusal.notNow) }
    }

    // MARK: Following

    private func follow() async throws {
        do {
            try await step()
        } catch {
            let waiting = state.withLock { $0.readers.removeReturning() }
            for one in waiting { one.returning?.resume(throwing: error) }
            throw error
        }
        try await Task.sleep(for: .milliseconds(Self.pauseMilliseconds))
    }

    /// Looks after what other instances commit, and after tokens that run out.
    private func check() async throws {
        let now = context.now()
        let (isNeeded, expired) = state.withLock { state in
            (!state.readers.isEmpty, state.readers.expired(at: now))
        }
        for reader in expired { reader.stream.close() }
        // Nobody is connected: who joins wakes it.
        guard isNeeded else { return }
        wake()
        try await Task.sleep(for: Self.lookInterval)
        state.withLock { $0.checking }?.wake()
    }

    /// Moves every stream from where it stands to the present, and lets those that join begin there.
    private func step() async throws {
        let (old, goal, joining, isEmpty) = state.withLock { state in
            if state.readers.connected.isEmpty {
                state.position = nil
                state.goal = nil
            }
            return (
                state.position, state.goal, state.readers.joining.map(\.reader), state.readers.isEmpty
            )
        }
        if isEmpty { return }
        // Later than whatever stream those who join have read: nobody comes back from ahead of it.
        let present = try await changes.currentPosition()
        guard let old else { return admit(joining, at: present) }
        guard (goal ?? old).precedes(present) else {
            context.log.warning("the database is another one or went back: all event streams end")
            for reader in state.withLock({ Array($0.readers.connected.values.joined()) }) { reader.stream.close() }
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
            page.keys.map { key in key.audience?.contains { state.readers.connected[$0] != nil } ?? true }
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
            let event = view.event(change, id: id)
            for account in audiences[key] ?? [] { send(event, to: account) }
        }
    }

    private func audience(of change: StreamChange) async throws -> [AccountID] {
        if let known = change.key.audience { return known }
        guard case .post(let post) = change.subject else { return [] }
        let accounts = state.withLock { Array($0.readers.connected.keys) }
        return try await context.postgres.query(
            PostStatements.audience(of: post.brandId, sale: post.saleId, among: accounts)
        ).column(0)
    }

    private func send(_ event: EncodedEvent, to account: AccountID) {
        let readers = state.withLock { $0.readers.connected[account] ?? [] }
        for reader in readers where reader.stream.send(event) { sent.add() }
    }

    /// Connects those that join where the connected streams stand now.
    private func admit(_ readers: [StreamReader], at position: StreamPosition) {
        let (joined, surplus) = state.withLock { state in
            state.position = position
            state.goal = nil
            state.place = .start
            return state.readers.connect(readers)
        }
        for reader in surplus { reader.stream.close() }
        if joined.isEmpty { return }
        let ready = StreamView.ready(position)
        for one in joined {
            if let returning = one.returning {
                returning.resume(returning: position)
            } else {
                one.reader.stream.send(ready)
            }
        }
    }
}
