// Server-sent events (WHATWG HTML, 9.2) going out: a bounded buffer that any thread may fill.
import Synchronization

/// An event in the form in which it travels. Made once, it can be sent to any number of streams.
public struct EncodedEvent: Sendable {
    let bytes: [UInt8]

    /// - Parameters:
    ///   - id: what a client that comes back names in `Last-Event-ID`. Line breaks and NULs are left out.
    ///   - event: the kind; `message` for clients when nil. Line breaks are left out.
    ///   - data: text; its lines (CR, LF or both) arrive joined by LF.
    public init(id: String? = nil, event: String? = nil, data: [UInt8]) {
        var bytes: [UInt8] = []
        bytes.reserveCapacity(data.count + 64)
        if let id {
            bytes.append(contentsOf: "id: ".utf8)
            bytes.append(contentsOf: id.utf8.lazy.filter { $0 != 10 && $0 != 13 && $0 != 0 })
            bytes.append(10)
        }
        if let event {
            bytes.append(contentsOf: "event: ".utf8)
            bytes.append(contentsOf: event.utf8.lazy.filter { $0 != 10 && $0 != 13 })
            bytes.append(10)
        }
        bytes.append(contentsOf: "data: ".utf8)
        var previous: UInt8 = 0
        for byte in data {
            switch byte {
            case 10 where previous == 13: break
            case 10, 13: bytes.append(contentsOf: "\ndata: ".utf8)
            default: bytes.append(byte)
            }
            previous = byte
        }
        bytes.append(10)
        bytes.append(10)
        self.bytes = bytes
    }
}

/// What a number of streams may keep together.
public final class StreamBudget: Sendable {
    private let bytesMax: Int
    private let bytes = Atomic<Int>(0)

    public init(bytesMax: Int) { self.bytesMax = bytesMax }

    /// What the streams keep now.
    public var keptBytes: Int { bytes.load(ordering: .relaxed) }

    fileprivate var isSpent: Bool { keptBytes > bytesMax }
    fileprivate func add(_ count: Int) { bytes.add(count, ordering: .relaxed) }
}

/// One client's open stream. A handler makes it, keeps it, and answers `.events(stream)`; what is sent before the
/// response is under way goes out first.
///
/// A reader that lets more than `bufferBytesMax` pile up is closed: it comes back with `Last-Event-ID` and gets what
/// it missed from storage, so that nobody's slowness costs memory. So is one that has anything piled up when streams that
/// share a budget have spent it.
public final class EventStream: Sendable {
    struct State {
        var pending: [UInt8] = []
        /// What waits behind `sendAhead`; nil when nothing goes ahead.
        var held: [UInt8]?
        /// What the budget was told of.
        var countedBytes = 0
        /// Bytes that were taken to the network's side and are not yet accepted by it.
        var unsentBytes = 0
        var closed = false
        /// Closed because the reader was too slow: what is pending is not sent any more.
        var abandoned = false
        var scheduled = false
        var wake: (@Sendable () -> Void)?
        var onClose: [@Sendable () -> Void] = []

        var keptBytes: Int { pending.count + (held?.count ?? 0) + unsentBytes }
    }

    private let bufferBytesMax: Int
    private let budget: StreamBudget?
    private let state: Mutex<State>

    /// - Parameter isHeld: what is sent waits until `release`, behind what is sent by `sendAhead`.
    public init(bufferBytesMax: Int = 256 << 10, budget: StreamBudget? = nil, isHeld: Bool = false) {
        self.bufferBytesMax = bufferBytesMax
        self.budget = budget
        state = Mutex(State(held: isHeld ? [] : nil))
    }

    deinit { state.withLock { budget?.add(-$0.countedBytes) } }

    /// True until one of both sides closed it.
    public var isOpen: Bool { state.withLock { !$0.closed } }

    /// Hands an event over. False: the stream is closed, or its reader was too slow and it is closed now.
    @discardableResult
    public func send(id: String? = nil, event: String? = nil, data: [UInt8]) -> Bool {
        send(EncodedEvent(id: id, event: event, data: data))
    }

    @discardableResult
    public func send(_ event: EncodedEvent) -> Bool { append(event.bytes) }

    /// The same for a stream that is held: goes out before what was sent.
    @discardableResult
    public func sendAhead(_ event: EncodedEvent) -> Bool { append(event.bytes, isAhead: true) }

    /// What was held goes out, and what is sent from now on.
    public func release() {
        let wake = state.withLock { state -> (@Sendable () -> Void)? in
            guard let held = state.held.take(), !state.closed else { return nil }
            state.pending.append(contentsOf: held)
            return Self.schedule(&state)
        }
        wake?()
    }

    /// Bytes that the client has not taken yet, without what is held.
    public var waitingBytes: Int { state.withLock { $0.pending.count + $0.unsentBytes } }

    /// Ends the stream after what was sent.
    public func close() { finish() }

    /// Runs `action` once when the stream is closed, by whichever side; at once if it is already. It must not block.
    public func onClose(_ action: @escaping @Sendable () -> Void) {
        let now = state.withLock { state in
            if !state.closed { state.onClose.append(action) }
            return state.closed
        }
        if now { action() }
    }

    // MARK: The server's side

    func append(_ bytes: [UInt8], isAhead: Bool = false) -> Bool {
        let (accepted, wake) = state.withLock { state -> (Bool, (@Sendable () -> Void)?) in
            guard !state.closed else { return (false, nil) }
            let kept = state.keptBytes
            guard kept + bytes.count <= bufferBytesMax, kept == 0 || budget?.isSpent != true else {
                state.abandoned = true
                state.pending = []
                state.held = nil
                count(&state)
                return (false, nil)
            }
            defer { count(&state) }
            if !isAhead, state.held != nil {
                state.held?.append(contentsOf: bytes)
                return (true, nil)
            }
            state.pending.append(contentsOf: bytes)
            return (true, Self.schedule(&state))
        }
        guard accepted else {
            finish()
            return false
        }
        wake?()
        return true
    }

    private func count(_ state: inout State) {
        guard let budget else { return }
        let kept = state.keptBytes
        if kept != state.countedBytes { budget.add(kept - state.countedBytes) }
        state.countedBytes = kept
    }

    private func finish() {
        let (wake, actions) = state.withLock { state -> ((@Sendable () -> Void)?, [@Sendable () -> Void]) in
            guard !state.closed else { return (nil, []) }
            state.closed = true
            state.held = nil
            count(&state)
            let actions = state.onClose
            state.onClose = []
            return (Self.schedule(&state), actions)
        }
        wake?()
        for action in actions { action() }
    }

    private static func schedule(_ state: inout State) -> (@Sendable () -> Void)? {
        guard !state.scheduled, let wake = state.wake else { return nil }
        state.scheduled = true
        return wake
    }

    /// Connects the stream to its socket: `wake` is called when there is something to take.
    func attach(wake: @escaping @Sendable () -> Void) {
        state.withLock { state in
            state.wake = wake
            state.scheduled = true
        }
        wake()
    }

    /// Takes what is pending. After `ended` nothing more will come; when `abandoned`, nothing is worth sending.
    func take(stillUnsentBytes: Int) -> (bytes: [UInt8], ended: Bool, abandoned: Bool) {
        state.withLock { state in
            state.scheduled = false
            let bytes = state.pending
            state.pending = []
            state.unsentBytes = stillUnsentBytes + bytes.count
            count(&state)
            return (bytes, state.closed, state.abandoned)
        }
    }

    func setUnsent(_ bytes: Int) {
        state.withLock { state in
            state.unsentBytes = bytes
            count(&state)
        }
    }
}
