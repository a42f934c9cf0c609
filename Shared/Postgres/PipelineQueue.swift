// The order in which libpq will report what was sent: which result belongs to which step.

/// The state machine of a pipeline. What is sent is put in, in order; what libpq reports is fed in; what comes out says
/// what to do. Pure: no libpq here.
struct PipelineQueue {
    typealias StepID = Int

    /// Something sent that libpq reports on.
    enum Item: Equatable {
        case prepare(StepID, StatementCache.Key)
        /// The statement with the given place in its step.
        case statement(StepID, index: Int)
        case deallocate(name: String)
        case sync(StepID)
    }

    /// What libpq reported.
    enum Event: Equatable {
        case success
        case failure
        /// Skipped, because an earlier one of the same step failed.
        case aborted
        /// The end of one item's results.
        case end
        case sync
    }

    enum Action: Equatable {
        case none
        case prepared(StatementCache.Key)
        case prepareFailed(StepID, StatementCache.Key)
        case prepareSkipped(StatementCache.Key)
        case statementSucceeded(StepID, index: Int)
        case statementFailed(StepID, index: Int)
        case deallocateLater(name: String)
        /// Everything of the step has been answered.
        case stepEnded(StepID)
        /// libpq said something that does not fit what was sent: the connection cannot be trusted any more.
        case outOfStep
    }

    private var items = Fifo<Item>()

    var isEmpty: Bool { items.isEmpty }
    var head: Item? { items.first }

    mutating func append(_ item: Item) { items.append(item) }

    mutating func feed(_ event: Event) -> Action {
        guard let item = items.first else { return event == .end ? .none : .outOfStep }
        switch (item, event) {
        case (.sync(let step), .sync):
            items.removeFirst()
            return .stepEnded(step)
        case (.sync, .end): return .none
        case (.sync, _), (_, .sync): return .outOfStep

        case (_, .end):
            items.removeFirst()
            return .none

        case (.prepare(_, let key), .success): return .prepared(key)
        case (.prepare(let step, let key), .failure): return .prepareFailed(step, key)
        case (.prepare(_, let key), .aborted): return .prepareSkipped(key)

        case (.statement(let step, let index), .success): return .statementSucceeded(step, index: index)
        case (.statement(let step, let index), .failure): return .statementFailed(step, index: index)
        case (.statement, .aborted): return .none

        case (.deallocate, .success): return .none
        case (.deallocate(let name), _): return .deallocateLater(name: name)
        }
    }
}

/// A queue of bounded cost: taking from the front moves the rest only now and then.
struct Fifo<Element> {
    private var elements: [Element?] = []
    private var head = 0

    var count: Int { elements.count - head }
    var isEmpty: Bool { head == elements.count }
    var first: Element? { isEmpty ? nil : elements[head] }

    mutating func append(_ element: Element) { elements.append(element) }

    @discardableResult
    mutating func removeFirst() -> Element? {
        guard !isEmpty else { return nil }
        let element = elements[head]
        elements[head] = nil
        head += 1
        if head == elements.count {
            elements.removeAll(keepingCapacity: true)
            head = 0
        } else if head >= 64, head * 2 >= elements.count {
            elements.removeFirst(head)
            head = 0
        }
        return element
    }

    /// Takes out every element that the predicate names, keeping the order of the others.
    mutating func removeAll(where isTaken: (Element) -> Bool) -> [Element] {
        var taken: [Element] = []
        var kept: [Element?] = []
        for element in elements[head...].compactMap({ $0 }) {
            if isTaken(element) { taken.append(element) } else { kept.append(element) }
        }
        elements = kept
        head = 0
        return taken
    }
}
