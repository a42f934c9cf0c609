// One thread that waits for sockets and timers and runs an actor's jobs: the executor of a pool.
import Foundation
import Synchronization

/// A thread around `poll`, and a serial executor: what an actor does here, it does on that thread, beside its sockets, so
/// it needs no lock and no hop to answer them. A pool has few sockets, so `poll` over all of them costs nothing.
/// The thread starts with the first job and ends when the loop was told to and nothing is left to do.
final class EventLoop: SerialExecutor {
    /// What a socket is waited for, and what it became ready for. An error or a hang-up counts as both.
    struct Readiness: OptionSet, Sendable {
        let rawValue: Int
        static let read = Readiness(rawValue: 1)
        static let write = Readiness(rawValue: 2)
    }

    typealias Handler = @Sendable (Readiness) -> Void

    private struct Socket {
        let descriptor: Int32
        var interest: Readiness
        let handler: Handler
    }

    private struct Timer {
        let deadline: ContinuousClock.Instant
        let fire: @Sendable () -> Void
    }

    private enum Work: Sendable {
        case job(UnownedJob)
        case closure(@Sendable () -> Void)
    }

    private struct State {
        var work: [Work] = []
        var sockets: [Int: Socket] = [:]
        var timers: [Int: Timer] = [:]
        var nextToken = 0
        var isRunning = false
        /// Set by the thread itself, before it runs anything.
        var thread: pthread_t?
        /// The thread sits in `poll`, and nobody has written to the pipe since.
        var isAsleep = false
        var isStopping = false
    }

    private let name: String
    private let state = Mutex(State())
    /// Both ends of a pipe: a byte in it ends `poll`.
    private let wakeRead: Int32
    private let wakeWrite: Int32

    init(name: String) throws(PostgresError) {
        self.name = name
        var ends: [Int32] = [-1, -1]
        guard pipe(&ends) == 0 else {
            throw PostgresError(
                sqlState: "53000", message: "no pipe for the event loop: \(String(cString: strerror(errno)))")
        }
        for end in ends {
            _ = fcntl(end, F_SETFD, FD_CLOEXEC)
            _ = fcntl(end, F_SETFL, O_NONBLOCK)
        }
        (wakeRead, wakeWrite) = (ends[0], ends[1])
    }

    deinit {
        close(wakeRead)
        close(wakeWrite)
    }

    // MARK: The executor

    func enqueue(_ job: consuming ExecutorJob) { add(.job(UnownedJob(job))) }
    func asUnownedSerialExecutor() -> UnownedSerialExecutor { UnownedSerialExecutor(ordinary: self) }

    func checkIsolated() {
        precondition(isOnThread, "expected to run on the event loop \(name)")
    }

    func isIsolatingCurrentContext() -> Bool? { isOnThread }

    private var isOnThread: Bool {
        let thread = state.withLock { $0.thread }
        return thread.map { pthread_equal($0, pthread_self()) != 0 } ?? false
    }

    /// Runs the closure on the thread, soon.
    func execute(_ closure: @escaping @Sendable () -> Void) { add(.closure(closure)) }

    private func add(_ work: Work) {
        enum Next { case start, wake, nothing }
        let next: Next = state.withLock { state in
            state.work.append(work)
            if !state.isRunning {
                state.isRunning = true
                return .start
            }
            guard state.isAsleep else { return .nothing }
            state.isAsleep = false
            return .wake
        }
        switch next {
        case .start: start()
        case .wake: wake()
        case .nothing: break
        }
    }

    // MARK: Sockets and timers

    func add(socket descriptor: Int32, _ interest: Readiness, _ handler: @escaping Handler) -> Int {
        state.withLock { state in
            state.nextToken += 1
            state.sockets[state.nextToken] = Socket(descriptor: descriptor, interest: interest, handler: handler)
            return state.nextToken
        }
    }

    func change(socket token: Int, _ interest: Readiness) {
        state.withLock { $0.sockets[token]?.interest = interest }
    }

    func remove(socket token: Int) {
        state.withLock { state in
            state.sockets[token] = nil
        }
    }

    func addTimer(after delay: Duration, _ fire: @escaping @Sendable () -> Void) -> Int {
        state.withLock { state in
            state.nextToken += 1
            state.timers[state.nextToken] = Timer(deadline: .now.advanced(by: delay), fire: fire)
            return state.nextToken
        }
    }

    func cancel(timer token: Int) {
        state.withLock { state in
            state.timers[token] = nil
        }
    }

    /// Lets the thread end when it has nothing left to do. A job that comes later starts another.
    func stop() {
        let wakes = state.withLock { state in
            state.isStopping = true
            defer { state.isAsleep = false }
            return state.isAsleep
        }
        if wakes { wake() }
    }

    // MARK: The thread

    private func start() {
        let thread = Thread { self.run() }
        thread.name = name
        thread.start()
    }

    private func wake() {
        var byte: UInt8 = 1
        // A full pipe wakes as well as one more byte would.
        _ = write(wakeWrite, &byte, 1)
    }

    private func run() {
        state.withLock { $0.thread = pthread_self() }
        var descriptors: [pollfd] = []
        var tokens: [Int] = []
        while true {
            runWork()
            fireTimers()

            enum Next {
                case poll(milliseconds: Int32)
                case end
            }
            let next: Next = state.withLock { state in
                if !state.work.isEmpty { return .poll(milliseconds: 0) }
                if state.isStopping, state.sockets.isEmpty, state.timers.isEmpty {
                    state.thread = nil
                    state.isRunning = false
                    return .end
                }
                state.isAsleep = true
                guard let deadline = state.timers.values.map(\.deadline).min() else { return .poll(milliseconds: -1) }
                let milliseconds = (deadline - .now) / .milliseconds(1)
                return .poll(milliseconds: Int32(min(max(milliseconds.rounded(.up), 0), 3_600_000)))
            }
            guard case .poll(let milliseconds) = next else { return }

            descriptors.removeAll(keepingCapacity: true)
            tokens.removeAll(keepingCapacity: true)
            descriptors.append(pollfd(fd: wakeRead, events: Int16(POLLIN), revents: 0))
            state.withLock { state in
                for (token, socket) in state.sockets {
                    var events: Int32 = 0
                    if socket.interest.contains(.read) { events |= POLLIN }
                    if socket.interest.contains(.write) { events |= POLLOUT }
                    descriptors.append(pollfd(fd: socket.descriptor, events: Int16(events), revents: 0))
                    tokens.append(token)
                }
            }
            let ready = poll(&descriptors, nfds_t(descriptors.count), milliseconds)
            state.withLock { $0.isAsleep = false }
            guard ready > 0 else { continue }

            if descriptors[0].revents != 0 {
                var drained: [UInt8] = Array(repeating: 0, count: 64)
                _ = read(wakeRead, &drained, drained.count)
            }
            for index in tokens.indices {
                let events = Int32(descriptors[index + 1].revents)
                guard events != 0 else { continue }
                var readiness: Readiness = []
                if events & (POLLIN | POLLERR | POLLHUP | POLLNVAL) != 0 { readiness.insert(.read) }
                if events & (POLLOUT | POLLERR | POLLHUP | POLLNVAL) != 0 { readiness.insert(.write) }
                // An earlier handler of this round may have removed it.
                guard let handler = state.withLock({ $0.sockets[tokens[index]]?.handler }) else { continue }
                handler(readiness)
            }
        }
    }

    private func runWork() {
        let work = state.withLock { state in
            let work = state.work
            state.work = []
            return work
        }
        for item in work {
            switch item {
            case .job(let job): job.runSynchronously(on: asUnownedSerialExecutor())
            case .closure(let closure): closure()
            }
        }
    }

    private func fireTimers() {
        let due: [@Sendable () -> Void] = state.withLock { state in
            guard !state.timers.isEmpty else { return [] }
            let now = ContinuousClock.Instant.now
            let due = state.timers.filter { $0.value.deadline <= now }.sorted { $0.key < $1.key }
            for timer in due { state.timers[timer.key] = nil }
            return due.map(\.value.fire)
        }
        for fire in due { fire() }
    }
}
