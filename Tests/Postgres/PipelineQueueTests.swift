import Testing

// Whose result is whose, without a server.
@testable import Postgres

@Suite struct PipelineQueueTests {
    @Test func resultsBelongToStepsInTheOrderTheyWereSent() {
        var queue = PipelineQueue()
        queue.append(.prepare(index: 0, name: "s1"))
        queue.append(.statement(index: 0, name: "s1"))
        queue.append(.sync)
        queue.append(.statement(index: 0, name: "s1"))
        queue.append(.sync)
        #expect(queue.feed(.success) == .prepared(index: 0, name: "s1"))
        #expect(queue.feed(.end) == .none)
        #expect(queue.feed(.success) == .statementSucceeded(index: 0))
        #expect(queue.feed(.end) == .none)
        #expect(queue.feed(.sync) == .stepEnded)
        #expect(queue.feed(.success) == .statementSucceeded(index: 0))
        #expect(queue.feed(.end) == .none)
        #expect(queue.feed(.sync) == .stepEnded)
        #expect(queue.isEmpty)
    }

    @Test func oneStepsFailureEndsAtItsOwnSync() {
        var queue = PipelineQueue()
        queue.append(.deallocate(.one(name: "s7")))
        queue.append(.deallocate(.one(name: "s8")))
        queue.append(.ownSync)
        queue.append(.statement(index: 0, name: "s1"))
        queue.append(.prepare(index: 1, name: "s2"))
        queue.append(.statement(index: 1, name: "s2"))
        queue.append(.sync)
        queue.append(.statement(index: 0, name: "s1"))
        queue.append(.sync)
        #expect(queue.feed(.failure) == .deallocateFailed(.one(name: "s7")))
        #expect(queue.feed(.end) == .none)
        #expect(queue.feed(.aborted) == .deallocateFailed(.one(name: "s8")))
        #expect(queue.feed(.end) == .none)
        #expect(queue.feed(.sync) == .none)
        #expect(queue.feed(.failure) == .statementFailed(index: 0, name: "s1"))
        #expect(queue.feed(.end) == .none)
        #expect(queue.feed(.aborted) == .prepareSkipped(index: 1, name: "s2"))
        #expect(queue.feed(.end) == .none)
        #expect(queue.feed(.aborted) == .none)
        #expect(queue.feed(.end) == .none)
        #expect(queue.feed(.sync) == .stepEnded)
        #expect(queue.feed(.success) == .statementSucceeded(index: 0))
    }

    @Test func anAnswerThatFitsNothingIsNotAttributedToAnybody() {
        var queue = PipelineQueue()
        #expect(queue.feed(.success) == .outOfStep)
        queue.append(.statement(index: 0, name: "s1"))
        #expect(queue.feed(.sync) == .outOfStep)
    }

    @Test func aQueueGivesBackWhatWentInInOrderHoweverLongItRuns() {
        var queue = Fifo<Int>()
        var next = 0
        var expected = 0
        for round in 0..<1000 {
            for _ in 0..<(round % 7) {
                queue.append(next)
                next += 1
            }
            for _ in 0..<(round % 5) where !queue.isEmpty {
                #expect(queue.removeFirst() == expected)
                expected += 1
            }
        }
        #expect(queue.count == next - expected)
        #expect(queue.removeAll { $0 % 2 == 0 } == (expected..<next).filter { $0 % 2 == 0 })
        while let value = queue.removeFirst() { #expect(value % 2 == 1) }
    }
}
