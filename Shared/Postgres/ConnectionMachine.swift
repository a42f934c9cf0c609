// The phases of a connection, and what each thing that happens calls for.

/// The state machine of a connection: an event goes in, actions come out, and `Connection` carries them out through
/// libpq. The pipeline and the table of prepared statements are parts of it. Pure: no libpq and no clock here.
///
/// Each step, and each script, is answered exactly once: by `succeed` or by `fail`.
struct ConnectionMachine {
    typealias StepID = PipelineQueue.StepID
    typealias Instant = ContinuousClock.Instant

    enum Phase: Equatable {
        /// Resolving, TLS, authentication: libpq's own phases.
        case connecting
        /// In pipeline mode: idle, or with steps under way.
        case ready
        /// Out of pipeline mode, alone with a script.
        case script(Script)
        /// Lost, or never made. It takes nothing any more.
        case failed(PostgresError)
    }

    struct Script: Equatable {
        let id: StepID
        let text: String
    }

    /// Statements with one sync behind them.
    struct Step {
        let id: StepID
        let statements: [SQL]
        /// No transaction is open before it: what is sent between it and the step before touches nobody's transaction.
        let startsTransaction: Bool
        /// It may commit: when the connection dies meanwhile, nobody knows whether it did.
        let commits: Bool
        /// The server may be silent over it for as long as it likes.
        let isPatient: Bool
    }

    enum Event {
        case connected
        /// libpq or the pool gave the connection up, or the server closed it.
        indirect case lost(PostgresError)
        case submit(Step, at: Instant)
        case script(StepID, text: String)
        case reply(Reply)
        /// Something arrived from the server.
        case heard(at: Instant)
        /// Time has passed.
        case look(at: Instant, silenceMax: Duration)
    }

    /// What libpq reported.
    enum Reply {
        case success
        /// `isFatal`: the session has ended with it.
        indirect case failure(PostgresError, isFatal: Bool)
        /// Skipped, because an earlier one of the same step failed.
        case skipped
        /// The end of one statement's results.
        case end
        case sync
        /// The server wants COPY.
        case copy
    }

    enum Action: Equatable {
        case enterPipeline
        case leavePipeline
        /// Sends the preparation of the step's statement with the given index; an empty name is for this once.
        case prepare(StepID, index: Int, name: String)
        case execute(StepID, index: Int, name: String)
        case deallocate(StatementCache.Deallocation)
        case sync
        case sendScript(String)
        case flush
        /// The result at hand is that statement's, or the script's latest.
        case keep(StepID, index: Int)
        case succeed(StepID)
        indirect case fail(StepID, PostgresError)
        /// It was up, and is lost.
        indirect case close(PostgresError)
    }

    private(set) var phase = Phase.connecting
    private var queue = PipelineQueue()
    private var cache: StatementCache
    /// Those under way, in the order in which they will end.
    private var steps = Fifo<Step>()
    /// What went wrong in the first of them. The first error is the step's: what stands behind it was skipped.
    private var error: PostgresError?
    /// How many of them are to be answered in a bounded time.
    private var impatientCount = 0
    private var lastHeard: Instant?

    init(cache: StatementCache) { self.cache = cache }

    /// What it has prepared, or is about to.
    var preparedStatements: [StatementCache.Key] { cache.keys }
    var failure: PostgresError? { if case .failed(let error) = phase { error } else { nil } }
    var isConnecting: Bool { if case .connecting = phase { true } else { false } }
    /// It is up, whatever is under way on it.
    var isUp: Bool {
        switch phase {
        case .ready, .script: true
        case .connecting, .failed: false
        }
    }
    /// Whether an answer is expected that is bounded in time.
    var isListening: Bool { impatientCount > 0 }
    /// Whether libpq has something to report.
    var isAwaitingReply: Bool {
        switch phase {
        case .ready: !queue.isEmpty
        case .script: true
        case .connecting, .failed: false
        }
    }

    mutating func feed(_ event: Event) -> [Action] {
        var actions: [Action] = []
        feed(event, &actions)
        return actions
    }

    /// The same, into a buffer that the caller keeps.
    mutating func feed(_ event: Event, _ actions: inout [Action]) {
        switch event {
        case .connected:
            guard case .connecting = phase else { return }
            phase = .ready
            actions.append(.enterPipeline)
        case .submit(let step, let now): submit(step, at: now, &actions)
        case .script(let id, let text): begin(Script(id: id, text: text), &actions)
        case .reply(let reply):
            switch phase {
            case .ready: receive(reply, &actions)
            case .script(let script): receive(reply, for: script, &actions)
            case .connecting, .failed: break
            }
        case .heard(let now): lastHeard = now
        case .look(let now, let silenceMax):
            guard isListening, let lastHeard, lastHeard.duration(to: now) >= silenceMax else { return }
            let error = PostgresError(
                sqlState: PostgresError.Code.connectionFailure,
                message: "the server has said nothing for \(silenceMax)")
            lose(error, &actions)
        case .lost(let cause): lose(cause, &actions)
        }
    }

    // MARK: Sending

    private mutating func submit(_ step: Step, at now: Instant, _ actions: inout [Action]) {
        if let refusal = refusal(of: step) { return actions.append(.fail(step.id, refusal)) }
        if steps.isEmpty { lastHeard = now }
        if step.startsTransaction { deallocate(&actions) }
        for (index, statement) in step.statements.enumerated() {
            let name: String
            switch cache.use(StatementCache.Key(statement)) {
            case .prepared(let known): name = known
            case .prepare(let new):
                name = new
                actions.append(.prepare(step.id, index: index, name: name))
                queue.append(.prepare(index: index, name: name))
            }
            actions.append(.execute(step.id, index: index, name: name))
            queue.append(.statement(index: index, name: name))
        }
        actions.append(.sync)
        actions.append(.flush)
        queue.append(.sync)
        steps.append(step)
        if !step.isPatient { impatientCount += 1 }
    }

    private func refusal(of step: Step) -> PostgresError? {
        switch phase {
        case .failed(let error): return error
        case .script, .connecting:
            return PostgresError(
                sqlState: PostgresError.Code.featureNotSupported, message: "the connection is not ready for statements")
        case .ready:
            guard let statement = step.statements.first(where: { $0.parameters.count > 65_535 }) else { return nil }
            return PostgresError(
                sqlState: PostgresError.Code.programLimitExceeded,
                message: "\(statement.parameters.count) parameters, at most 65535: bind arrays",
                statement: statement.text)
        }
    }

    /// Sends what is owed for statements that are no longer used, with a sync of its own and outside of any transaction:
    /// when it fails, it fails alone.
    private mutating func deallocate(_ actions: inout [Action]) {
        let owed = cache.takeOwed()
        guard !owed.isEmpty else { return }
        for deallocation in owed {
            actions.append(.deallocate(deallocation))
            queue.append(.deallocate(deallocation))
        }
        actions.append(.sync)
        queue.append(.ownSync)
    }

    // MARK: Receiving

    private mutating func receive(_ reply: Reply, _ actions: inout [Action]) {
        let event: PipelineQueue.Event
        switch reply {
        case .success: event = .success
        case .failure(let error, let isFatal):
            if isFatal { return lose(error, &actions) }
            event = .failure
        case .skipped: event = .aborted
        case .end: event = .end
        case .sync: event = .sync
        case .copy:
            let error = PostgresError(
                sqlState: PostgresError.Code.featureNotSupported, message: "COPY is not possible in a pipeline")
            record(.failure(error, isFatal: false), index: 0)
            return lose(error, &actions)
        }
        switch queue.feed(event) {
        case .none: break
        case .prepared(let index, let name):
            if let key = key(index) { cache.prepared(key, as: name) }
        case .prepareSkipped(let index, let name):
            if let key = key(index) { cache.failed(key, as: name) }
        case .prepareFailed(let index, let name):
            if let key = key(index) { cache.failed(key, as: name) }
            record(reply, index: index)
        case .statementSucceeded(let index):
            if let id = steps.first?.id { actions.append(.keep(id, index: index)) }
        case .statementFailed(let index, let name):
            if let key = key(index), case .failure(let error, _) = reply {
                if error.isVanishedStatement {
                    cache.vanished()
                } else if error.isStaleStatement {
                    cache.forget(key, as: name)
                }
            }
            record(reply, index: index)
        case .deallocateFailed(let deallocation):
            // A name that the server does not have needs no second attempt.
            if case .failure(let error, _) = reply, error.isVanishedStatement { return }
            cache.owe(deallocation)
        case .stepEnded:
            guard let step = steps.removeFirst() else { return }
            if !step.isPatient { impatientCount -= 1 }
            end(step.id, &actions)
        case .outOfStep:
            let error = PostgresError(
                sqlState: PostgresError.Code.protocolViolation, message: "an answer that nothing was asked for")
            lose(error, &actions)
        }
    }

    /// Of the first step's statement with the index.
    private func key(_ index: Int) -> StatementCache.Key? {
        (steps.first?.statements[index]).map { StatementCache.Key($0) }
    }

    private mutating func record(_ reply: Reply, index: Int) {
        guard error == nil, case .failure(let failure, _) = reply else { return }
        error = failure.naming(statement: steps.first?.statements[index].text)
    }

    private mutating func end(_ id: StepID, _ actions: inout [Action]) {
        guard let error else { return actions.append(.succeed(id)) }
        self.error = nil
        actions.append(.fail(id, error))
    }

    // MARK: Scripts

    private mutating func begin(_ script: Script, _ actions: inout [Action]) {
        if let failure { return actions.append(.fail(script.id, failure)) }
        guard case .ready = phase, queue.isEmpty else {
            let error = PostgresError(
                sqlState: PostgresError.Code.featureNotSupported,
                message: "a script needs the connection to itself: await the statements before it first",
                statement: script.text)
            return actions.append(.fail(script.id, error))
        }
        phase = .script(script)
        actions += [.leavePipeline, .sendScript(script.text), .flush]
    }

    private mutating func receive(_ reply: Reply, for script: Script, _ actions: inout [Action]) {
        switch reply {
        case .success: actions.append(.keep(script.id, index: 0))
        case .failure(let failure, let isFatal):
            if isFatal { return lose(failure, &actions) }
            error = error ?? failure.naming(statement: script.text)
        case .end:
            phase = .ready
            actions.append(.enterPipeline)
            end(script.id, &actions)
        case .skipped, .sync, .copy:
            let error = PostgresError(
                sqlState: PostgresError.Code.featureNotSupported, message: "COPY is not possible in a script")
            lose(error, &actions)
        }
    }

    // MARK: Losing it

    /// Everybody who waits on the connection is told.
    private mutating func lose(_ cause: PostgresError, _ actions: inout [Action]) {
        if failure != nil { return }
        let before = phase
        phase = .failed(
            PostgresError(
                sqlState: cause.isConnectionFailure ? cause.sqlState : PostgresError.Code.connectionFailure,
                message: cause.message, detail: cause.detail))
        // Refused before the connection went: what was refused commits nothing.
        var refused = error
        error = nil
        if case .script(let script) = before {
            actions.append(.fail(script.id, refused ?? cause.naming(statement: script.text)))
        }
        while let step = steps.removeFirst() {
            actions.append(.fail(step.id, refused ?? Self.verdict(on: step, cause)))
            refused = nil
        }
        queue = PipelineQueue()
        impatientCount = 0
        if case .connecting = before { return }
        actions.append(.close(cause))
    }

    private static func verdict(on step: Step, _ cause: PostgresError) -> PostgresError {
        let text = step.statements.first?.text
        guard step.commits else { return cause.naming(statement: text) }
        return PostgresError(
            sqlState: PostgresError.Code.outcomeUnknown,
            message: "the connection was lost during a commit, which may have happened or not",
            detail: cause.description, statement: text)
    }
}
