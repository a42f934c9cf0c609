// The way to Postgres: a bounded pool of pipelined connections.
import Observability
import Synchronization

/// The bounds of a pool.
public struct PostgresOptions: Sendable {
    /// How long a caller waits for a connection before an error with `isUnavailable` tells it so.
    public var waitMax: Duration = .seconds(5)
    /// How many callers may wait; one more is refused at once.
    public var waitersMax = 1000
    /// How many single statements of different callers one connection may have under way.
    public var sharedStatementsMax = 32
    /// How many prepared statements each connection keeps.
    public var statementsMax = 256
    /// What the server gives a statement before it ends it (`statement_timeout`); 0 for no bound. The DSN's `options` win.
    public var statementTimeoutSeconds = 15
    /// A connection on which nothing was heard for so long while a statement is under way is lost: the server would have
    /// answered, or ended the statement. A network that swallows what is sent says nothing by itself.
    public var silenceMax: Duration {
        get { ownSilenceMax ?? .seconds(statementTimeoutSeconds > 0 ? statementTimeoutSeconds + 3 : 86_400) }
        set { ownSilenceMax = newValue }
    }
    private var ownSilenceMax: Duration?
    /// Whether every statement finds its rows by index, planned once, whatever the server knows of the tables at that
    /// moment. At noon on a new database it takes tables for empty that grow by thousands of rows a second, and a plan
    /// that is right for an empty table is kept. For programs whose statements name their rows by key; off where whole
    /// tables are read.
    public var findsByIndex = false
    /// The first and the longest pause between attempts to connect.
    public var reconnectMin: Duration = .milliseconds(50)
    public var reconnectMax: Duration = .seconds(2)
    /// How long `close` lets running work end.
    public var closeMax: Duration = .seconds(10)

    public init() {}

    /// How long to wait before the next attempt to connect. Spread, so that many programs do not come back in the same
    /// instant.
    func reconnectPause(afterFailures count: Int) -> Duration {
        min(reconnectMax, reconnectMin * (1 << min(max(count, 1) - 1, 16))) * Double.random(in: 0.5...1)
    }
}

/// What a transaction sees of others: Postgres's own levels.
public enum TransactionIsolation: Sendable {
    case readCommitted
    case repeatableRead
    case serializable

    var begin: SQL {
        switch self {
        case .readCommitted: "BEGIN"
        case .repeatableRead: "BEGIN ISOLATION LEVEL REPEATABLE READ"
        case .serializable: "BEGIN ISOLATION LEVEL SERIALIZABLE"
        }
    }
}

/// A pool of connections to one database. Connects when it is first used, and again, with growing pauses, after
/// connections die. Safe to use from anywhere; a cancelled caller stops waiting for a connection at once, while a
/// statement that has been sent is always awaited, so that its outcome is known.
public final class PostgresPool: Sendable {
    let core: ConnectionPool
    let log: Logger
    private let ids = Atomic<Int>(0)

    /// - Parameters:
    ///   - dsn: anything libpq understands, with every option of it (`sslmode=verify-full`, several hosts, …). A
    ///     `connect_timeout` there is kept to; 10 seconds otherwise.
    ///   - connectionsMax: at most that many connections, at least one.
    ///   - applicationName: what `pg_stat_activity` shows, unless the DSN says otherwise.
    /// - Throws: when the DSN is not readable. Whether anybody answers there shows with the first use.
    public init(
        dsn: String, connectionsMax: Int, applicationName: String, log: Logger, metrics: Metrics,
        options: PostgresOptions = PostgresOptions()
    ) throws(PostgresError) {
        let settings = try ConnectionSettings(
            dsn: dsn, applicationName: applicationName, options: options)
        self.log = log
        core = try ConnectionPool(
            settings: settings, connectionsMax: connectionsMax, options: options, log: log, metrics: metrics)
    }

    /// A pool that nobody closed closes its connections all the same.
    deinit {
        let core = core
        core.loop.execute { core.assumeIsolated { $0.abandon() } }
    }

    /// A statement as the server has it, with its parameters' types by their OIDs.
    package struct PreparedStatement: Hashable, Sendable {
        package let text: String
        package let types: [UInt32]
    }

    /// What the connections have prepared, for who looks at its plans.
    package func preparedStatements() async -> Set<PreparedStatement> {
        let keys: [StatementCache.Key] = await core.call { pool, _, answer in answer(pool.preparedStatements) }
        return Set(keys.map { PreparedStatement(text: $0.text, types: $0.types) })
    }

    /// Runs one statement, by itself a transaction.
    public func query(_ sql: SQL) async throws(PostgresError) -> Rows {
        try await run(sql).get()
    }

    /// Runs one statement, by itself a transaction, and says how many rows it affected.
    @discardableResult
    public func execute(_ sql: SQL) async throws(PostgresError) -> Int {
        try await run(sql).get().affected
    }

    /// Runs the body between BEGIN and COMMIT, on a connection of its own. A body that throws, or in which any statement
    /// failed, is rolled back. BEGIN goes out with the first statement, COMMIT with those given to `finish`; a body that
    /// does nothing costs nothing.
    ///
    /// - Throws: what the body threw; the first `PostgresError` of a statement even when the body caught it; an error of
    ///   the COMMIT. When the connection dies during the COMMIT, `isOutcomeUnknown` is true; when it dies before,
    ///   nothing was committed.
    @discardableResult
    public func transaction<R>(
        _ level: TransactionIsolation = .readCommitted,
        caller: isolated (any Actor)? = #isolation,
        _ body: (Transaction) async throws -> R
    ) async throws -> R {
        let transaction = Transaction(
            pool: core, id: newID(), begin: level.begin, log: log)
        let value: R
        do {
            value = try await body(transaction)
        } catch {
            _ = transaction.end()
            let _: Void = await core.call { pool, _, done in pool.rollBack(transaction.id) { done(()) } }
            throw error
        }
        let finishing = transaction.end()
        let error: PostgresError? = await core.call { pool, caller, answer in
            pool.commit(transaction.id, finishing: finishing, begin: transaction.begin, for: caller, answer)
        }
        if let error { throw error }
        return value
    }

    /// The same, and runs the body again, at most `racesMax` times in all, where the transaction lost a race against another:
    /// nothing of it was committed.
    @discardableResult
    public func retryingTransaction<R>(
        _ level: TransactionIsolation = .readCommitted,
        caller: isolated (any Actor)? = #isolation,
        _ body: (Transaction) async throws -> R
    ) async throws -> R {
        for _ in 1..<Self.racesMax {
            do {
                return try await transaction(level, caller: caller, body)
            } catch let error as PostgresError where error.isLostRace {
                continue
            }
        }
        return try await transaction(level, caller: caller, body)
    }

    private static let racesMax = 5

    /// Returns when the server answers.
    public func ping() async throws(PostgresError) { _ = try await query("SELECT 1") }

    /// Refuses new work, lets what runs end within `closeMax`, and closes the connections.
    public func close() async {
        await core.call { pool, _, done in pool.close { done(()) } }
    }

    /// Names a transaction or a listener.
    func newID() -> Int { ids.wrappingAdd(1, ordering: .relaxed).newValue }

    private func run(_ sql: SQL) async -> Result<Rows, PostgresError> {
        await core.call { pool, caller, answer in pool.run(sql, for: caller, answer) }
    }
}
