import Synchronization
import Testing

@testable import Runtime

@Suite struct AsyncSemaphoreTests {
    private final class Crowd: Sendable {
        let inside = Atomic(0)
        let most = Atomic(0)
    }

    private final class Order: Sendable {
        let numbers = Mutex<[Int]>([])
    }

    private func waiting(_ count: Int, at semaphore: AsyncSemaphore) async {
        while semaphore.waiting != count { await Task.yield() }
    }

    @Test func noMoreThanItsCountAreInAtATime() async throws {
        let semaphore = AsyncSemaphore(3)
        let crowd = Crowd()
        try await withThrowingTaskGroup(of: Void.self) { group in
            for _ in 0..<200 {
                group.addTask {
                    try await semaphore.run {
                        crowd.most.max(crowd.inside.add(1, ordering: .relaxed).newValue, ordering: .relaxed)
                        await Task.yield()
                        crowd.inside.subtract(1, ordering: .relaxed)
                    }
                }
            }
            try await group.waitForAll()
        }
        #expect(crowd.most.load(ordering: .relaxed) <= 3)
        #expect(semaphore.waiting == 0)
    }

    @Test func whoCameFirstEntersFirst() async throws {
        let semaphore = AsyncSemaphore(1)
        let order = Order()
        try await semaphore.enter()
        await withTaskGroup(of: Void.self) { group in
            for number in 0..<200 {
                group.addTask {
                    try? await semaphore.enter()
                    order.numbers.withLock { $0.append(number) }
                    semaphore.leave()
                }
                await waiting(number + 1, at: semaphore)
            }
            semaphore.leave()
        }
        #expect(order.numbers.withLock { $0 } == Array(0..<200))
    }

    @Test func oneTooManyIsTurnedAway() async throws {
        let semaphore = AsyncSemaphore(1, waitersMax: 1)
        try await semaphore.enter()
        let second = Task { try await semaphore.enter() }
        await waiting(1, at: semaphore)
        await #expect(throws: AsyncSemaphore.Full.self) { try await semaphore.enter() }
        semaphore.leave()
        try await second.value
    }

    @Test func whoIsCancelledLeavesTheLineAndTakesNoPlace() async throws {
        let semaphore = AsyncSemaphore(1, waitersMax: 1)
        try await semaphore.enter()
        let cancelled = Task { try await semaphore.enter() }
        await waiting(1, at: semaphore)
        cancelled.cancel()
        await #expect(throws: CancellationError.self) { try await cancelled.value }
        let next = Task { try await semaphore.enter() }
        await waiting(1, at: semaphore)
        semaphore.leave()
        try await next.value
        semaphore.leave()
        try await semaphore.enter()
    }
}
