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
final class LiveHub: Component {
    let name = "live"

    /// What another instance commits is given out within this time.
    private static let checkMilliseconds = 100
    /// Commits that follow each other closer than this go out together.
    private static let pauseMilliseconds = 5
    private static let retryDuration = Duration.seconds(1)
    /// Changes of a kind that are read at a time.
    private static let pageMax = 2000
    /// The same for each reader who comes back.
    private static let missedPageMax = 500
    /// Readers who come back that are looked after at a time.
    private static let returningMax = 64
    /// With more readers than this all changes are read and sorted out here.
    private static let filteredReadersMax = 1000
    /// Streams of one account; one more closes the oldest.
    static let streamsOfAccountMax = 8

    private final class Reader: Sendable {
        let account: AccountID
        let session: SessionID
        let stream: EventStream
        let since: StreamPosition?
        let expiresAt: Timestamp

        init(
            _ account: AccountID, _ session: SessionID, _ stream: EventStream, since: StreamPosition?,
            expiresAt: Timestamp
        ) {
            self.account = account
            self.session = session
            self.stream = stream
            self.since = since
            self.expiresAt = expiresAt
        }
    }

    private struct State {
        /// Whose stream does not stand where the hub does yet.
        var joining: [Reader] = []
        var connected: [AccountID: [Reader]] = [:]
        /// Where the connected streams stand.
        var position: StreamPosition?
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
                state.following.take(), state.checking.take(), state.joining + state.connected.values.joined()
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
    func open(
        _ account: AccountID, session: SessionID, since: StreamPosition?, expiresAt: Timestamp
    ) -> EventStream {
        let stream = EventStream(bufferBytesMax: 1 << 20)
        let reader = Reader(account, session, stream, since: since, expiresAt: expiresAt)
        let isStopping = state.withLock { state in
            if !state.isStopping { state.joining.append(reader) }
            return state.isStopping
        }
        if isStopping {
            stream.close()
            return stream
        }
        streams.add(1)
        stream.onClose { [weak self] in self?.left(reader) }
        wake()
        return stream
    }

    /// A session has ended, and its streams with it.
    func close(_ session: SessionID) {
        let readers = state.withLock { state in
            (state.joining + state.connected.values.joined()).filter { $0.session == session }
        }
        for reader in readers { reader.stream.close() }
    }

    private func left(_ reader: Reader) {
        streams.add(-1)
        state.withLock { state in
            state.joining.removeAll { $0 === reader }
            guard var readers = state.connected[reader.account] else { return }
            readers.removeAll { $0 === reader }
            state.connected[reader.account] = readers.isEmpty ? nil : readers
        }
    }

    // MARK: Following

    private func follow() async throws {
        let position = try await step(from: state.withLock { $0.position })
        state.withLock { $0.position = position }
        try await Task.sleep(for: .milliseconds(Self.pauseMilliseconds))
    }

    /// Looks after what other instances commit, and after tokens that run out.
    private func check() {
        let now = context.now()
        let (isNeeded, expired) = state.withLock { state -> (Bool, [Reader]) in
            let expired = state.connected.values.flatMap { $0.filter { $0.expiresAt <= now } }
            return (!state.connected.isEmpty || !state.joining.isEmpty, expired)
        }
        for reader in expired { reader.stream.close() }
        if isNeeded { wake() }
    }

    /// Moves every stream from one position to the present one; nil while nobody reads.
    private func step(from old: StreamPosition?) async throws -> StreamPosition? {
        let (joining, accounts) = state.withLock { state in
            (state.joining, Array(state.connected.keys))
        }
        if joining.isEmpty && accounts.isEmpty { return nil }
        let new = try await changes.currentPosition()
        if let old, old != new, !accounts.isEmpty {
            try await tell(accounts, from: old, to: new)
        }
        if !joining.isEmpty { try await admit(joining, at: new) }
        return new
    }

    private func tell(_ accounts: [AccountID], from old: StreamPosition, to new: StreamPosition) async throws {
        let readers = accounts.count <= Self.filteredReadersMax ? accounts : nil
        var ids = EventIDs(from: old, to: new)
        var place: ChangePlace? = .start
        while let from = place {
            let page = try await changes.changes(
                from: old, to: new, after: from, readers: readers, limit: Self.pageMax)
            for (index, change) in page.changes.enumerated() {
                let id = ids.id(
                    of: change, before: index + 1 < page.changes.count ? page.changes[index + 1] : nil,
                    isLastPage: page.next == nil)
                let event = representation.event(change, id: id)
                for account in try await audience(of: change, among: accounts) { send(event, to: account) }
            }
            place = page.next
        }
    }

    private func audience(of change: StreamChange, among accounts: [AccountID]) async throws -> [AccountID] {
        switch change.subject {
        case .message(let message):
            if message.kind == .orderStatus || message.senderId == message.recipientId { return [message.recipientId] }
            return [message.recipientId, message.senderId]
        case .post(let post):
            return try await brands.audience(of: post.brandId, sale: post.saleId, among: accounts)
        case .order(let order):
            return [order.buyerID]
        }
    }

    private func send(_ event: EncodedEvent, to account: AccountID) {
        let readers = state.withLock { $0.connected[account] ?? [] }
        for reader in readers where reader.stream.send(event) { sent.add() }
    }

    // MARK: Joining

    /// Gives those who come back what they missed up to the position, and lets all of them follow from there.
    private func admit(_ joining: [Reader], at new: StreamPosition) async throws {
        var rest = joining.filter { $0.since != nil && $0.since != new }[...]
        while !rest.isEmpty {
            try await catchUp(Array(rest.prefix(Self.returningMax)), to: new)
            rest = rest.dropFirst(Self.returningMax)
        }
        let ready = EncodedEvent(id: new.description, event: "ready", data: Array("{}".utf8))
        for reader in joining where reader.stream.send(ready) { connect(reader) }
        state.withLock { state in
            let admitted = Set(joining.map(ObjectIdentifier.init))
            state.joining.removeAll { admitted.contains(ObjectIdentifier($0)) }
        }
    }

    private func catchUp(_ readers: [Reader], to new: StreamPosition) async throws {
        var waiting = readers.compactMap { reader in
            reader.since.map {
                Catching(
                    reader: reader, ids: EventIDs(from: $0, to: new),
                    returning: ChangeStorage.Returning(reader: reader.account, position: $0, place: .start))
            }
        }
        while !waiting.isEmpty {
            let pages = try await changes.missed(
                by: waiting.map(\.returning), to: new, limit: Self.missedPageMax)
            for index in waiting.indices {
                let page = pages[index]
                for (place, change) in page.changes.enumerated() {
                    let id = waiting[index].ids.id(
                        of: change, before: place + 1 < page.changes.count ? page.changes[place + 1] : nil,
                        isLastPage: page.next == nil)
                    guard waiting[index].reader.stream.send(representation.event(change, id: id)) else { break }
                    sent.add()
                }
                waiting[index].next = page.next
            }
            waiting = waiting.compactMap { one in
                guard let next = one.next, one.reader.stream.isOpen else { return nil }
                var one = one
                one.returning.place = next
                return one
            }
        }
    }

    private struct Catching {
        let reader: Reader
        var ids: EventIDs
        var returning: ChangeStorage.Returning
        var next: ChangePlace?
    }

    private func connect(_ reader: Reader) {
        let oldest = state.withLock { state -> Reader? in
            // It may have been closed since it was sent to: `left` has run then and would not run again.
            guard reader.stream.isOpen else { return nil }
            state.connected[reader.account, default: []].append(reader)
            guard let readers = state.connected[reader.account], readers.count > Self.streamsOfAccountMax else {
                return nil
            }
            return readers.first
        }
        oldest?.stream.close()
    }
}
