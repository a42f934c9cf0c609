// The order in which libpq will report what was sent: which result belongs to which step.

/// The state machine of a pipeline. What is sent is put in, in order; what libpq reports is fed in; what comes out says
/// what to do. Steps end in the order in which they were sent, so what is reported is the first one's. Pure: no libpq here.
struct PipelineQueue {
    typealias StepID = Int
    typealias Deallocation = StatementCache.Deallocation

    /// Something sent that libpq reports on.
    enum Item: Equatable {
        /// Of the statement with the given place in its step.
        case prepare(index: Int, name: String)
        case statement(index: Int, name: String)
        /// The end of a step.
        case sync
        case deallocate(Deallocation)
        /// The end of deallocations, which are nobody's.
        case ownSync
    }

    /// What libpq reported.
    enum Event: Equatable {
        case success
        case failure
        /// Skipped, because an earlier one before the same sync failed.
        case aborted
        /// The end of one item's results.
        case end
        case sync
    }

    enum Action: Equatable {
        case none
        case prepared(index: Int, name: String)
        case prepareFailed(index: Int, name: String)
        case prepareSkipped(index: Int, name: String)
        case statementSucceeded(index: Int)
        case statementFailed(index: Int, name: String)
        /// It was refused, or skipped behind one that was.
        case deallocateFailed(Deallocation)
        /// Everything of the first step has been answered.
        case stepEnded
        /// libpq said something that does not fit what was sent: the connection cannot be trusted any more.
        case outOfStep
    }

    private var items = Fifo<Item>()

    var isEmpty: Bool { items.isEmpty }

    mutating func append(_ item: Item) { items.append(item) }

    mutating func feed(_ event: Event) -> Action {
        guard let item = items.first else { return event == .end ? .none : .outOfStep }
        switch (item, event) {
        case (.sync, .sync):
            items.removeFirst()
            return .stepEnded
        case (.ownSync, .sync):
            items.removeFirst()
            return .none
        case (.sync, .end), (.ownSync, .end): return .none
        case (.sync, _), (.ownSync, _), (_, .sync): return .outOfStep

        case (_, .end):
            items.removeFirst()
            return .none

        case (.prepare(let index, let name), .success): return .prepared(index: index, name: name)
        case (.prepare(let index, let name), .failure): return .prepareFailed(index: index, name: name)
        case (.prepare(let index, let name), .aborted): return .prepareSkipped(index: index, name: name)

        case (.statement(let index, _), .success): return .statementSucceeded(index: index)
        case (.statement(let index, let name), .failure): return .statementFailed(index: index, name: name)
        case (.statement, .aborted): return .none

        case (.deallocate, .success): return .none
        case (.deallocate(let deallocation), _): return .deallocateFailed(deallocation)
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
