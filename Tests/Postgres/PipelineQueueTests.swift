import Testing

// Whose result is whose, without a server.
@testable import Postgres

@Suite struct PipelineQueueTests {
    private let key = StatementCache.Key(text: "a", types: [])

    @Test func resultsBelongToStepsInTheOrderTheyWereSent() {
        var queue = PipelineQueue()
        queue.append(.prepare(1, key))
        queue.append(.statement(1, index: 0))
        queue.append(.sync(1))
        queue.append(.statement(2, index: 0))
        queue.append(.sync(2))
        #expect(queue.feed(.success) == .prepared(key))
        #expect(queue.feed(.end) == .none)
        #expect(queue.feed(.success) == .statementSucceeded(1, index: 0))
        #expect(queue.feed(.end) == .none)
        #expect(queue.feed(.sync) == .stepEnded(1))
        #expect(queue.feed(.success) == .statementSucceeded(2, index: 0))
        #expect(queue.feed(.end) == .none)
        #expect(queue.feed(.sync) == .stepEnded(2))
        #expect(queue.isEmpty)
    }

    @Test func oneStepsFailureEndsAtItsOwnSync() {
        var queue = PipelineQueue()
        queue.append(.statement(1, index: 0))
        queue.append(.prepare(1, key))
        queue.append(.statement(1, index: 1))
        queue.append(.deallocate(name: "s7"))
        queue.append(.sync(1))
        queue.append(.statement(2, index: 0))
        queue.append(.sync(2))
        #expect(queue.feed(.failure) == .statementFailed(1, index: 0))
        #expect(queue.feed(.end) == .none)
        #expect(queue.feed(.aborted) == .prepareSkipped(key))
        #expect(queue.feed(.end) == .none)
        #expect(queue.feed(.aborted) == .none)
        #expect(queue.feed(.end) == .none)
        #expect(queue.feed(.aborted) == .deallocateLater(name: "s7"))
        #expect(queue.feed(.end) == .none)
        #expect(queue.feed(.sync) == .stepEnded(1))
        #expect(queue.feed(.success) == .statementSucceeded(2, index: 0))
    }

    @Test func anAnswerThatFitsNothingIsNotAttributedToAnybody() {
        var queue = PipelineQueue()
        #expect(queue.feed(.success) == .outOfStep)
        queue.append(.statement(1, index: 0))
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
