// What a partition's processor does next, decided from values alone: no I/O, no clock, no randomness. `PartitionProcessor`
// carries the actions out; the simulation carries them out against a log and a database of its own.
import Runtime

/// The life of one partition while it is assigned to this instance.
///
/// Actions follow one another: each is answered by one event, which gives the next action. What is promised:
/// a record takes effect once; what was committed is sent before anything later of the partition; the outbox loses no row
/// that this instance has not itself seen acknowledged; and there is no state that only a restart leaves.
struct PartitionMachine: Sendable {
    enum Event: Equatable, Sendable {
        /// The offset that the database has stored.
        case claimed(Int64)
        /// The rows of the outbox that this partition's processors have left, oldest first.
        case loaded([Int64])
        /// Records are at hand, at these offsets; not empty.
        case taken([Int64])
        /// Nothing came within the time.
        case idle
        /// The partition goes, or this instance ends.
        case gone
        case committed(Committed)
        /// The stored offset is not where this instance left it.
        case superseded
        /// The handler needs something done outside of its transaction first.
        case unprepared
        case prepared
        case sent
        case cleared
        case sought
        case rested
        case failed(Fate)
    }

    struct Committed: Equatable, Sendable {
        /// The stored offset now.
        let next: Int64
        /// Records of the run that are applied: all of them, unless the handler has cut it.
        let count: Int
        /// There is a row in the outbox, numbered by the run's first offset.
        let owes: Bool
    }

    enum Action: Equatable, Sendable {
        /// Ask the database for the stored offset.
        case claim
        /// Read the outbox rows of this stream.
        case load
        /// Read on from the offset; `PipelineSchema.beginning`: from the first that the log holds.
        case seek(Int64)
        /// Take the next records; `isBounded`: give up after the idle time.
        case take(isBounded: Bool)
        /// Apply this run of the records at hand in one transaction that moves the offset on from `expected`, and deletes the
        /// outbox rows that were seen acknowledged.
        case commit(Range<Int>, expected: Int64, forget: [Int64])
        /// The same for one record that goes to the dead letters.
        case bury(Int, reason: String, expected: Int64, forget: [Int64])
        case prepare
        /// Send what the last commit owes.
        case send(Int64)
        /// Send a row that was found in the outbox.
        case sendLeftover(Int64)
        /// Delete outbox rows that were seen acknowledged.
        case clear([Int64])
        case rest(Duration)
        case end
    }

    /// Times that a run may fail before it is cut in halves, and a part of a run that was cut.
    static let attemptsMax = 8
    static let attemptsOfPartsMax = 4
    /// Attempts that follow at once: another transaction was first.
    private static let promptAttemptsMax = 2
    /// Preparations of one run that are not waited for, and after which it counts as one that always fails.
    static let promptPreparationsMax = 10
    static let preparationsMax = 40

    /// Where the partition's offset stands in the database.
    private(set) var next: Int64
    /// Where nothing is fetched from: a seek comes first.
    private static let unknown: Int64 = -2

    /// Why the partition stands still.
    private(set) var standing: String?
    /// Why the partition's feed is of no use any more, once it has ended by that.
    private(set) var failure: Fate?
    private(set) var last: Action = .load

    /// Outbox rows that are acknowledged and still there.
    private var sent: [Int64] = []
    private var leftovers: [Int64] = []
    /// Offsets of the records at hand, and which of them are still to be applied: the last range first.
    private var offsets: [Int64] = []
    private var runs: [Range<Int>] = []
    private var hasCut = false
    private var attempts = 0
    private var preparations = 0
    private var backoff = Backoff()
    /// The commit may have happened: the stored offset says so.
    private var isUnsettled = false
    /// The offset that the next record fetched has.
    private var fetchesFrom: Int64
    private var isEnding = false
    private var afterRest: Action = .claim

    /// - Parameter offset: where the partition is fetched from: what the database had stored when the group's consumer
    ///   asked. Where another instance has gone on since, the first commit finds it out.
    init(fetchesFrom offset: Int64) {
        fetchesFrom = offset
        next = offset
    }

    mutating func handle(_ event: Event) -> Action {
        switch event {
        case .failed, .rested, .gone, .idle: break
        default: standing = nil
        }
        last = decide(event)
        return last
    }

    private mutating func decide(_ event: Event) -> Action {
        switch event {
        case .claimed(let stored): return claimed(stored)
        case .loaded(let rows):
            leftovers = rows.filter { !sent.contains($0) }
            return goOn()
        case .taken(let offsets):
            guard let first = offsets.first, let last = offsets.last, first >= next else {
                // From before a seek, or from before another instance went on: not to be applied once more.
                forgetBatch()
                return goOn()
            }
            fetchesFrom = last + 1
            self.offsets = offsets
            runs = [0..<offsets.count]
            hasCut = false
            progressed()
            return goOn()
        case .idle: return sent.isEmpty ? take() : .clear(sent)
        case .gone:
            isEnding = true
            return sent.isEmpty ? .end : .clear(sent)
        case .committed(let committed): return self.committed(committed)
        case .superseded:
            forgetBatch()
            return .claim
        case .unprepared: return unprepared()
        case .prepared: return goOn()
        case .sent: return acknowledged()
        case .cleared:
            sent = []
            return isEnding ? .end : take()
        case .sought:
            fetchesFrom = next
            return goOn()
        case .rested: return afterRest
        case .failed(let fate): return failed(fate)
        }
    }

    // MARK: The way of a batch

    private mutating func claimed(_ stored: Int64) -> Action {
        if isUnsettled, let run = runs.last {
            isUnsettled = false
            if stored == next { return goOn() }
            if stored > offsets[run.lowerBound], stored <= offsets[run.upperBound - 1] + 1 {
                // It happened, and its answer was lost: what it owes is in the outbox.
                next = stored
                cut(run, after: run.count { offsets[$0] < stored })
                progressed()
                return .load
            }
            forgetBatch()
        }
        isUnsettled = false
        next = stored
        return .load
    }

    private mutating func goOn() -> Action {
        if let row = leftovers.first { return .sendLeftover(row) }
        if let run = runs.last { return .commit(run, expected: next, forget: sent) }
        return take()
    }

    private func take() -> Action {
        fetchesFrom == next ? .take(isBounded: !sent.isEmpty) : .seek(next)
    }

    private mutating func committed(_ committed: Committed) -> Action {
        guard let run = runs.last else { return .claim }
        next = committed.next
        sent = []
        cut(run, after: committed.count)
        progressed()
        return committed.owes ? .send(offsets[run.lowerBound]) : goOn()
    }

    private mutating func acknowledged() -> Action {
        backoff.reset()
        switch last {
        case .send(let row): sent.append(row)
        case .sendLeftover(let row):
            sent.append(row)
            leftovers.removeAll { $0 == row }
        default: break
        }
        return goOn()
    }

    private mutating func cut(_ run: Range<Int>, after count: Int) {
        runs.removeLast()
        if count < run.count { runs.append(run.lowerBound + count..<run.upperBound) }
    }

    private mutating func progressed() {
        attempts = 0
        preparations = 0
        backoff.reset()
    }

    private mutating func forgetBatch() {
        runs = []
        offsets = []
        isUnsettled = false
        // Whatever has been fetched, it does not follow what is stored.
        fetchesFrom = Self.unknown
        progressed()
    }

    private mutating func unprepared() -> Action {
        preparations += 1
        if preparations <= Self.promptPreparationsMax { return .prepare }
        if preparations > Self.preparationsMax {
            return isolate("what it needs could not be prepared in \(preparations - 1) attempts")
        }
        return rest(then: .prepare)
    }

    // MARK: Failures

    private mutating func failed(_ fate: Fate) -> Action {
        switch last {
        case .commit, .bury, .prepare: return applyingFailed(fate)
        case .take, .seek:
            // The fetcher does not go on by itself: the group's consumer starts the partition anew.
            failure = fate
            isEnding = true
            return sent.isEmpty ? .end : .clear(sent)
        case .clear where isEnding: return .end
        default: return wait(fate, then: last)
        }
    }

    private mutating func applyingFailed(_ fate: Fate) -> Action {
        switch fate {
        case .outage:
            isUnsettled = true
            return rest(then: .claim)
        case .fatal:
            forgetBatch()
            return wait(fate, then: .claim)
        case .unappliable(let reason): return isolate(reason)
        case .transient(let reason):
            attempts += 1
            if case .bury = last { return attempts >= Self.attemptsMax ? isolate(reason) : rest(then: last) }
            if attempts >= (hasCut ? Self.attemptsOfPartsMax : Self.attemptsMax) { return isolate(reason) }
            return attempts <= Self.promptAttemptsMax ? goOn() : rest(then: goOn())
        }
    }

    /// Halves the run until the record that fails stands alone; that one goes to the dead letters.
    private mutating func isolate(_ reason: String) -> Action {
        guard let run = runs.last else { return .claim }
        if case .bury(_, let first, _, _) = last {
            forgetBatch()
            return wait(.fatal("a dead letter cannot be stored: \(reason); it was to say: \(first)"), then: .claim)
        }
        hasCut = true
        progressed()
        guard run.count > 1 else {
            return .bury(run.lowerBound, reason: reason, expected: next, forget: sent)
        }
        let middle = run.lowerBound + run.count / 2
        runs.removeLast()
        runs.append(middle..<run.upperBound)
        runs.append(run.lowerBound..<middle)
        return goOn()
    }

    private mutating func wait(_ fate: Fate, then action: Action) -> Action {
        if case .fatal(let reason) = fate { standing = reason }
        return rest(then: action)
    }

    private mutating func rest(then action: Action) -> Action {
        afterRest = action
        return .rest(backoff.next())
    }
}
