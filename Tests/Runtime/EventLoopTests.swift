// One thread for sockets, timers, tasks and an actor.
import Foundation
import Synchronization
import Testing

@testable import Runtime

@Suite(.timeLimit(.minutes(1))) struct EventLoopTests {
    /// Lives on a loop, and knows whether it does.
    private actor Resident {
        nonisolated let loop: EventLoop
        nonisolated var unownedExecutor: UnownedSerialExecutor { loop.asUnownedSerialExecutor() }
        private(set) var fired: [Int] = []

        init(_ loop: EventLoop) { self.loop = loop }

        var isAtHome: Bool { loop.isCurrent }

        /// Has timers fire in the order of their delays; returns when the last has.
        func fire(after delays: [Int], cancelling cancelled: Int) async -> [Int] {
            fired = []
            return await withCheckedContinuation { continuation in
                var tokens: [Int: Int] = [:]
                for delay in delays {
                    tokens[delay] = loop.addTimer(after: .milliseconds(delay)) {
                        self.assumeIsolated { me in
                            me.fired.append(delay)
                            if delay == delays.max() { continuation.resume(returning: me.fired) }
                        }
                    }
                }
                if let token = tokens[cancelled] { loop.cancel(timer: token) }
            }
        }

        /// Returns what the socket is ready for first.
        func readiness(of socket: Int32, _ interest: EventLoop.Readiness) async -> EventLoop.Readiness {
            await withCheckedContinuation { continuation in
                let box = TokenBox()
                box.value = loop.add(socket: socket, interest) { readiness in
                    self.assumeIsolated { me in
                        guard let token = box.value else { return }
                        box.value = nil
                        me.loop.remove(socket: token)
                        continuation.resume(returning: readiness)
                    }
                }
            }
        }
    }

    /// `@unchecked Sendable`: touched on the loop only.
    private final class TokenBox: @unchecked Sendable {
        var value: Int?
    }

    @Test func anActorRunsOnTheThreadAndTheThreadEndsWhenItWasStopped() async throws {
        weak var gone: EventLoop?
        do {
            let loop = try EventLoop(name: "test")
            gone = loop
            let resident = Resident(loop)
            #expect(await resident.isAtHome)
            #expect(!loop.isCurrent)
            loop.stop()
            // What comes after the end of the thread starts another.
            while loop.isRunning { await Task.yield() }
            #expect(await resident.isAtHome)
        }
        while gone != nil { await Task.yield() }
    }

    @Test func aTaskThatPrefersTheLoopRunsThere() async throws {
        let loop = try EventLoop(name: "test")
        let ran = Task(executorPreference: loop) {
            await Task.yield()
            return loop.isCurrent
        }
        #expect(await ran.value)
        loop.stop()
    }

    @Test func timersFireInTheOrderOfTheirTimesAndNotWhenCancelled() async throws {
        let loop = try EventLoop(name: "test")
        let resident = Resident(loop)
        #expect(await resident.fire(after: [30, 5, 20, 10], cancelling: 20) == [5, 10, 30])
        loop.stop()
    }

    @Test func aSocketSaysWhatItIsReadyForAndTheEndCountsAsBoth() async throws {
        var ends: [Int32] = [-1, -1]
        try #require(socketpair(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0, &ends) == 0)
        let loop = try EventLoop(name: "test")
        let resident = Resident(loop)
        #expect(await resident.readiness(of: ends[0], [.read, .write]) == .write)
        close(ends[1])
        #expect(await resident.readiness(of: ends[0], .read) == [.read, .write])
        close(ends[0])
        // A descriptor that is closed cannot be waited for: whoever uses it is told to look.
        #expect(await resident.readiness(of: ends[0], .read) == [.read, .write])
        loop.stop()
    }

    @Test func whatIsHandedOverRunsInOrderAndIsRefusedAfterTheEnd() async throws {
        let loop = try EventLoop(name: "test")
        let order = Mutex<[Int]>([])
        let flag = Flag()
        try loop.start { flag.isSet ? .over : .milliseconds(-1) }
        for number in 0..<1_000 { #expect(loop.execute { order.withLock { $0.append(number) } }) }
        await withCheckedContinuation { continuation in
            loop.execute {
                flag.isSet = true
                continuation.resume()
            }
        }
        #expect(order.withLock { $0 } == Array(0..<1_000))
        while loop.execute({}) { await Task.yield() }
        // A task that outlives its loop still runs.
        #expect(await Task(executorPreference: loop) { 7 }.value == 7)
    }

    /// `@unchecked Sendable`: touched on the loop only.
    private final class Flag: @unchecked Sendable {
        var isSet = false
    }

    @Test func theHeapGivesTimersInOrderAlsoAfterManyWereCancelled() {
        var heap = TimerHeap()
        let fired = Mutex<[Int]>([])
        var generator = SystemRandomNumberGenerator()
        var kept: [Int] = []
        for _ in 0..<2_000 {
            let time = Int.random(in: 0..<1_000, using: &generator)
            let token = heap.add(at: Double(time)) { fired.withLock { $0.append(time) } }
            if Bool.random(using: &generator) { heap.cancel(token) } else { kept.append(time) }
        }
        while let fire = heap.takeDue(499) { fire() }
        #expect(fired.withLock { $0 } == kept.filter { $0 <= 499 }.sorted())
        while let fire = heap.takeDue(1_000) { fire() }
        #expect(fired.withLock { $0 } == kept.sorted())
        #expect(heap.isEmpty && heap.next == nil)
    }
}
