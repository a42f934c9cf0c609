// One connection: what goes out through libpq, and what becomes of what comes back.
import CLibPQ
import Foundation
import Observability

/// A libpq connection, non-blocking, in pipeline mode. It has no isolation of its own: the pool that made it is the only
/// one to touch it, on the event loop's thread. Nothing here waits; answers are given when they arrive.
final class Connection {
    /// Called once, on the loop's thread.
    typealias Answer = (Result<[Rows], PostgresError>) -> Void

    enum Phase: Equatable {
        case connecting
        case ready
        case failed
    }

    /// Who may send on it.
    enum Lease: Equatable {
        /// That many single statements of different callers are under way.
        case shared(Int)
        case exclusive
    }

    let id: Int
    private(set) var phase = Phase.connecting
    private(set) var failure: PostgresError?
    var lease = Lease.shared(0)
    var socketToken: Int?
    var connectTimer: Int?
    /// Called when notifications of a channel that the session listens to have arrived.
    var onNotify: (() -> Void)?

    private let libpq: LibPQ
    private let loop: EventLoop
    private let metrics: PostgresMetrics
    private var interest: EventLoop.Readiness = .write
    private var cache: StatementCache
    private var queue = PipelineQueue()
    private var steps: [PipelineQueue.StepID: PendingStep] = [:]
    private var stepsStarted = 0
    private var lastHeard = ContinuousClock.now
    private var solo: Solo?

    // Reused for every statement, so that sending allocates nothing.
    private var valuePointers: [UnsafePointer<CChar>?] = []
    private var valueLengths: [Int32] = []
    private var valueFormats: [Int32] = []

    private struct PendingStep {
        let statements: [SQL]
        /// It may commit: when the connection dies meanwhile, nobody knows whether it did.
        let commits: Bool
        /// It may take as long as it likes.
        let isPatient: Bool
        let answer: Answer
        let started = ContinuousClock.now
        var results: [ResultMemory?]
        var error: PostgresError?
    }

    /// What is done outside pipeline mode, with the connection to itself: COPY, and scripts of several statements.
    private struct Solo {
        enum Wait {
            case nothing
            /// For the server's word that COPY may begin.
            case copyStart(Answer)
            /// For the socket to have taken what was written.
            case flushed(Answer)
            /// For the end of the results.
            case end(Answer)
        }
        var wait = Wait.nothing
        var result: ResultMemory?
        var error: PostgresError?
        let statement: String
    }

    init(
        id: Int, settings: ConnectionSettings, statementsMax: Int, loop: EventLoop, metrics: PostgresMetrics,
        log: Logger
    )
        throws(PostgresError)
    {
        self.id = id
        self.loop = loop
        self.metrics = metrics
        cache = StatementCache(entriesMax: statementsMax)
        libpq = try LibPQ(settings, log: log)
    }

    /// Whether a caller who does not need it alone can be put on it, given how many may be.
    func isOpen(forShared depthMax: Int) -> Bool {
        guard phase == .ready, case .shared(let count) = lease else { return false }
        return count < depthMax
    }

    var isIdle: Bool { phase == .ready && lease == .shared(0) }
    var sharedCount: Int { if case .shared(let count) = lease { count } else { .max } }
    var descriptor: Int32 { PQsocket(libpq.connection) }

    // MARK: Connecting

    /// What the socket is to be waited for while connecting.
    var connectInterest: EventLoop.Readiness { interest }

    /// Takes the next step of connecting. The socket may be another one afterwards.
    func advanceConnecting() {
        switch PQconnectPoll(libpq.connection) {
        case PGRES_POLLING_READING: interest = .read
        case PGRES_POLLING_WRITING: interest = .write
        case PGRES_POLLING_OK:
            guard PQsetnonblocking(libpq.connection, 1) == 0, PQenterPipelineMode(libpq.connection) == 1 else {
                return failConnecting(libpq.message)
            }
            interest = .read
            phase = .ready
        default: failConnecting(libpq.message)
        }
    }

    func failConnecting(_ message: String) {
        phase = .failed
        failure = PostgresError(sqlState: PostgresError.Code.unableToConnect, message: message)
    }

    // MARK: Sending

    /// Sends the statements with one sync behind them; the answer comes when that sync has come back.
    /// The first error is the step's: those behind it were skipped.
    func submit(
        _ statements: [SQL], commits: Bool, mayDeallocate: Bool, isPatient: Bool = false, _ answer: @escaping Answer
    ) {
        if let failure { return answer(.failure(failure)) }
        if let statement = statements.first(where: { $0.parameters.count > 65_535 }) {
            let error = PostgresError(
                sqlState: PostgresError.Code.programLimitExceeded,
                message: "\(statement.parameters.count) parameters, at most 65535: bind arrays",
                statement: statement.text)
            return answer(.failure(error))
        }
        guard solo == nil else {
            let error = PostgresError(
                sqlState: PostgresError.Code.featureNotSupported, message: "a COPY is under way on this connection")
            return answer(.failure(error))
        }
        if steps.isEmpty { lastHeard = .now }
        stepsStarted += 1
        let step = stepsStarted
        steps[step] = PendingStep(
            statements: statements, commits: commits, isPatient: isPatient, answer: answer,
            results: Array(repeating: nil, count: statements.count))
        for (index, statement) in statements.enumerated() {
            guard send(statement, step: step, index: index) else { return fail() }
        }
        if mayDeallocate {
            for name in cache.takeEvicted() {
                guard PQsendQueryParams(libpq.connection, "DEALLOCATE \(name)", 0, nil, nil, nil, nil, 1) == 1 else {
                    return fail()
                }
                queue.append(.deallocate(name: name))
            }
        }
        guard PQpipelineSync(libpq.connection) == 1 else { return fail() }
        queue.append(.sync(step))
        flush()
        // Flushing may have read answers, which the socket then does not announce again.
        drain()
    }

    private func send(_ statement: SQL, step: Int, index: Int) -> Bool {
        let parameters = statement.parameters
        let key = StatementCache.Key(text: statement.text, types: parameters.types)
        let name: String
        switch cache.use(key) {
        case .prepared(let known): name = known
        case .prepare(let new):
            name = new
            guard prepare(statement, as: new) else { return false }
            queue.append(.prepare(step, key))
        case .nameless:
            name = ""
            guard prepare(statement, as: "") else { return false }
            // Its outcome changes nothing for the cache, and its failure is the statement's.
            queue.append(.prepare(step, StatementCache.Key(text: "", types: [])))
        }
        let count = parameters.count
        valueLengths.removeAll(keepingCapacity: true)
        valuePointers.removeAll(keepingCapacity: true)
        while valueFormats.count < count { valueFormats.append(1) }
        let sent = parameters.buffer.bytes.withUnsafeBytes { raw in
            let base = raw.baseAddress?.assumingMemoryBound(to: CChar.self)
            for range in parameters.ranges {
                valuePointers.append(range.count < 0 ? nil : base.map { $0 + range.offset })
                valueLengths.append(Int32(clamping: max(0, range.count)))
            }
            return PQsendQueryPrepared(
                libpq.connection, name, Int32(count), valuePointers, valueLengths, valueFormats, 1)
        }
        queue.append(.statement(step, index: index))
        return sent == 1
    }

    private func prepare(_ statement: SQL, as name: String) -> Bool {
        let types = statement.parameters.types
        return PQsendPrepare(libpq.connection, name, statement.text, Int32(types.count), types) == 1
    }

    private func flush() {
        let outcome = PQflush(libpq.connection)
        guard outcome >= 0 else { return fail() }
        want(outcome == 1 ? [.read, .write] : .read)
        if outcome == 0, case .flushed(let answer)? = solo?.wait {
            solo?.wait = .nothing
            answer(.success([]))
        }
    }

    private func want(_ interest: EventLoop.Readiness) {
        guard interest != self.interest else { return }
        self.interest = interest
        if let socketToken { loop.change(socket: socketToken, interest) }
    }

    // MARK: Receiving

    func socketReady(_ readiness: EventLoop.Readiness) {
        guard phase == .ready else { return }
        if readiness.contains(.read) { lastHeard = .now }
        if readiness.contains(.read), PQconsumeInput(libpq.connection) == 0 {
            // What arrived before the end may still hold answers, a commit's among them.
            drain()
            return fail()
        }
        if readiness.contains(.write) { flush() }
        drain()
    }

    private func drain() {
        guard phase == .ready else { return }
        if solo != nil { return drainSolo() }
        while !queue.isEmpty, PQisBusy(libpq.connection) == 0 {
            let result = PQgetResult(libpq.connection).map { ResultMemory($0) }
            let event: PipelineQueue.Event
            switch result.map({ PQresultStatus($0.pointer) }) {
            case nil: event = .end
            case PGRES_COMMAND_OK?, PGRES_TUPLES_OK?, PGRES_EMPTY_QUERY?: event = .success
            case PGRES_PIPELINE_SYNC?: event = .sync
            case PGRES_PIPELINE_ABORTED?: event = .aborted
            case PGRES_FATAL_ERROR?: event = .failure
            default:
                return fail(
                    PostgresError(
                        sqlState: PostgresError.Code.featureNotSupported, message: "COPY is for copyIn, not for query"))
            }
            let isBroken = PQstatus(libpq.connection) == CONNECTION_BAD
            if isBroken, event == .end { return fail() }
            switch queue.feed(event) {
            case .none: break
            case .prepared(let key): cache.prepared(key)
            case .prepareSkipped(let key): cache.failed(key)
            case .prepareFailed(let step, let key):
                cache.failed(key)
                record(result, step: step, index: nil, text: key.text)
            case .statementSucceeded(let step, let index): steps[step]?.results[index] = result
            case .statementFailed(let step, let index): record(result, step: step, index: index, text: "")
            case .deallocateLater(let name): cache.evictLater(name)
            case .stepEnded(let step): end(step)
            case .outOfStep:
                return fail(
                    PostgresError(
                        sqlState: PostgresError.Code.protocolViolation, message: "an answer that nothing was asked for")
                )
            }
            if isBroken { return fail() }
        }
        takeNotifications()
    }

    /// libpq keeps them until they are asked for.
    private func takeNotifications() {
        var isNotified = false
        while let notification = PQnotifies(libpq.connection) {
            PQfreemem(notification)
            isNotified = true
        }
        if isNotified { onNotify?() }
    }

    /// Keeps the step's first error, and forgets a prepared statement that the server no longer accepts.
    private func record(_ result: ResultMemory?, step: Int, index: Int?, text: String) {
        guard let pending = steps[step], pending.error == nil, let result else { return }
        let statement = index.map { pending.statements[$0] }
        let error = result.error(statement: statement?.text ?? (text.isEmpty ? pending.statements.first?.text : text))
        if let statement, error.isStalePlan || error.sqlState == PostgresError.Code.undefinedStatement {
            cache.forget(StatementCache.Key(text: statement.text, types: statement.parameters.types))
        }
        steps[step]?.error = error
    }

    private func end(_ step: Int) {
        guard let pending = steps.removeValue(forKey: step) else { return }
        metrics.stepEnded(after: pending.started.duration(to: .now), statements: pending.statements.count)
        if let error = pending.error {
            metrics.failed(error)
            pending.answer(.failure(error))
        } else {
            pending.answer(.success(pending.results.map { Rows(result: $0) }))
        }
    }

    // MARK: Alone: COPY and scripts

    /// Leaves pipeline mode and sends the text by the simple protocol. Answered at its end, or, for a COPY, when the
    /// server is ready for data.
    func startSolo(_ text: String, isCopy: Bool, _ answer: @escaping Answer) {
        if let failure { return answer(.failure(failure)) }
        guard solo == nil, queue.isEmpty, PQexitPipelineMode(libpq.connection) == 1 else {
            let error = PostgresError(
                sqlState: PostgresError.Code.featureNotSupported,
                message: "COPY needs the connection to itself: await the statements before it first", statement: text)
            return answer(.failure(error))
        }
        solo = Solo(wait: isCopy ? .copyStart(answer) : .end(answer), statement: text)
        guard PQsendQuery(libpq.connection, text) == 1 else { return fail() }
        flush()
        drain()
    }

    /// Hands over a piece of the COPY's data; answered when the socket has taken it.
    func putCopy(_ bytes: [UInt8], _ answer: @escaping Answer) {
        if let failure { return answer(.failure(failure)) }
        solo?.wait = .flushed(answer)
        let taken = bytes.withUnsafeBytes { raw in
            PQputCopyData(
                libpq.connection, raw.baseAddress?.assumingMemoryBound(to: CChar.self), Int32(clamping: raw.count))
        }
        guard taken == 1 else { return fail() }
        flush()
    }

    /// Ends the COPY, or gives it up with a reason; answered with the number of rows as `affected`.
    func endCopy(givingUp reason: String?, _ answer: @escaping Answer) {
        if let failure { return answer(.failure(failure)) }
        solo?.wait = .end(answer)
        guard PQputCopyEnd(libpq.connection, reason) == 1 else { return fail() }
        flush()
        drain()
    }

    private func drainSolo() {
        while let current = solo, PQisBusy(libpq.connection) == 0 {
            // While the server takes data, libpq would report COPY_IN again and again.
            switch current.wait {
            case .nothing, .flushed: return
            case .copyStart, .end: break
            }
            guard let pointer = PQgetResult(libpq.connection) else { return endSolo(current) }
            let result = ResultMemory(pointer)
            switch PQresultStatus(pointer) {
            case PGRES_COPY_IN:
                guard case .copyStart(let answer) = current.wait else { return fail() }
                solo?.wait = .nothing
                answer(.success([]))
                return
            case PGRES_FATAL_ERROR:
                if current.error == nil { solo?.error = result.error(statement: current.statement) }
            case PGRES_COMMAND_OK, PGRES_TUPLES_OK, PGRES_EMPTY_QUERY: solo?.result = result
            default: return fail()
            }
            if PQstatus(libpq.connection) == CONNECTION_BAD { return fail() }
        }
    }

    private func endSolo(_ ended: Solo) {
        solo = nil
        let outcome: Result<[Rows], PostgresError> =
            if let error = ended.error { .failure(error) } else { .success([Rows(result: ended.result)]) }
        if PQenterPipelineMode(libpq.connection) != 1 { fail() }
        switch ended.wait {
        case .copyStart(let answer), .end(let answer), .flushed(let answer):
            answer(outcome)
        case .nothing: break
        }
    }

    // MARK: Failing

    /// Whether an answer is expected that is bounded in time. A script or a COPY is not.
    var isListening: Bool { phase == .ready && solo == nil && steps.values.contains { !$0.isPatient } }

    /// Gives the connection up when nothing was heard on it for too long.
    func failIfSilent(for silenceMax: Duration) {
        guard isListening, lastHeard.duration(to: .now) >= silenceMax else { return }
        fail(
            PostgresError(
                sqlState: PostgresError.Code.connectionFailure,
                message: "the server has said nothing for \(silenceMax)"))
    }

    /// The connection is lost: everybody who waits on it is told, and it takes nothing any more.
    func fail(_ given: PostgresError? = nil) {
        guard phase != .failed else { return }
        // The server's last word, where it had one: "terminating connection due to administrator command".
        let word = steps.sorted { $0.key < $1.key }.lazy.compactMap(\.value.error).first { $0.isConnectionFailure }
        let cause =
            given ?? word
            ?? PostgresError(
                sqlState: PostgresError.Code.connectionFailure, message: "the connection was lost: \(libpq.message)")
        phase = .failed
        failure = PostgresError(
            sqlState: cause.isConnectionFailure ? cause.sqlState : PostgresError.Code.connectionFailure,
            message: cause.message, detail: cause.detail)
        let pending = steps.sorted { $0.key < $1.key }.map(\.value)
        steps = [:]
        for step in pending { step.answer(.failure(Self.verdict(step, cause))) }
        if let alone = solo {
            solo = nil
            switch alone.wait {
            case .copyStart(let answer), .end(let answer), .flushed(let answer):
                answer(.failure(cause.naming(statement: alone.statement)))
            case .nothing: break
            }
        }
        metrics.failed(cause)
    }

    private static func verdict(_ step: PendingStep, _ cause: PostgresError) -> PostgresError {
        // Refused before the connection went: a refused step commits nothing.
        if let error = step.error, !error.isConnectionFailure { return error }
        let text = step.statements.first?.text
        guard step.commits, cause.isConnectionFailure else { return cause.naming(statement: text) }
        return PostgresError(
            sqlState: PostgresError.Code.outcomeUnknown,
            message: "the connection was lost during a commit, which may have happened or not",
            detail: cause.description, statement: text)
    }
}

/// Owns a `PGconn`: closed when the last reference goes.
private final class LibPQ {
    let connection: OpaquePointer
    private let notices: NoticeSink

    init(_ settings: ConnectionSettings, log: Logger) throws(PostgresError) {
        notices = NoticeSink(log: log)
        // libpq resolves names here, on the loop's thread: use addresses or a local resolver where that matters.
        let made = withCStrings(settings.keywords) { keywords in
            withCStrings(settings.values) { values in PQconnectStartParams(keywords, values, 1) }
        }
        guard let made else {
            throw PostgresError(sqlState: PostgresError.Code.unableToConnect, message: "out of memory")
        }
        guard PQstatus(made) != CONNECTION_BAD else {
            let message = oneLine(String(cString: PQerrorMessage(made)))
            PQfinish(made)
            throw PostgresError(sqlState: PostgresError.Code.unableToConnect, message: message)
        }
        connection = made
        PQsetNoticeProcessor(made, NoticeSink.receive, Unmanaged.passUnretained(notices).toOpaque())
    }

    deinit { PQfinish(connection) }

    var message: String { oneLine(String(cString: PQerrorMessage(connection))) }
}

/// Where the server's notices go: to the log, instead of straight to standard error.
private final class NoticeSink: Sendable {
    private let log: Logger

    init(log: Logger) { self.log = log }

    /// Called by libpq on the thread that reads.
    static let receive: PQnoticeProcessor = { context, message in
        guard let context, let message else { return }
        let sink = Unmanaged<NoticeSink>.fromOpaque(context).takeUnretainedValue()
        sink.log.debug("postgres notice", ["notice": oneLine(String(cString: message))])
    }
}

/// A null-terminated array of C strings, for the length of the call.
private func withCStrings<R>(_ strings: [String], _ body: (UnsafePointer<UnsafePointer<CChar>?>) -> R) -> R {
    let copies = strings.map { strdup($0) }
    defer { for copy in copies { free(copy) } }
    let pointers = copies.map { UnsafePointer($0) } + [nil]
    return body(pointers)
}
