// One thread that waits for sockets (epoll), and runs Swift tasks and what other threads hand to it in between.
// The server's connections and the client's transfers both live on such loops, so that neither needs locks.
import CMicroHTTPD
import Dispatch
import Foundation
import Synchronization

/// Something that waits for a file descriptor.
protocol EventSource: AnyObject {
    /// Called on the loop with epoll's flags.
    func ready(_ events: UInt32)
}

/// A thread and its queue.
///
/// It is a `TaskExecutor`: a task that prefers it runs here between two waits, and may touch what belongs to the loop
/// through `execute`. Everything handed over while the loop sleeps costs one wake-up together.
///
/// `@unchecked Sendable`: `jobs`, `running`, `sources` and `turn` are touched by the loop's thread only (by `init`'s caller before
/// the thread starts); the rest is behind the mutex, atomic or constant.
final class EventLoop: TaskExecutor, @unchecked Sendable {
    enum Wait {
        /// Until a socket is ready, something is handed over, or so many milliseconds have passed (-1: any time).
        case milliseconds(Int32)
        /// The loop is done: its thread ends.
        case over
    }

    private struct Inbox {
        var jobs: [UnownedJob] = []
        var actions: [@Sendable () -> Void] = []
        var woken = false
        var over = false
    }

    static let readable = EPOLLIN.rawValue
    static let writable = EPOLLOUT.rawValue
    static let hungUp = EPOLLRDHUP.rawValue | EPOLLHUP.rawValue | EPOLLERR.rawValue

    private static let eventsMax = 256
    /// Jobs in a row before sockets are looked at again.
    private static let jobsInARowMax = 4_096
    private static let wakeToken: UInt64 = 0

    private let name: String
    private let epoll: Int32
    private let wakeDescriptor: Int32
    private let inbox = Mutex(Inbox())
    private let thread = Atomic<UInt>(0)

    private var jobs: [UnownedJob] = []
    private var running: [UnownedJob] = []
    private var sources: [UInt64: any EventSource] = [:]
    private var lastToken = EventLoop.wakeToken
    private var turn: () -> Wait = { .over }

    init(name: String) throws(HTTPError) {
        self.name = name
        epoll = epoll_create1(Int32(EPOLL_CLOEXEC))
        wakeDescriptor = eventfd(0, Int32(EFD_NONBLOCK | EFD_CLOEXEC))
        var event = epoll_event(events: Self.readable, data: epoll_data_t(u64: Self.wakeToken))
        guard epoll >= 0, wakeDescriptor >= 0, epoll_ctl(epoll, EPOLL_CTL_ADD, wakeDescriptor, &event) == 0 else {
            let reason = HTTPError.system("make an event loop: \(String(cString: strerror(errno)))")
            if epoll >= 0 { Glibc.close(epoll) }
            if wakeDescriptor >= 0 { Glibc.close(wakeDescriptor) }
            throw reason
        }
    }

    deinit {
        Glibc.close(epoll)
        Glibc.close(wakeDescriptor)
    }

    /// Starts the thread. After each wait it runs what came in, then `turn`, which says how long to wait next.
    func start(turn: @escaping () -> Wait) throws(HTTPError) {
        self.turn = turn
        var attributes = pthread_attr_t()
        pthread_attr_init(&attributes)
        pthread_attr_setdetachstate(&attributes, Int32(PTHREAD_CREATE_DETACHED))
        defer { pthread_attr_destroy(&attributes) }
        var id = pthread_t()
        let context = Unmanaged.passRetained(self).toOpaque()
        let code = pthread_create(&id, &attributes, EventLoop.main, context)
        guard code == 0 else {
            Unmanaged<EventLoop>.fromOpaque(context).release()
            throw .system("start a thread: \(String(cString: strerror(code)))")
        }
    }

    private static let main: @convention(c) (UnsafeMutableRawPointer?) -> UnsafeMutableRawPointer? = { context in
        guard let context else { return nil }
        Unmanaged<EventLoop>.fromOpaque(context).takeRetainedValue().run()
        return nil
    }

    /// Seconds of a clock that only goes forward.
    static func now() -> Double {
        var time = timespec()
        clock_gettime(CLOCK_MONOTONIC, &time)
        return Double(time.tv_sec) + Double(time.tv_nsec) * 1e-9
    }

    var isCurrent: Bool { thread.load(ordering: .relaxed) == UInt(pthread_self()) }

    // MARK: From any thread

    func enqueue(_ job: consuming ExecutorJob) {
        let job = UnownedJob(job)
        if isCurrent {
            jobs.append(job)
            return
        }
        let (over, wake) = inbox.withLock { inbox -> (Bool, Bool) in
            if inbox.over { return (true, false) }
            inbox.jobs.append(job)
            defer { inbox.woken = true }
            return (false, !inbox.woken)
        }
        if over {
            // A task that outlives its loop goes on among the others.
            DispatchQueue.global().async { job.runSynchronously(on: self.asUnownedTaskExecutor()) }
        } else if wake {
            self.wake()
        }
    }

    /// Runs `action` on the loop, soon and in order. False: the loop is over and `action` will not run.
    @discardableResult
    func execute(_ action: @escaping @Sendable () -> Void) -> Bool {
        let (accepted, wake) = inbox.withLock { inbox -> (Bool, Bool) in
            if inbox.over { return (false, false) }
            inbox.actions.append(action)
            defer { inbox.woken = true }
            return (true, !inbox.woken)
        }
        if wake { self.wake() }
        return accepted
    }

    private func wake() {
        var one: UInt64 = 1
        write(wakeDescriptor, &one, 8)
    }

    // MARK: On the loop

    /// Runs the tasks' jobs that are waiting, and those that they make ready here. Not from inside a job.
    func runJobs() {
        var ran = 0
        while !jobs.isEmpty, ran < Self.jobsInARowMax {
            swap(&jobs, &running)
            for job in running { job.runSynchronously(on: asUnownedTaskExecutor()) }
            ran += running.count
            running.removeAll(keepingCapacity: true)
        }
    }

    /// Watches a descriptor until `remove`. The token is never used again.
    func add(_ source: any EventSource, descriptor: Int32, events: UInt32) -> UInt64? {
        lastToken += 1
        var event = epoll_event(events: events, data: epoll_data_t(u64: lastToken))
        guard epoll_ctl(epoll, EPOLL_CTL_ADD, descriptor, &event) == 0 else { return nil }
        sources[lastToken] = source
        return lastToken
    }

    func change(_ token: UInt64, descriptor: Int32, events: UInt32) {
        var event = epoll_event(events: events, data: epoll_data_t(u64: token))
        epoll_ctl(epoll, EPOLL_CTL_MOD, descriptor, &event)
    }

    /// Must be called before the descriptor is closed.
    func remove(_ token: UInt64, descriptor: Int32) {
        sources[token] = nil
        var event = epoll_event()
        epoll_ctl(epoll, EPOLL_CTL_DEL, descriptor, &event)
    }

    private func run() {
        thread.store(UInt(pthread_self()), ordering: .relaxed)
        pthread_setname_np(pthread_self(), name)
        let events = UnsafeMutablePointer<epoll_event>.allocate(capacity: Self.eventsMax)
        defer { events.deallocate() }
        while true {
            takeInbox()
            runJobs()
            guard case .milliseconds(var milliseconds) = turn() else { break }
            if !jobs.isEmpty { milliseconds = 0 }
            let count = epoll_wait(epoll, events, Int32(Self.eventsMax), milliseconds)
            for index in 0..<max(0, Int(count)) {
                let token = events[index].data.u64
                if token == Self.wakeToken {
                    var value: UInt64 = 0
                    read(wakeDescriptor, &value, 8)
                } else {
                    sources[token]?.ready(events[index].events)
                }
            }
        }
        end()
    }

    private func takeInbox() {
        var taken = Inbox()
        inbox.withLock { inbox in
            guard inbox.woken else { return }
            taken.jobs = inbox.jobs
            taken.actions = inbox.actions
            inbox = Inbox()
        }
        jobs.append(contentsOf: taken.jobs)
        for action in taken.actions { action() }
    }

    private func end() {
        let left = inbox.withLock { inbox -> Inbox in
            defer { inbox = Inbox(over: true) }
            return inbox
        }
        thread.store(0, ordering: .relaxed)
        for action in left.actions { action() }
        let jobs = self.jobs + left.jobs
        self.jobs = []
        for job in jobs {
            DispatchQueue.global().async { job.runSynchronously(on: self.asUnownedTaskExecutor()) }
        }
        sources = [:]
        turn = { .over }
    }
}
