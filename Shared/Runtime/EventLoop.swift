// One thread that waits for sockets (epoll) and timers, and runs tasks, an actor's jobs and closures in between. A
// server's connections, a client's transfers and a pool's connections each live on such a loop, so none of them needs a
// lock for what belongs to it.
import CLinux
import Dispatch
import Foundation
import Synchronization

/// Something that waits for a file descriptor.
public protocol EventSource: AnyObject {
    /// Called on the loop with epoll's flags.
    func ready(_ events: UInt32)
}

/// The system refused what a loop needs.
public struct EventLoopError: Error, Sendable, Equatable, CustomStringConvertible {
    public let description: String

    init(_ action: String, _ code: Int32) { description = "\(action): \(String(cString: strerror(code)))" }
}

/// A thread and its queue.
///
/// It is a `TaskExecutor`: a task that prefers it runs here between two waits. Its `serialExecutor` is an actor's: what
/// the actor does here, it does beside its sockets, without a hop. Whatever is handed over while the loop sleeps costs one
/// wake-up together, and while it is awake none.
///
/// The thread starts with the first thing to do and ends when the loop was told to `stop` and nothing is left to wait
/// for; what comes later starts another. An owner with work of its own for each round gives it to `start(turn:)`, and
/// ends the loop by it.
///
/// `@unchecked Sendable`: `jobs`, `running`, `sources`, `timers` and `turn` are touched by the loop's thread only (by its
/// owner before the thread starts); the rest is behind the mutex, atomic or constant.
public final class EventLoop: TaskExecutor, @unchecked Sendable {
    public enum Wait {
        /// Until a socket is ready, something is handed over, a timer is due or so many milliseconds have passed (-1: any
        /// time).
        case milliseconds(Int32)
        /// The owner is done: nothing is executed any more, and the thread ends with the jobs that are left.
        case over
    }

    /// What a socket is waited for, and what it became ready for. An error or a hang-up counts as both.
    public struct Readiness: OptionSet, Sendable {
        public let rawValue: Int
        public init(rawValue: Int) { self.rawValue = rawValue }
        public static let read = Readiness(rawValue: 1)
        public static let write = Readiness(rawValue: 2)
    }

    /// A job, and whether it is an actor's.
    fileprivate struct Job {
        let job: UnownedJob
        let isActors: Bool
    }

    private struct Inbox {
        var jobs: [Job] = []
        var actions: [@Sendable () -> Void] = []
        var isRunning = false
        /// The thread waits, and nobody has woken it since.
        var isAsleep = false
        var isStopping = false
        var isOver = false
    }

    public static let readable = EPOLLIN.rawValue
    public static let writable = EPOLLOUT.rawValue
    public static let peerClosed = EPOLLRDHUP.rawValue
    public static let hungUp = EPOLLRDHUP.rawValue | EPOLLHUP.rawValue | EPOLLERR.rawValue
    /// Says it once, until `change`.
    public static let once = EPOLLONESHOT.rawValue
    public static let edgeTriggered = EPOLLET.rawValue

    private static let eventsMax = 256
    /// Jobs in a row before sockets are looked at again.
    private static let jobsInARowMax = 4_096
    private static let wakeToken: UInt64 = 0
    private static let sleepMillisecondsMax = 3_600_000.0

    private let name: String
    private let epoll: Int32
    private let wakeDescriptor: Int32
    private let inbox = Mutex(Inbox())
    private let thread = Atomic<UInt>(0)
    /// The loop as the executor of an actor. An actor that runs here holds the loop.
    public let serialExecutor: ActorExecutor

    private var jobs: [Job] = []
    private var running: [Job] = []
    private var sources: [UInt64: any EventSource] = [:]
    private var lastToken = EventLoop.wakeToken
    private var timers = TimerHeap()
    private var turn: (() -> Wait)?

    public init(name: String) throws(EventLoopError) {
        self.name = name
        serialExecutor = ActorExecutor()
        epoll = epoll_create1(Int32(EPOLL_CLOEXEC))
        wakeDescriptor = eventfd(0, Int32(EFD_NONBLOCK | EFD_CLOEXEC))
        var event = epoll_event(events: Self.readable, data: epoll_data_t(u64: Self.wakeToken))
        guard epoll >= 0, wakeDescriptor >= 0, epoll_ctl(epoll, EPOLL_CTL_ADD, wakeDescriptor, &event) == 0 else {
            // What was opened is closed by `deinit`, which runs: every property has its value.
            throw EventLoopError("make an event loop", errno)
        }
        serialExecutor.loop = self
    }

    deinit {
        for descriptor in [epoll, wakeDescriptor] where descriptor >= 0 { Glibc.close(descriptor) }
    }

    /// Starts the thread, before anything else is handed over. After each wait it runs what came in, then `turn`, which
    /// says how long to wait next.
    public func start(turn: @escaping () -> Wait) throws(EventLoopError) {
        self.turn = turn
        inbox.withLock { $0.isRunning = true }
        let code = startThread()
        guard code == 0 else {
            self.turn = nil
            inbox.withLock { $0.isRunning = false }
            throw EventLoopError("start a thread", code)
        }
    }

    private func startThread() -> Int32 {
        var attributes = pthread_attr_t()
        pthread_attr_init(&attributes)
        pthread_attr_setdetachstate(&attributes, Int32(PTHREAD_CREATE_DETACHED))
        defer { pthread_attr_destroy(&attributes) }
        var id = pthread_t()
        let context = Unmanaged.passRetained(self).toOpaque()
        let code = pthread_create(&id, &attributes, EventLoop.main, context)
        if code != 0 { Unmanaged<EventLoop>.fromOpaque(context).release() }
        return code
    }

    private static let main: @convention(c) (UnsafeMutableRawPointer?) -> UnsafeMutableRawPointer? = { context in
        guard let context else { return nil }
        let loop = Unmanaged<EventLoop>.fromOpaque(context).takeRetainedValue()
        pthread_setname_np(pthread_self(), loop.name)
        loop.run()
        return nil
    }

    /// Seconds of a clock that only goes forward.
    public static func now() -> Double {
        var time = timespec()
        clock_gettime(CLOCK_MONOTONIC, &time)
        return Double(time.tv_sec) + Double(time.tv_nsec) * 1e-9
    }

    public var isCurrent: Bool { thread.load(ordering: .relaxed) == UInt(pthread_self()) }

    /// Whether there is a thread at the moment.
    var isRunning: Bool { inbox.withLock { $0.isRunning } }

    // MARK: From any thread

    public func enqueue(_ job: consuming ExecutorJob) { enqueue(Job(job: UnownedJob(job), isActors: false)) }

    fileprivate func enqueue(_ job: Job) {
        if isCurrent {
            jobs.append(job)
            return
        }
        handOver { $0.jobs.append(job) }
    }

    /// Runs `action` on the loop, soon and in order. False: the owner has ended the loop, and `action` will not run.
    @discardableResult
    public func execute(_ action: @escaping @Sendable () -> Void) -> Bool {
        handOver { inbox in
            guard !inbox.isOver else { return }
            inbox.actions.append(action)
        }
    }

    /// Lets the thread end when it has nothing left to wait for.
    public func stop() { handOver { $0.isStopping = true } }

    /// False: the loop is over. What `put` adds is seen by the thread, which is started or woken where that is needed.
    @discardableResult
    private func handOver(_ put: (inout Inbox) -> Void) -> Bool {
        enum Next { case start, wake, nothing }
        let (accepted, next) = inbox.withLock { inbox -> (Bool, Next) in
            put(&inbox)
            if !inbox.isRunning {
                // Told to stop, or refused: nothing to do for a thread.
                guard !inbox.jobs.isEmpty || !inbox.actions.isEmpty else { return (!inbox.isOver, .nothing) }
                inbox.isRunning = true
                return (!inbox.isOver, .start)
            }
            guard inbox.isAsleep else { return (!inbox.isOver, .nothing) }
            inbox.isAsleep = false
            return (!inbox.isOver, .wake)
        }
        switch next {
        case .start:
            // A thread that cannot be had is borrowed: what was handed over must run.
            if startThread() != 0 { DispatchQueue.global().async { self.run() } }
        case .wake:
            var one: UInt64 = 1
            write(wakeDescriptor, &one, 8)
        case .nothing: break
        }
        return accepted
    }

    // MARK: On the loop

    /// Runs the jobs that are waiting, and those that they make ready here. Not from inside a job.
    public func runJobs() {
        var ran = 0
        while !jobs.isEmpty, ran < Self.jobsInARowMax {
            swap(&jobs, &running)
            for job in running {
                if job.isActors {
                    job.job.runSynchronously(on: serialExecutor.asUnownedSerialExecutor())
                } else {
                    job.job.runSynchronously(on: asUnownedTaskExecutor())
                }
            }
            ran += running.count
            running.removeAll(keepingCapacity: true)
        }
    }

    /// Watches a descriptor until `remove`. The token is never used again.
    public func add(_ source: any EventSource, descriptor: Int32, events: UInt32) -> UInt64? {
        lastToken += 1
        var event = epoll_event(events: events, data: epoll_data_t(u64: lastToken))
        guard epoll_ctl(epoll, EPOLL_CTL_ADD, descriptor, &event) == 0 else { return nil }
        sources[lastToken] = source
        return lastToken
    }

    public func change(_ token: UInt64, descriptor: Int32, events: UInt32) {
        var event = epoll_event(events: events, data: epoll_data_t(u64: token))
        epoll_ctl(epoll, EPOLL_CTL_MOD, descriptor, &event)
    }

    /// Must be called before the descriptor is closed.
    public func remove(_ token: UInt64, descriptor: Int32) {
        sources[token] = nil
        var event = epoll_event()
        epoll_ctl(epoll, EPOLL_CTL_DEL, descriptor, &event)
    }

    /// The same with a closure. A descriptor that cannot be watched is said to be ready, so that whoever uses it finds out
    /// what is wrong.
    public func add(
        socket descriptor: Int32, _ interest: Readiness, _ handler: @escaping @Sendable (Readiness) -> Void
    ) -> Int {
        let source = SocketSource(descriptor, handler)
        if let token = add(source, descriptor: descriptor, events: Self.events(interest)) { return Int(token) }
        sources[lastToken] = source
        let token = lastToken
        if descriptor >= 0 { _ = addTimer(after: .zero) { [weak self] in self?.sources[token]?.ready(Self.hungUp) } }
        return Int(token)
    }

    public func change(socket token: Int, _ interest: Readiness) {
        guard let source = sources[UInt64(token)] as? SocketSource else { return }
        change(UInt64(token), descriptor: source.descriptor, events: Self.events(interest))
    }

    /// Must be called before the descriptor is closed.
    public func remove(socket token: Int) {
        guard let source = sources[UInt64(token)] as? SocketSource else { return }
        remove(UInt64(token), descriptor: source.descriptor)
    }

    private static func events(_ interest: Readiness) -> UInt32 {
        (interest.contains(.read) ? readable : 0) | (interest.contains(.write) ? writable : 0)
    }

    private final class SocketSource: EventSource {
        let descriptor: Int32
        private let handler: @Sendable (Readiness) -> Void

        init(_ descriptor: Int32, _ handler: @escaping @Sendable (Readiness) -> Void) {
            self.descriptor = descriptor
            self.handler = handler
        }

        func ready(_ events: UInt32) {
            var readiness: Readiness = []
            if events & (EventLoop.readable | EventLoop.hungUp) != 0 { readiness.insert(.read) }
            if events & (EventLoop.writable | EventLoop.hungUp) != 0 { readiness.insert(.write) }
            handler(readiness)
        }
    }

    /// Calls `fire` once, not earlier than that, unless it is cancelled before.
    @discardableResult
    public func addTimer(after delay: Duration, _ fire: @escaping @Sendable () -> Void) -> Int {
        timers.add(at: Self.now() + delay.inSeconds, fire)
    }

    public func cancel(timer token: Int) { timers.cancel(token) }

    // MARK: The thread

    private func run() {
        thread.store(UInt(pthread_self()), ordering: .relaxed)
        let events = UnsafeMutablePointer<epoll_event>.allocate(capacity: Self.eventsMax)
        defer { events.deallocate() }
        while true {
            takeInbox()
            if !timers.isEmpty {
                let now = Self.now()
                while let fire = timers.takeDue(now) { fire() }
            }
            runJobs()
            guard let milliseconds = timeToSleep() else { return }
            let count = epoll_wait(epoll, events, Int32(Self.eventsMax), milliseconds)
            if milliseconds != 0 { inbox.withLock { $0.isAsleep = false } }
            for index in 0..<max(0, Int(count)) {
                let token = events[index].data.u64
                if token == Self.wakeToken {
                    var value: UInt64 = 0
                    read(wakeDescriptor, &value, 8)
                } else {
                    // An earlier one of this round may have removed it.
                    sources[token]?.ready(events[index].events)
                }
            }
        }
    }

    private func takeInbox() {
        let (newJobs, actions) = inbox.withLock { inbox in
            defer {
                inbox.jobs = []
                inbox.actions = []
            }
            return (inbox.jobs, inbox.actions)
        }
        if !newJobs.isEmpty { jobs.append(contentsOf: newJobs) }
        for action in actions { action() }
    }

    /// Runs the owner's turn and says how long the thread may wait; nil: it ends. Whoever hands something over from here
    /// on wakes it.
    private func timeToSleep() -> Int32? {
        var milliseconds: Int32 = -1
        if let turn {
            switch turn() {
            case .milliseconds(let wanted): milliseconds = wanted
            case .over: endTurns()
            }
        }
        if !jobs.isEmpty { milliseconds = 0 }
        if milliseconds != 0, let next = timers.next {
            let left = min(max(((next - Self.now()) * 1_000).rounded(.up), 0), Self.sleepMillisecondsMax)
            if milliseconds < 0 || Int32(left) < milliseconds { milliseconds = Int32(left) }
        }
        let hasTurn = turn != nil
        return inbox.withLock { inbox in
            if !inbox.jobs.isEmpty || !inbox.actions.isEmpty { return 0 }
            if inbox.isStopping, !hasTurn, jobs.isEmpty, sources.isEmpty, timers.isEmpty {
                thread.store(0, ordering: .relaxed)
                inbox.isRunning = false
                return nil
            }
            inbox.isAsleep = milliseconds != 0
            return milliseconds
        }
    }

    /// What was accepted still runs; what comes from now on is refused.
    private func endTurns() {
        let actions = inbox.withLock { inbox in
            inbox.isOver = true
            inbox.isStopping = true
            defer { inbox.actions = [] }
            return inbox.actions
        }
        for action in actions { action() }
        sources = [:]
        timers = TimerHeap()
        turn = nil
    }
}

/// The loop as an actor's executor. It is an object of its own, because the same job is run in another way when it is an
/// actor's, and nothing about the job says which it is.
///
/// `@unchecked Sendable`: `loop` is set once, by the loop's `init`.
public final class ActorExecutor: SerialExecutor, @unchecked Sendable {
    fileprivate unowned(unsafe) var loop: EventLoop?

    fileprivate init() {}

    public func enqueue(_ job: consuming ExecutorJob) {
        let job = EventLoop.Job(job: UnownedJob(job), isActors: true)
        loop?.enqueue(job)
    }

    public func asUnownedSerialExecutor() -> UnownedSerialExecutor { UnownedSerialExecutor(ordinary: self) }

    public func checkIsolated() { precondition(loop?.isCurrent ?? false, "expected to run on the actor's event loop") }

    public func isIsolatingCurrentContext() -> Bool? { loop?.isCurrent }
}

extension EventLoop {
    public func asUnownedSerialExecutor() -> UnownedSerialExecutor { serialExecutor.asUnownedSerialExecutor() }
}
