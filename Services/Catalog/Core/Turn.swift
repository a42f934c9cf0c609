import EventPipeline

/// Lets one caller through at a time, in the order in which they came, and turns away who would wait behind too many.
actor Turn {
    private let waitingMax: Int
    private var isTaken = false
    private var waiting: [CheckedContinuation<Void, Never>] = []
    /// Those that are waiting stand from here on; the ones before have gone.
    private var first = 0

    init(waitingMax: Int) { self.waitingMax = waitingMax }

    /// Returns when it is the caller's turn, which lasts until `pass`.
    /// - Throws: `Overloaded` when `waitingMax` are waiting.
    func take() async throws {
        if !isTaken {
            isTaken = true
            return
        }
        guard waiting.count - first < waitingMax else { throw Overloaded() }
        await withCheckedContinuation { waiting.append($0) }
    }

    /// Ends the caller's turn.
    func pass() {
        guard first < waiting.count else {
            waiting.removeAll(keepingCapacity: true)
            first = 0
            isTaken = false
            return
        }
        first += 1
        waiting[first - 1].resume()
    }
}
