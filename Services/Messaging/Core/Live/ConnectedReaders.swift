// Who is connected, and who is about to be.
import HTTP
import Models

/// One open event stream.
final class StreamReader: Sendable {
    let account: AccountID
    let session: SessionID
    let stream: EventStream
    /// When the token that opened it does: then the stream is closed.
    let expiresAt: Timestamp

    init(_ account: AccountID, _ session: SessionID, _ stream: EventStream, expiresAt: Timestamp) {
        self.account = account
        self.session = session
        self.stream = stream
        self.expiresAt = expiresAt
    }

    /// Rounded up.
    fileprivate var expirySecond: Int64 {
        expiresAt.second + (expiresAt.microseconds % 1_000_000 == 0 ? 0 : 1)
    }
}

/// The readers of this instance. Those that join are connected when the connected streams have reached the present.
struct ConnectedReaders {
    /// Streams of one account; one more closes the oldest.
    static let streamsOfAccountMax = 8

    /// Whose stream does not stand where the others do yet.
    struct Joining {
        let reader: StreamReader
        /// Told where its stream stands; nil where it begins there.
        let returning: CheckedContinuation<StreamPosition, any Error>?
    }

    private(set) var joining: [Joining] = []
    private(set) var connected: [AccountID: [StreamReader]] = [:]
    /// Those that are connected, by the second in which they expire.
    private var expiring: [Int64: [ObjectIdentifier: StreamReader]] = [:]
    private var checkedSecond: Int64 = 0

    var isEmpty: Bool { connected.isEmpty && joining.isEmpty }
    var all: [StreamReader] { joining.map(\.reader) + connected.values.joined() }

    mutating func join(_ one: Joining) { joining.append(one) }

    /// Forgets a reader whose stream is closed.
    /// - Returns: its place among those that join, where it had one.
    mutating func remove(_ reader: StreamReader) -> [Joining] {
        let gone = joining.filter { $0.reader === reader }
        if !gone.isEmpty { joining.removeAll { $0.reader === reader } }
        expiring[reader.expirySecond]?[ObjectIdentifier(reader)] = nil
        if expiring[reader.expirySecond]?.isEmpty == true { expiring[reader.expirySecond] = nil }
        if var readers = connected[reader.account] {
            readers.removeAll { $0 === reader }
            connected[reader.account] = readers.isEmpty ? nil : readers
        }
        return gone
    }

    /// Takes out those that join and wait to be told where they stand.
    mutating func removeReturning() -> [Joining] {
        let waiting = joining.filter { $0.returning != nil }
        joining.removeAll { $0.returning != nil }
        return waiting
    }

    /// Connected readers whose tokens have run out, looked for once a second.
    mutating func expired(at now: Timestamp) -> [StreamReader] {
        if now.second == checkedSecond { return [] }
        checkedSecond = now.second
        let due = expiring.keys.filter { $0 <= now.second }
        return due.flatMap { expiring[$0].map { Array($0.values) } ?? [] }
    }

    /// Connects some of those that join; who left meanwhile is not there any more.
    /// - Returns: those that joined, and of each account the streams that are too many.
    mutating func connect(_ readers: [StreamReader]) -> (joined: [Joining], surplus: [StreamReader]) {
        let admitted = Set(readers.map(ObjectIdentifier.init))
        let joined = joining.filter { admitted.contains(ObjectIdentifier($0.reader)) }
        joining.removeAll { admitted.contains(ObjectIdentifier($0.reader)) }
        var surplus: [StreamReader] = []
        // One may have been closed meanwhile: it has been removed then and would not be again.
        for one in joined where one.reader.stream.isOpen {
            let reader = one.reader
            connected[reader.account, default: []].append(reader)
            expiring[reader.expirySecond, default: [:]][ObjectIdentifier(reader)] = reader
            if let readers = connected[reader.account], readers.count > Self.streamsOfAccountMax {
                surplus.append(readers[readers.count - Self.streamsOfAccountMax - 1])
            }
        }
        return (joined, surplus)
    }
}

extension Timestamp {
    fileprivate var second: Int64 { microseconds / 1_000_000 }
}
