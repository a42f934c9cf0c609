// Gives readers that come back what they missed.
import HTTP
import Models
import Observability
import Runtime
import Synchronization

/// Looks for what a reader missed, one at a time of an account and a few of all, and gives it page by page as the reader
/// takes it.
final class MissedChanges: Sendable {
    /// Changes that are read and given at a time.
    private static let pageMax = 500
    /// Changes that one who comes back is given; who missed more reads the lists.
    private static let countMax = 100_000
    /// Readers whose missed changes are looked for at a time, one of an account; of the pool's connections others
    /// must have most.
    private static let lookingMax = 2
    private static let waitersMax = 20_000
    /// How long a reader may take for what it is given between two pages.
    private static let readingSecondsMax = 30
    /// The next page is read when no more than this waits in the stream.
    private static let waitingBytesMax = EventStreams.bufferBytesMax / 4

    private let changes: ChangeQueries
    private let view: StreamView
    private let sent: Counter
    private let log: Logger
    private let looking = AsyncSemaphore(MissedChanges.lookingMax, waitersMax: MissedChanges.waitersMax)
    /// Lets the readers of one account come back one after the other.
    private let turns = Mutex<[AccountID: (semaphore: AsyncSemaphore, users: Int)]>([:])

    init(_ changes: ChangeQueries, view: StreamView, sent: Counter, log: Logger) {
        self.changes = changes
        self.view = view
        self.sent = sent
        self.log = log
    }

    /// - Throws: `StreamRefusal`, or why it cannot be found out now.
    func keys(
        for reader: StreamReader, from old: StreamPosition, to new: StreamPosition
    ) async throws -> [ChangeKey] {
        let turn = turns.withLock { turns in
            var turn = turns[reader.account] ?? (AsyncSemaphore(1, waitersMax: Self.waitersMax), 0)
            turn.users += 1
            turns[reader.account] = turn
            return turn.semaphore
        }
        defer {
            turns.withLock { turns in
                turns[reader.account]?.users -= 1
                if turns[reader.account]?.users == 0 { turns[reader.account] = nil }
            }
        }
        do {
            let keys: [ChangeKey]? = try await turn.run {
                try await looking.run {
                    // More streams of its account, or the end of the service, may have closed it while it waited.
                    guard reader.stream.isOpen else { throw StreamRefusal.notNow }
                    return try await changes.missed(by: reader.account, from: old, to: new, countMax: Self.countMax)
                }
            }
            guard let keys else { throw StreamRefusal.tooFarBack }
            return keys
        } catch is AsyncSemaphore.Full {
            throw StreamRefusal.notNow
        }
    }

    /// Gives a reader what it missed, and then what its stream held back.
    func give(
        _ keys: [ChangeKey], to reader: StreamReader, from old: StreamPosition, to new: StreamPosition
    ) async {
        let stream = reader.stream
        do {
            var ids = EventIDs(from: old, to: new)
            for start in stride(from: 0, to: keys.count, by: Self.pageMax) {
                guard try await hasRead(stream) else { return stream.close() }
                let page = keys[start..<min(start + Self.pageMax, keys.count)]
                let loaded = try await looking.run { try await changes.load(Array(page)) }
                var rest = loaded[...]
                for index in page.indices {
                    let next = index + 1 < keys.count ? keys[index + 1].place.transaction : nil
                    let id = ids.id(of: keys[index].place.transaction, before: next, isLast: true)
                    guard let change = rest.first, change.key == keys[index] else { continue }
                    rest = rest.dropFirst()
                    guard stream.sendAhead(view.event(change, id: id)) else { return }
                    sent.add()
                }
            }
            stream.sendAhead(StreamView.ready(new))
            stream.release()
        } catch {
            // The reader comes back with the last ID that it was given.
            log.warning("an event stream ended before all that was missed was given", ["error": "\(error)"])
            stream.close()
        }
    }

    /// Waits until the stream's reader has taken most of what it was given.
    /// - Returns: false where it does not in the time.
    private func hasRead(_ stream: EventStream) async throws -> Bool {
        let deadline = ContinuousClock.now + .seconds(Self.readingSecondsMax)
        while stream.isOpen, stream.waitingBytes > Self.waitingBytesMax {
            if ContinuousClock.now > deadline { return false }
            try await Task.sleep(for: .milliseconds(20))
        }
        return stream.isOpen
    }
}
