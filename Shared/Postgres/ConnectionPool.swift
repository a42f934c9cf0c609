// Who gets which connection, when one is made, and when a caller is told that there is none.
import Foundation
import Observability
import Runtime
import Synchronization

/// The pool's inside: connections, those who wait for one, and the transactions under way. An actor whose executor is the
/// event loop, so that it answers sockets and callers on the same thread, without locks.
///
/// Callers come in by `call` and get their answer through a continuation: one switch of threads to the loop, one back.
/// In between, everything is a callback on the loop's thread, because an `await` there would cost two more.
actor ConnectionPool {
    nonisolated let loop: EventLoop
    nonisolated var unownedExecutor: UnownedSerialExecutor { loop.asUnownedSerialExecutor() }

    typealias Answer<Value> = (Result<Value, PostgresError>) -> Void

    let settings: ConnectionSettings
    let options: PostgresOptions
    private let connectionsMax: Int
    let log: Logger
    let metrics: PostgresMetrics

    private var connections: [Int: Connection] = [:]
    private var nextID = 0
    private var waiters = Fifo<Waiter>()
    private var waiterTimer: Int?
    private var silenceTimer: Int?
    private var transactions: [Int: TransactionState] = [:]
    /// Each with a connection of its own, which is none of `connections`.
    var listeners: [Int: ListenerState] = [:]
    var isClosing = false
    private var closeWaiters: [() -> Void] = []

    // After a failed attempt to connect, the next one waits a little longer each time.
    private var connectFailures = 0
    private var lastConnectFailure: PostgresError?
    private var retryTimer: Int?
    var hasToldOfLoss = false

    /// A caller, as long as it waits for its answer.
    final class Caller: Sendable {
        private let cancelled = Atomic<Bool>(false)
        var isCancelled: Bool { cancelled.load(ordering: .acquiring) }
        func cancel() { cancelled.store(true, ordering: .releasing) }
    }

    private struct Waiter {
        let caller: Caller
        let isExclusive: Bool
        let since: ContinuousClock.Instant
        let answer: Answer<Connection>
    }

    /// A transaction between its first statement and its end.
    private final class TransactionState {
        enum Hold {
            case none
            /// The first statement waits for a connection, and those behind it for the first.
            case acquiring([() -> Void])
            /// `BEGIN` is under way with the first. When it fails, those behind it would each be a transaction of its own.
            case beginning(Connection, [() -> Void])
            case held(Connection)
        }
        let begin: SQL
        var hold = Hold.none
        var hasBegun = false
        /// The first error: a transaction that had one is never committed, even when its body did not mind.
        var failure: PostgresError?

        init(begin: SQL) { self.begin = begin }

        /// Does it when those before it have their connection, and `BEGIN` its answer; false when there is nothing to
        /// wait for.
        func wait(_ body: @escaping () -> Void) -> Bool {
            switch hold {
            case .acquiring(let others): hold = .acquiring(others + [body])
            case .beginning(let connection, let others): hold = .beginning(connection, others + [body])
            case .none, .held: return false
            }
            return true
        }
    }

    init(
        settings: ConnectionSettings, connectionsMax: Int, options: PostgresOptions, log: Logger, metrics: Metrics
    ) throws(PostgresError) {
        self.settings = settings
        self.options = options
        self.connectionsMax = max(1, connectionsMax)
        self.log = log.with(["postgres": settings.target])
        self.metrics = PostgresMetrics(metrics)
        do throws(EventLoopError) {
            loop = try EventLoop(name: "postgres")
        } catch {
            throw PostgresError(sqlState: "53000", message: error.description)
        }
    }

    // MARK: Callers

    /// Runs the body on the loop's thread; it answers, then or later, exactly once.
    nonisolated func call<Value: Sendable>(
        _ body: @escaping @Sendable (isolated ConnectionPool, Caller, @escaping (Value) -> Void) -> Void
    ) async -> Value {
        let caller = Caller()
        return await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                loop.execute {
                    self.assumeIsolated { pool in
                        body(pool, caller) { continuation.resume(returning: $0) }
                    }
                }
            }
        } onCancel: {
            caller.cancel()
            loop.execute { self.assumeIsolated { $0.stopWaiting(caller) } }
        }
    }

    /// What the connections have prepared.
    var preparedStatements: [StatementCache.Key] { connections.values.flatMap(\.preparedStatements) }

    // MARK: Single statements

    /// Runs one statement by itself. Shares a connection with other callers when none is idle.
    func run(_ statement: SQL, for caller: Caller, _ answer: @escaping Answer<Rows>) {
        acquire(isExclusive: false, for: caller) { [self] acquired in
            switch acquired {
            case .failure(let error): answer(.failure(error.naming(statement: statement.text)))
            case .success(let connection):
                send([statement], startsTransaction: true, commits: true, on: connection) { [self] result in
                    guard case .failure(let error) = result, error.isStaleStatement else {
                        release(connection)
                        return answer(result.map { $0.first ?? .none })
                    }
                    // It has not run, and is prepared anew.
                    send([statement], startsTransaction: true, commits: true, on: connection) { [self] result in
                        release(connection)
                        answer(result.map { $0.first ?? .none })
                    }
                }
            }
        }
    }

    private func send(
        _ statements: [SQL], startsTransaction: Bool, commits: Bool, isPatient: Bool = false, on connection: Connection,
        _ answer: @escaping Answer<[Rows]>
    ) {
        connection.submit(
            statements, startsTransaction: startsTransaction, commits: commits, isPatient: isPatient, answer)
        settle(connection)
        watchSilence()
    }

    /// One timer for all connections, as long as one of them owes an answer.
    private func watchSilence() {
        guard silenceTimer == nil, connections.values.contains(where: \.isListening) else { return }
        silenceTimer = loop.addTimer(after: max(options.silenceMax / 4, .milliseconds(50))) { [weak self] in
            self?.assumeIsolated { pool in
                pool.silenceTimer = nil
                for connection in pool.connections.values {
                    connection.failIfSilent(for: pool.options.silenceMax)
                    pool.settle(connection)
                }
                pool.watchSilence()
            }
        }
    }

    // MARK: Transactions

    /// Runs the statements in one round trip; `BEGIN` goes with the first.
    func run(
        _ statements: [SQL], in id: Int, begin: SQL, isPatient: Bool = false, for caller: Caller,
        _ answer: @escaping Answer<[Rows]>
    ) {
        let transaction = state(of: id, begin: begin)
        func fail(_ error: PostgresError) {
            transaction.failure = transaction.failure ?? error
            answer(.failure(error))
        }
        if let failure = transaction.failure { return answer(.failure(Self.aborted(by: failure))) }
        if caller.isCancelled { return fail(Self.cancelled) }
        hold(transaction, for: caller) { [self] held in
            switch held {
            case .failure(let error): fail(error.naming(statement: statements.first?.text))
            case .success(let connection):
                let begins = !transaction.hasBegun
                transaction.hasBegun = true
                if begins { transaction.hold = .beginning(connection, []) }
                let all = begins ? [transaction.begin] + statements : statements
                send(all, startsTransaction: begins, commits: false, isPatient: isPatient, on: connection) { result in
                    switch result {
                    case .failure(let error): fail(error)
                    case .success(let rows): answer(.success(begins ? Array(rows.dropFirst()) : rows))
                    }
                    guard case .beginning(let connection, let behind) = transaction.hold else { return }
                    transaction.hold = .held(connection)
                    for other in behind { other() }
                }
            }
        }
    }

    /// Sends the statements with `COMMIT` behind them. Rolls back when one of them, or one before, failed.
    func commit(
        _ id: Int, finishing statements: [SQL], begin: SQL, for caller: Caller,
        _ answer: @escaping (PostgresError?) -> Void
    ) {
        if transactions[id] == nil, statements.isEmpty { return answer(nil) }
        let transaction = state(of: id, begin: begin)
        transactions[id] = nil
        if let failure = transaction.failure { return rollBack(transaction) { answer(failure) } }
        hold(transaction, for: caller) { [self] held in
            guard case .success(let connection) = held else {
                let failure = transaction.failure?.naming(statement: statements.first?.text)
                return rollBack(transaction) { answer(failure) }
            }
            let begins = !transaction.hasBegun
            transaction.hasBegun = true
            let all = (begins ? [transaction.begin] : []) + statements + [Self.commit]
            send(all, startsTransaction: begins, commits: true, on: connection) { [self] result in
                switch result {
                case .failure(let error): rollBack(transaction) { answer(error) }
                case .success(let rows):
                    release(connection)
                    // A transaction that failed answers COMMIT with ROLLBACK, and without an error.
                    let isCommitted = rows.last?.result?.commandTag == "COMMIT"
                    answer(isCommitted ? nil : Self.rolledBack)
                }
            }
        }
    }

    func rollBack(_ id: Int, _ done: @escaping () -> Void) {
        guard let transaction = transactions.removeValue(forKey: id) else { return done() }
        rollBack(transaction, done)
    }

    private func rollBack(_ transaction: TransactionState, _ done: @escaping () -> Void) {
        if transaction.wait({ [self] in rollBack(transaction, done) }) { return }
        guard case .held(let connection) = transaction.hold else { return done() }
        transaction.hold = .none
        guard transaction.hasBegun, connection.isUp else {
            release(connection)
            return done()
        }
        send([Self.rollback], startsTransaction: false, commits: false, on: connection) { [self] result in
            if case .failure(let error) = result {
                // Nobody may find the remains of this transaction on it.
                connection.fail(error)
                settle(connection)
            }
            release(connection)
            done()
        }
    }

    /// Runs a script within the transaction, outside of the pipeline.
    func script(_ text: String, in id: Int, begin: SQL, for caller: Caller, _ answer: @escaping Answer<Rows>) {
        // `BEGIN` goes by itself, when nothing went before.
        run([], in: id, begin: begin, for: caller) { [self] begun in
            if case .failure(let error) = begun { return answer(.failure(error)) }
            guard let transaction = transactions[id], case .held(let connection) = transaction.hold else {
                return answer(.failure(Self.ended))
            }
            connection.runScript(text) { result in
                if case .failure(let error) = result { transaction.failure = transaction.failure ?? error }
                answer(result.map { $0.first ?? .none })
            }
            settle(connection)
        }
    }

    private func state(of id: Int, begin: SQL) -> TransactionState {
        if let known = transactions[id] { return known }
        let new = TransactionState(begin: begin)
        transactions[id] = new
        return new
    }

    /// The transaction's connection; the first to ask acquires it.
    private func hold(_ transaction: TransactionState, for caller: Caller, _ answer: @escaping Answer<Connection>) {
        let mustWait = transaction.wait { [self] in
            if let failure = transaction.failure {
                answer(.failure(Self.aborted(by: failure)))
            } else {
                hold(transaction, for: caller, answer)
            }
        }
        if mustWait { return }
        if case .held(let connection) = transaction.hold { return answer(.success(connection)) }
        transaction.hold = .acquiring([])
        acquire(isExclusive: true, for: caller) { acquired in
            var others: [() -> Void] = []
            if case .acquiring(let behind) = transaction.hold { others = behind }
            switch acquired {
            case .failure(let error):
                transaction.hold = .none
                transaction.failure = transaction.failure ?? error
            case .success(let connection): transaction.hold = .held(connection)
            }
            answer(acquired)
            for other in others { other() }
        }
    }

    // MARK: Leases

    /// Leases a connection, at once or after a wait within the bounds.
    private func acquire(isExclusive: Bool, for caller: Caller, _ answer: @escaping Answer<Connection>) {
        if isClosing { return answer(.failure(Self.closed)) }
        if caller.isCancelled { return answer(.failure(Self.cancelled)) }
        if waiters.isEmpty, let connection = lease(isExclusive: isExclusive) { return answer(.success(connection)) }
        guard waiters.count < options.waitersMax else {
            metrics.refused()
            return answer(
                .failure(
                    PostgresError(
                        sqlState: PostgresError.Code.tooManyConnections,
                        message:
                            "all \(connectionsMax) connections are in use, and \(waiters.count) callers wait already"
                    )))
        }
        waiters.append(Waiter(caller: caller, isExclusive: isExclusive, since: .now, answer: answer))
        openConnections()
        watchWaiters()
    }

    /// Leases a connection at once, if one can be: the oldest idle one, or, for who can share, the one least shared.
    private func lease(isExclusive: Bool) -> Connection? {
        var best: Connection?
        for connection in connections.values
        where connection.isOpen(forShared: isExclusive ? 1 : options.sharedStatementsMax) {
            if let known = best, (known.sharedCount, known.id) < (connection.sharedCount, connection.id) { continue }
            best = connection
        }
        guard let best else { return nil }
        let count = best.sharedCount
        best.lease = isExclusive ? .exclusive : .shared(count + 1)
        if count > 0, connections.count < connectionsMax { openConnections(more: 1) }
        return best
    }

    private func release(_ connection: Connection) {
        switch connection.lease {
        case .exclusive: connection.lease = .shared(0)
        case .shared(let count): connection.lease = .shared(max(0, count - 1))
        }
        serveWaiters()
        if isClosing { closeIdle() }
    }

    private func serveWaiters() {
        while let waiter = waiters.first, let connection = lease(isExclusive: waiter.isExclusive) {
            waiters.removeFirst()
            metrics.waited(waiter.since.duration(to: .now))
            waiter.answer(.success(connection))
        }
    }

    private func stopWaiting(_ caller: Caller) {
        for waiter in waiters.removeAll(where: { $0.caller === caller }) { waiter.answer(.failure(Self.cancelled)) }
    }

    /// One timer, for the caller who has waited longest: all may wait equally long.
    private func watchWaiters() {
        guard waiterTimer == nil, let first = waiters.first else { return }
        let left = options.waitMax - first.since.duration(to: .now)
        waiterTimer = loop.addTimer(after: left) { [weak self] in
            self?.assumeIsolated { pool in
                pool.waiterTimer = nil
                pool.refuseOverdue()
                pool.watchWaiters()
            }
        }
    }

    private func refuseOverdue() {
        let now = ContinuousClock.now
        while let waiter = waiters.first, waiter.since.duration(to: now) >= options.waitMax {
            waiters.removeFirst()
            metrics.refused()
            waiter.answer(.failure(refusal))
        }
    }

    private var refusal: PostgresError {
        if connections.values.contains(where: \.isUp) {
            return PostgresError(
                sqlState: PostgresError.Code.tooManyConnections,
                message: "no connection was free within \(options.waitMax); the pool has \(connectionsMax)")
        }
        return lastConnectFailure
            ?? PostgresError(
                sqlState: PostgresError.Code.unableToConnect,
                message: "no connection to \(settings.target) within \(options.waitMax)")
    }

    // MARK: Connections

    /// Begins as many connections as those who wait can use.
    private func openConnections(more: Int = 0) {
        guard !isClosing, retryTimer == nil else { return }
        let connecting = connections.values.count(where: \.isConnecting)
        var wanted = min(max(waiters.count, more) - connecting, connectionsMax - connections.count)
        while wanted > 0, retryTimer == nil {
            wanted -= 1
            open()
        }
    }

    private func open() {
        nextID += 1
        let id = nextID
        do throws(PostgresError) {
            let connection = try Connection(
                id: id, settings: settings, statementsMax: options.statementsMax, loop: loop, metrics: metrics, log: log
            )
            connections[id] = connection
            watch(connection)
            connection.connectTimer = loop.addTimer(after: settings.connectTimeout) { [weak self] in
                self?.assumeIsolated { $0.connectTimedOut(id) }
            }
        } catch {
            connectFailed(error)
        }
    }

    private func watch(_ connection: Connection) {
        let id = connection.id
        connection.socketToken = loop.add(socket: connection.descriptor, connection.connectInterest) {
            [weak self] readiness in
            self?.assumeIsolated { $0.socketReady(id, readiness) }
        }
    }

    private func socketReady(_ id: Int, _ readiness: EventLoop.Readiness) {
        guard let connection = connections[id] else { return }
        if connection.isConnecting {
            // libpq may go on with another socket (the next host, or without TLS): the old one is not waited for first.
            if let token = connection.socketToken { loop.remove(socket: token) }
            connection.socketToken = nil
            connection.advanceConnecting()
            if connection.failure != nil { return connectFailed(connection) }
            watch(connection)
            if connection.isUp { connected(connection) }
        } else {
            connection.socketReady(readiness)
            settle(connection)
        }
    }

    private func connected(_ connection: Connection) {
        if let timer = connection.connectTimer { loop.cancel(timer: timer) }
        connection.connectTimer = nil
        connectFailures = 0
        lastConnectFailure = nil
        hasToldOfLoss = false
        metrics.connections.set(Double(connections.values.count(where: \.isUp)))
        log.debug("connected to Postgres")
        serveWaiters()
        openConnections()
        if isClosing { closeIdle() }
    }

    private func connectTimedOut(_ id: Int) {
        guard let connection = connections[id], connection.isConnecting else { return }
        connection.failConnecting("no connection to \(settings.target) within \(settings.connectTimeout)")
        connectFailed(connection)
    }

    private func connectFailed(_ connection: Connection) {
        drop(connection)
        connectFailed(
            connection.failure
                ?? PostgresError(sqlState: PostgresError.Code.unableToConnect, message: "no connection was made"))
    }

    private func connectFailed(_ error: PostgresError) {
        metrics.connectFailed()
        // The first of a row is worth a line; the others say the same.
        if connectFailures == 0 { log.warning("connecting to Postgres failed", ["error": error.description]) }
        lastConnectFailure = error
        connectFailures += 1
        if isClosing { closeIdle() }
        guard retryTimer == nil, !isClosing else { return }
        retryTimer = loop.addTimer(after: options.reconnectPause(afterFailures: connectFailures)) { [weak self] in
            self?.assumeIsolated { pool in
                pool.retryTimer = nil
                pool.openConnections()
            }
        }
    }

    /// Looks whether the connection failed in what was just done, and parts with it.
    private func settle(_ connection: Connection) {
        guard let failure = connection.failure, connections[connection.id] != nil else { return }
        drop(connection)
        tellOfLoss(failure)
        metrics.connections.set(Double(connections.values.count(where: \.isUp)))
        openConnections()
        if isClosing { closeIdle() }
    }

    /// Once, until a connection is made again: the others are lost for the same reason.
    func tellOfLoss(_ error: PostgresError) {
        guard !hasToldOfLoss else { return }
        hasToldOfLoss = true
        if error.isShutdown {
            log.warning("Postgres was stopped, or has ended the session", ["error": error.description])
        } else if error.sqlState == PostgresError.Code.unableToConnect {
            log.warning("connecting to Postgres failed", ["error": error.description])
        } else {
            log.warning("a Postgres connection was lost", ["error": error.description])
        }
    }

    private func drop(_ connection: Connection) {
        connections[connection.id] = nil
        if let token = connection.socketToken { loop.remove(socket: token) }
        if let timer = connection.connectTimer { loop.cancel(timer: timer) }
        connection.socketToken = nil
        connection.connectTimer = nil
    }

    // MARK: The end

    /// Takes nobody new, lets what runs end within the bound, closes everything.
    func close(_ done: @escaping () -> Void) {
        takeNobody()
        let overdue = loop.addTimer(after: options.closeMax) { [weak self] in
            self?.assumeIsolated { $0.closeAll() }
        }
        closeWaiters.append { [loop] in
            loop.cancel(timer: overdue)
            loop.stop()
            done()
        }
        closeIdle()
    }

    /// Closes everything at once: nobody is left who could use it. Without this the loop would wait for sockets that
    /// are closed, whose numbers others may have by then.
    func abandon() {
        takeNobody()
        closeAll()
        loop.stop()
    }

    private func takeNobody() {
        isClosing = true
        stopListening()
        for waiter in waiters.removeAll(where: { _ in true }) { waiter.answer(.failure(Self.closed)) }
        if let retryTimer { loop.cancel(timer: retryTimer) }
        if let waiterTimer { loop.cancel(timer: waiterTimer) }
        retryTimer = nil
        waiterTimer = nil
    }

    private func closeIdle() {
        for connection in connections.values where connection.isIdle || connection.isConnecting {
            drop(connection)
        }
        guard connections.isEmpty else { return }
        // The loop's thread would wait for it.
        if let silenceTimer { loop.cancel(timer: silenceTimer) }
        silenceTimer = nil
        metrics.connections.set(0)
        let waiting = closeWaiters
        closeWaiters = []
        for done in waiting { done() }
    }

    private func closeAll() {
        for connection in connections.values {
            connection.fail(Self.closed)
            drop(connection)
        }
        closeIdle()
    }

    // MARK: What is said

    private static let cancelled = PostgresError(
        sqlState: PostgresError.Code.cancelled, message: "the task was cancelled")
    private static let rolledBack = PostgresError(
        sqlState: PostgresError.Code.transactionAborted, message: "the transaction was rolled back")
    private static let closed = PostgresError(
        sqlState: PostgresError.Code.connectionDoesNotExist, message: "the pool is closed")
    static let ended = PostgresError(
        sqlState: PostgresError.Code.noActiveTransaction, message: "the transaction has ended")

    private static func aborted(by failure: PostgresError) -> PostgresError {
        PostgresError(
            sqlState: PostgresError.Code.transactionAborted,
            message: "an earlier statement of this transaction failed", detail: failure.description)
    }

    private static let commit: SQL = "COMMIT"
    private static let rollback: SQL = "ROLLBACK"
}
