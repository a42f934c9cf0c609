// One connection: carries out through libpq what its state machine decides.
import CLibPQ
import Foundation
import Observability
import Runtime
import Synchronization

/// A libpq connection, non-blocking: carries out what `ConnectionMachine` decides. It has no isolation of its own: the pool
/// that made it is the only one to touch it, on the event loop's thread. Nothing here waits; answers are given when they
/// arrive.
final class Connection {
    /// Called once, on the loop's thread.
    typealias Answer = (Result<[Rows], PostgresError>) -> Void

    /// Who may send on it.
    enum Lease: Equatable {
        /// That many single statements of different callers are under way.
        case shared(Int)
        case exclusive
    }

    let id: Int
    var lease = Lease.shared(0)
    var socketToken: Int?
    var connectTimer: Int?
    /// Called when notifications of a channel that the session listens to have arrived.
    var onNotify: (() -> Void)?

    private let libpq: LibPQ
    private let loop: EventLoop
    private let metrics: PostgresMetrics
    private var interest: EventLoop.Readiness = .write
    private var machine: ConnectionMachine
    private var pending: [ConnectionMachine.StepID: Pending] = [:]
    private var stepsStarted = 0

    // Reused for every statement, so that sending allocates nothing.
    private var valuePointers: [UnsafePointer<CChar>?] = []
    private var valueLengths: [Int32] = []
    private var valueFormats: [Int32] = []
    private var spareActions: [ConnectionMachine.Action] = []

    /// What a caller gave, and what there is for it so far.
    private struct Pending {
        let statements: [SQL]
        let answer: Answer
        let started: ContinuousClock.Instant
        var results: [ResultMemory?]
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
        let prefix = "s" + String(UInt32.random(in: .min ... .max), radix: 36) + "_"
        machine = ConnectionMachine(cache: StatementCache(entriesMax: statementsMax, prefix: prefix))
        libpq = try LibPQ(settings, log: log)
    }

    var isConnecting: Bool { machine.isConnecting }
    var isUp: Bool { machine.isUp }
    var failure: PostgresError? { machine.failure }
    var preparedStatements: [StatementCache.Key] { machine.preparedStatements }
    var isListening: Bool { machine.isListening }

    /// Whether a caller who does not need it alone can be put on it, given how many may be.
    func isOpen(forShared depthMax: Int) -> Bool {
        guard isUp, case .shared(let count) = lease else { return false }
        return count < depthMax
    }

    var isIdle: Bool { isUp && lease == .shared(0) }
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
            guard PQsetnonblocking(libpq.connection, 1) == 0 else { return failConnecting(libpq.message) }
            interest = .read
            feed(.connected)
        default: failConnecting(libpq.message)
        }
    }

    func failConnecting(_ message: String) {
        fail(PostgresError(sqlState: PostgresError.Code.unableToConnect, message: message))
    }

    // MARK: Events

    /// Sends the statements with one sync behind them; the answer comes when that sync has come back.
    /// - Parameters:
    ///   - startsTransaction: no transaction is open on the connection.
    ///   - commits: the statements may commit.
    ///   - isPatient: the server may be silent over them for as long as it likes.
    func submit(
        _ statements: [SQL], startsTransaction: Bool, commits: Bool, isPatient: Bool = false, _ answer: @escaping Answer
    ) {
        let now = ContinuousClock.now
        let step = ConnectionMachine.Step(
            id: register(statements, results: statements.count, at: now, answer), statements: statements,
            startsTransaction: startsTransaction, commits: commits, isPatient: isPatient)
        feed(.submit(step, at: now))
        // Flushing may have read answers, which the socket then does not announce again.
        drain()
    }

    /// Leaves pipeline mode and sends a text of several statements by the simple protocol.
    func runScript(_ text: String, _ answer: @escaping Answer) {
        feed(.script(register([], results: 1, at: .now, answer), text: text))
        drain()
    }

    func socketReady(_ readiness: EventLoop.Readiness) {
        guard failure == nil else { return }
        if readiness.contains(.read) {
            feed(.heard(at: .now))
            guard PQconsumeInput(libpq.connection) == 1 else {
                // What arrived before the end may still hold answers, a commit's among them.
                drain()
                return fail(libpq.loss)
            }
        }
        if readiness.contains(.write) { flush() }
        drain()
    }

    /// Gives the connection up when nothing was heard on it for too long.
    func failIfSilent(for silenceMax: Duration) { feed(.look(at: .now, silenceMax: silenceMax)) }

    /// The connection is lost: everybody who waits on it is told, and it takes nothing any more.
    func fail(_ cause: PostgresError) { feed(.lost(cause)) }

    private func register(
        _ statements: [SQL], results count: Int, at now: ContinuousClock.Instant, _ answer: @escaping Answer
    ) -> Int {
        stepsStarted += 1
        pending[stepsStarted] = Pending(
            statements: statements, answer: answer, started: now, results: Array(repeating: nil, count: count))
        return stepsStarted
    }

    /// Takes what libpq has to report.
    private func drain() {
        while machine.isAwaitingReply, PQisBusy(libpq.connection) == 0 {
            let result = PQgetResult(libpq.connection).map { ResultMemory($0) }
            let reply: ConnectionMachine.Reply
            let isBroken = PQstatus(libpq.connection) == CONNECTION_BAD
            switch result.map({ PQresultStatus($0.pointer) }) {
            case nil:
                if isBroken { return fail(libpq.loss) }
                reply = .end
            case PGRES_COMMAND_OK?, PGRES_TUPLES_OK?, PGRES_EMPTY_QUERY?: reply = .success
            case PGRES_PIPELINE_SYNC?: reply = .sync
            case PGRES_PIPELINE_ABORTED?: reply = .skipped
            case PGRES_FATAL_ERROR?:
                guard let result else { return }
                reply = .failure(result.error(statement: nil), isFatal: result.isFatal)
            default: reply = .copy
            }
            feed(.reply(reply), result)
        }
        takeNotifications()
    }

    /// libpq keeps them until they are asked for.
    private func takeNotifications() {
        guard machine.isUp else { return }
        var isNotified = false
        while let notification = PQnotifies(libpq.connection) {
            PQfreemem(notification)
            isNotified = true
        }
        if isNotified { onNotify?() }
    }

    // MARK: Actions

    private func feed(_ event: ConnectionMachine.Event, _ result: ResultMemory? = nil) {
        // An action may bring about another event: that one gets a buffer of its own.
        var actions: [ConnectionMachine.Action] = []
        swap(&actions, &spareActions)
        machine.feed(event, &actions)
        for action in actions { carryOut(action, result) }
        actions.removeAll(keepingCapacity: true)
        spareActions = actions
    }

    private func carryOut(_ action: ConnectionMachine.Action, _ result: ResultMemory?) {
        switch action {
        case .keep(let step, let index): pending[step]?.results[index] = result
        case .succeed(let step): succeed(step)
        case .fail(let step, let error): answer(step, error)
        case .close(let error): metrics.failed(error)
        case .enterPipeline, .leavePipeline, .prepare, .execute, .deallocate, .sync, .sendScript, .flush:
            // When one of them could not be sent, those behind it are not, either.
            guard machine.isUp else { return }
            if !send(action) { fail(libpq.loss) }
        }
    }

    private func succeed(_ step: ConnectionMachine.StepID) {
        guard let ended = pending.removeValue(forKey: step) else { return }
        count(ended)
        ended.answer(.success(ended.results.map { Rows(result: $0) }))
    }

    private func answer(_ step: ConnectionMachine.StepID, _ error: PostgresError) {
        guard let ended = pending.removeValue(forKey: step) else { return }
        // A lost connection is counted once, whoever waited on it.
        if failure == nil {
            count(ended)
            metrics.failed(error)
        }
        ended.answer(.failure(error))
    }

    private func count(_ ended: Pending) {
        // A script is none: it takes as long as it takes.
        guard !ended.statements.isEmpty else { return }
        metrics.stepEnded(after: ended.started.duration(to: .now), statements: ended.statements.count)
    }

    private func send(_ action: ConnectionMachine.Action) -> Bool {
        switch action {
        case .enterPipeline: return PQenterPipelineMode(libpq.connection) == 1
        case .leavePipeline: return PQexitPipelineMode(libpq.connection) == 1
        case .prepare(let step, let index, let name):
            guard let statement = pending[step]?.statements[index] else { return false }
            let types = statement.parameters.types
            return PQsendPrepare(libpq.connection, name, statement.text, Int32(types.count), types) == 1
        case .execute(let step, let index, let name):
            guard let statement = pending[step]?.statements[index] else { return false }
            return execute(statement, name)
        case .deallocate(let deallocation):
            return PQsendQueryParams(libpq.connection, deallocation.text, 0, nil, nil, nil, nil, 1) == 1
        case .sync: return PQpipelineSync(libpq.connection) == 1
        case .sendScript(let text): return PQsendQuery(libpq.connection, text) == 1
        case .flush:
            flush()
            return true
        case .keep, .succeed, .fail, .close: return true
        }
    }

    private func execute(_ statement: SQL, _ name: String) -> Bool {
        let parameters = statement.parameters
        let count = parameters.count
        valueLengths.removeAll(keepingCapacity: true)
        valuePointers.removeAll(keepingCapacity: true)
        while valueFormats.count < count { valueFormats.append(1) }
        return parameters.buffer.bytes.withUnsafeBytes { raw in
            let base = raw.baseAddress?.assumingMemoryBound(to: CChar.self)
            for range in parameters.ranges {
                valuePointers.append(range.count < 0 ? nil : base.map { $0 + range.offset })
                valueLengths.append(Int32(clamping: max(0, range.count)))
            }
            return PQsendQueryPrepared(
                libpq.connection, name, Int32(count), valuePointers, valueLengths, valueFormats, 1) == 1
        }
    }

    private func flush() {
        let outcome = PQflush(libpq.connection)
        guard outcome >= 0 else { return fail(libpq.loss) }
        want(outcome == 1 ? [.read, .write] : .read)
    }

    private func want(_ interest: EventLoop.Readiness) {
        guard interest != self.interest else { return }
        self.interest = interest
        if let socketToken { loop.change(socket: socketToken, interest) }
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
        PQsetNoticeReceiver(made, NoticeSink.receive, Unmanaged.passUnretained(notices).toOpaque())
    }

    deinit { PQfinish(connection) }

    var message: String { oneLine(String(cString: PQerrorMessage(connection))) }

    /// Why the connection is lost: the server's last word, where it had one.
    var loss: PostgresError {
        notices.lastWord.withLock { $0 }
            ?? PostgresError(
                sqlState: PostgresError.Code.connectionFailure, message: "the connection was lost: \(message)")
    }
}

/// Where the server's notices go: to the log, instead of straight to standard error. An idle session's end is one of them
/// to libpq: "terminating connection due to administrator command".
private final class NoticeSink: Sendable {
    private let log: Logger
    let lastWord = Mutex<PostgresError?>(nil)

    init(log: Logger) { self.log = log }

    /// Called by libpq on the thread that reads.
    static let receive: PQnoticeReceiver = { context, result in
        guard let context, let result else { return }
        let sink = Unmanaged<NoticeSink>.fromOpaque(context).takeUnretainedValue()
        let notice = PostgresError(result: result, statement: nil)
        if PostgresError.isFatal(result) {
            sink.lastWord.withLock { $0 = notice }
        } else {
            sink.log.debug("postgres notice", ["notice": notice.message])
        }
    }
}

/// A null-terminated array of C strings, for the length of the call.
private func withCStrings<R>(_ strings: [String], _ body: (UnsafePointer<UnsafePointer<CChar>?>) -> R) -> R {
    let copies = strings.map { strdup($0) }
    defer { for copy in copies { free(copy) } }
    let pointers = copies.map { UnsafePointer($0) } + [nil]
    return body(pointers)
}
