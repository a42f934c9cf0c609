// Who gets which connection, when one is made, and when a caller is told that there is none.
import Foundation
import Observability

/// The pool's inside: connections, those who wait for one, and the transactions under way. An actor whose executor is the
/// event loop, so that it answers sockets and callers on the same thread, without locks.
actor ConnectionPool {
    nonisolated let loop: EventLoop
    nonisolated var unownedExecutor: UnownedSerialExecutor { loop.asUnownedSerialExecutor() }

    private let settings: ConnectionSettings
    private let options: PostgresOptions
    private let connectionsMax: Int
    private let log: Logger
    private let metrics: PostgresMetrics

    private var connections: [Int: Connection] = [:]
    private var nextID = 0
    private var waiters = Fifo<Waiter>()
    private var waiterTimer: Int?
    private var transactions: [Int: TransactionState] = [:]
    private var isClosing = false
    private var closeWaiters: [CheckedContinuation<Void, Never>] = []

    // After a failed attempt to connect, the next one waits a little longer each time.
    private var connectFailures = 0
    private var lastConnectFailure: PostgresError?
    private var retryTimer: Int?

    private struct Waiter {
        let id: Int
        let isExclusive: Bool
        let since: ContinuousClock.Instant
        let continuation: CheckedContinuation<Result<Int, PostgresError>, Never>
    }

    /// A transaction between its first statement and its end.
    private final class TransactionState {
        enum Hold {
            case none
            /// The first statement waits for a connection, and those behind it for the first.
            case acquiring([CheckedContinuation<Void, Never>])
            case held(Connection)
        }
        let begin: SQL
        var hold = Hold.none
        var hasBegun = false
        /// The first error: a transaction that had one is never committed, even when its body did not mind.
        var failure: PostgresError?

        init(begin: SQL) { self.begin = begin }
    }

    init(
        settings: ConnectionSettings, connectionsMax: Int, options: PostgresOptions, log: Logger, metrics: Metrics
    ) throws(PostgresError) {
        self.settings = settings
        self.options = options
        self.connectionsMax = max(1, connectionsMax)
        self.log = log.with(["postgres": settings.target])
        self.metrics = PostgresMetrics(metrics)
        loop = try EventLoop(name: "postgres")
    }

    // MARK: Single statements

    /// Runs one statement by itself. Shares a connection with other callers when none is idle.
    func run(_ statement: SQL) async -> Result<Rows, PostgresError> {
        switch await acquire(isExclusive: false) {
        case .failure(let error): return .failure(error.naming(statement: statement.text))
        case .success(let id):
            guard let connection = connections[id] else { return .failure(lost) }
            var result = await step([statement], commits: true, on: connection)
            if case .failure(let error) = result, error.isStalePlan {
                result = await step([statement], commits: true, on: connection)
            }
            release(connection)
            return result.map { $0.first ?? .none }
        }
    }

    private func step(
        _ statements: [SQL], commits: Bool, mayDeallocate: Bool = true, on connection: Connection
    ) async -> Result<[Rows], PostgresError> {
        await withCheckedContinuation { continuation in
            connection.submit(statements, commits: commits, mayDeallocate: mayDeallocate, continuation)
            settle(connection)
        }
    }

    // MARK: Transactions

    func begin(_ id: Int, _ begin: SQL) { transactions[id] = TransactionState(begin: begin) }

    /// Runs the statements in one round trip; `BEGIN` goes with the first.
    func run(_ statements: [SQL], in id: Int, begin: SQL) async -> Result<[Rows], PostgresError> {
        let transaction = state(of: id, begin: begin)
        if let failure = transaction.failure { return .failure(Self.aborted(by: failure)) }
        if Task.isCancelled { return fail(transaction, Self.cancelled) }
        switch await hold(transaction) {
        case .failure(let error): return fail(transaction, error.naming(statement: statements.first?.text))
        case .success(let connection):
            if let failure = transaction.failure { return .failure(Self.aborted(by: failure)) }
            let begins = !transaction.hasBegun
            transaction.hasBegun = true
            let all = begins ? [transaction.begin] + statements : statements
            switch await step(all, commits: false, on: connection) {
            case .failure(let error): return fail(transaction, error)
            case .success(let rows): return .success(begins ? Array(rows.dropFirst()) : rows)
            }
        }
    }

    /// Sends the statements with `COMMIT` behind them. Rolls back when one of them, or one before, failed.
    func commit(_ id: Int, finishing statements: [SQL], begin: SQL) async -> PostgresError? {
        if transactions[id] == nil, statements.isEmpty { return nil }
        let transaction = state(of: id, begin: begin)
        transactions[id] = nil
        if let failure = transaction.failure {
            await rollBack(transaction)
            return failure
        }
        switch await hold(transaction) {
        case .failure(let error): return error.naming(statement: statements.first?.text)
        case .success(let connection):
            let begins = !transaction.hasBegun
            transaction.hasBegun = true
            let all = (begins ? [transaction.begin] : []) + statements + [Self.commit]
            switch await step(all, commits: true, on: connection) {
            case .failure(let error):
                await rollBack(transaction)
                return error
            case .success(let rows):
                release(connection)
                // A transaction that failed answers COMMIT with ROLLBACK, and without an error.
                if rows.last?.result?.commandTag == "COMMIT" { return nil }
                return PostgresError(
                    sqlState: PostgresError.Code.transactionAborted, message: "the transaction was rolled back")
            }
        }
    }

    func rollBack(_ id: Int) async {
        guard let transaction = transactions.removeValue(forKey: id) else { return }
        await rollBack(transaction)
    }

    private func rollBack(_ transaction: TransactionState) async {
        guard case .held(let connection) = transaction.hold else { return }
        transaction.hold = .none
        if transaction.hasBegun, connection.phase == .ready,
            case .failure(let error) = await step(
                [Self.rollback], commits: false, mayDeallocate: false, on: connection)
        {
            // Nobody may find the remains of this transaction on it.
            connection.fail(error)
            settle(connection)
        }
        release(connection)
    }

    /// COPY and scripts, within the transaction and outside of the pipeline.
    func solo(_ text: String, isCopy: Bool, in id: Int, begin: SQL) async -> Result<Rows, PostgresError> {
        // `BEGIN` goes by itself, when nothing went before.
        if case .failure(let error) = await run([], in: id, begin: begin) { return .failure(error) }
        return await solo(in: id) { $0.startSolo(text, isCopy: isCopy, $1) }
    }

    func putCopy(_ bytes: [UInt8], in id: Int) async -> Result<Rows, PostgresError> {
        await solo(in: id) { $0.putCopy(bytes, $1) }
    }

    func endCopy(givingUp reason: String?, in id: Int) async -> Result<Rows, PostgresError> {
        await solo(in: id) { $0.endCopy(givingUp: reason, $1) }
    }

    private func solo(
        in id: Int, _ start: (Connection, Connection.StepContinuation) -> Void
    ) async -> Result<Rows, PostgresError> {
        guard let transaction = transactions[id], case .held(let connection) = transaction.hold else {
            return .failure(Self.ended)
        }
        let result = await withCheckedContinuation { (continuation: Connection.StepContinuation) in
            start(connection, continuation)
            settle(connection)
        }
        switch result {
        case .success(let rows): return .success(rows.first ?? .none)
        case .failure(let error):
            transaction.failure = transaction.failure ?? error
            return .failure(error)
        }
    }

    private func state(of id: Int, begin: SQL) -> TransactionState {
        if let known = transactions[id] { return known }
        let new = TransactionState(begin: begin)
        transactions[id] = new
        return new
    }

    private func fail<R>(_ transaction: TransactionState, _ error: PostgresError) -> Result<R, PostgresError> {
        transaction.failure = transaction.failure ?? error
        return .failure(error)
    }

    private func hold(_ transaction: TransactionState) async -> Result<Connection, PostgresError> {
        if case .acquiring(var others) = transaction.hold {
            await withCheckedContinuation { continuation in
                others.append(continuation)
                transaction.hold = .acquiring(others)
            }
        }
        switch transaction.hold {
        case .held(let connection): return .success(connection)
        case .acquiring: return .failure(Self.ended)
        case .none: break
        }
        if let failure = transaction.failure { return .failure(Self.aborted(by: failure)) }
        transaction.hold = .acquiring([])
        let acquired = await acquire(isExclusive: true)
        var others: [CheckedContinuation<Void, Never>] = []
        if case .acquiring(let behind) = transaction.hold { others = behind }
        defer { others.forEach { $0.resume() } }
        switch acquired {
        case .failure(let error):
            transaction.hold = .none
            transaction.failure = transaction.failure ?? error
            return .failure(error)
        case .success(let id):
            guard let connection = connections[id] else {
                transaction.hold = .none
                transaction.failure = transaction.failure ?? lost
                return .failure(lost)
            }
            transaction.hold = .held(connection)
            return .success(connection)
        }
    }

    // MARK: Leases

    /// A connection's ID, leased. Waits within the bounds.
    private func acquire(isExclusive: Bool) async -> Result<Int, PostgresError> {
        if isClosing { return .failure(Self.closed) }
        if Task.isCancelled { return .failure(Self.cancelled) }
        if waiters.isEmpty, let id = lease(isExclusive: isExclusive) { return .success(id) }
        guard waiters.count < options.waitersMax else {
            metrics.refused()
            return .failure(
                PostgresError(
                    sqlState: PostgresError.Code.tooManyConnections,
                    message: "all \(connectionsMax) connections are in use, and \(waiters.count) callers wait already"))
        }
        nextID += 1
        let id = nextID
        let loop = self.loop
        return await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                waiters.append(
                    Waiter(id: id, isExclusive: isExclusive, since: .now, continuation: continuation))
                openConnections()
                watchWaiters()
            }
        } onCancel: {
            loop.execute { [weak self] in self?.assumeIsolated { $0.cancelWaiter(id) } }
        }
    }

    /// Leases a connection at once, if one can be.
    private func lease(isExclusive: Bool) -> Int? {
        if let idle = connections.values.filter(\.isIdle).min(by: { $0.id < $1.id }) {
            idle.lease = isExclusive ? .exclusive : .shared(1)
            return idle.id
        }
        guard !isExclusive else { return nil }
        let depthMax = options.sharedStatementsMax
        guard
            let open = connections.values.filter({ $0.isOpen(forShared: depthMax) })
                .min(by: { $0.sharedCount < $1.sharedCount }),
            case .shared(let count) = open.lease
        else { return nil }
        open.lease = .shared(count + 1)
        if connections.count < connectionsMax { openConnections(more: 1) }
        return open.id
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
        while let waiter = waiters.first, let id = lease(isExclusive: waiter.isExclusive) {
            waiters.removeFirst()
            metrics.waited(waiter.since.duration(to: .now))
            waiter.continuation.resume(returning: .success(id))
        }
    }

    private func cancelWaiter(_ id: Int) {
        for waiter in waiters.removeAll(where: { $0.id == id }) {
            waiter.continuation.resume(returning: .failure(Self.cancelled))
        }
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
            waiter.continuation.resume(returning: .failure(refusal))
        }
    }

    private var refusal: PostgresError {
        if let lastConnectFailure, !connections.values.contains(where: { $0.phase == .ready }) {
            return lastConnectFailure
        }
        return PostgresError(
            sqlState: PostgresError.Code.tooManyConnections,
            message: "no connection was free within \(options.waitMax); the pool has \(connectionsMax)")
    }

    // MARK: Connections

    /// Begins as many connections as those who wait can use.
    private func openConnections(more: Int = 0) {
        guard !isClosing, retryTimer == nil else { return }
        let connecting = connections.values.count { $0.phase == .connecting }
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
        if connection.phase == .connecting {
            // libpq may go on with another socket (the next host, or without TLS): the old one is not waited for first.
            if let token = connection.socketToken { loop.remove(socket: token) }
            connection.socketToken = nil
            connection.advanceConnecting()
            switch connection.phase {
            case .connecting: watch(connection)
            case .ready:
                watch(connection)
                connected(connection)
            case .failed: connectFailed(connection)
            }
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
        metrics.connections.set(Double(connections.values.count { $0.phase == .ready }))
        log.debug("connected to Postgres")
        serveWaiters()
        openConnections()
        if isClosing { closeIdle() }
    }

    private func connectTimedOut(_ id: Int) {
        guard let connection = connections[id], connection.phase == .connecting else { return }
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
        let bound = min(options.reconnectMax, options.reconnectMin * (1 << min(connectFailures - 1, 16)))
        // Spread, so that many programs do not come back in the same instant.
        retryTimer = loop.addTimer(after: bound * Double.random(in: 0.5...1)) { [weak self] in
            self?.assumeIsolated { pool in
                pool.retryTimer = nil
                pool.openConnections()
            }
        }
    }

    /// Looks whether the connection failed in what was just done, and parts with it.
    private func settle(_ connection: Connection) {
        guard connection.phase == .failed, connections[connection.id] != nil else { return }
        drop(connection)
        log.warning("a Postgres connection was lost", ["error": connection.failure?.description ?? ""])
        metrics.connections.set(Double(connections.values.count { $0.phase == .ready }))
        openConnections()
        if isClosing { closeIdle() }
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
    func close() async {
        isClosing = true
        for waiter in waiters.removeAll(where: { _ in true }) {
            waiter.continuation.resume(returning: .failure(Self.closed))
        }
        if let retryTimer { loop.cancel(timer: retryTimer) }
        if let waiterTimer { loop.cancel(timer: waiterTimer) }
        retryTimer = nil
        waiterTimer = nil
        let overdue = loop.addTimer(after: options.closeMax) { [weak self] in
            self?.assumeIsolated { $0.closeAll() }
        }
        await withCheckedContinuation { continuation in
            closeWaiters.append(continuation)
            closeIdle()
        }
        loop.cancel(timer: overdue)
        loop.stop()
    }

    private func closeIdle() {
        for connection in connections.values where connection.isIdle || connection.phase == .connecting {
            drop(connection)
        }
        guard connections.isEmpty else { return }
        metrics.connections.set(0)
        for waiter in closeWaiters { waiter.resume() }
        closeWaiters = []
    }

    private func closeAll() {
        for connection in connections.values {
            connection.fail(Self.closed)
            drop(connection)
        }
        closeIdle()
    }

    // MARK: What is said

    private var lost: PostgresError {
        PostgresError(sqlState: PostgresError.Code.connectionFailure, message: "the connection was lost")
    }

    private static let cancelled = PostgresError(
        sqlState: PostgresError.Code.cancelled, message: "the task was cancelled")
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
