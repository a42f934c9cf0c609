// What a transaction's body can do.
import Observability
import Synchronization

/// A transaction under way, valid inside the closure that got it; later uses throw `25P01`. Statements may be sent
/// without awaiting one another (`async let`): they go out in the order of the calls. After one has failed, all that
/// follow fail, and the transaction is rolled back.
public struct Transaction: Sendable {
    let pool: ConnectionPool
    let id: Int
    let begin: SQL
    private let finishing: Finishing

    /// The statements that go out with COMMIT; nil once the transaction has ended.
    private final class Finishing: Sendable {
        let statements = Mutex<[SQL]?>([])
        let log: Logger
        init(log: Logger) { self.log = log }
    }

    init(pool: ConnectionPool, id: Int, begin: SQL, log: Logger) {
        self.pool = pool
        self.id = id
        self.begin = begin
        finishing = Finishing(log: log)
    }

    public func query(_ sql: SQL) async throws(PostgresError) -> Rows {
        try await pipeline([sql]).first ?? .none
    }

    @discardableResult
    public func execute(_ sql: SQL) async throws(PostgresError) -> Int {
        try await query(sql).affected
    }

    /// Runs the statements in one round trip; gives the rows of each. The first that fails is the error.
    public func pipeline(_ statements: [SQL]) async throws(PostgresError) -> [Rows] {
        try await pipeline(statements, isPatient: false)
    }

    /// - Parameter isPatient: the server may be silent as long as it likes: for a lock that is held for long.
    func pipeline(_ statements: [SQL], isPatient: Bool) async throws(PostgresError) -> [Rows] {
        try requireOpen()
        let result: Result<[Rows], PostgresError> = await pool.call { [id, begin] pool, caller, answer in
            pool.run(statements, in: id, begin: begin, isPatient: isPatient, for: caller, answer)
        }
        return try result.get()
    }

    /// Keeps the statements for the end: they go out after the body has returned, in the same round trip as COMMIT. An
    /// error there rolls everything back and is thrown from `transaction`.
    public func finish(_ statements: [SQL]) {
        let isOpen = finishing.statements.withLock { kept in
            kept?.append(contentsOf: statements)
            return kept != nil
        }
        if !isOpen { finishing.log.error("a transaction was given statements after its end") }
    }

    public func finish(_ statement: SQL) { finish([statement]) }

    /// Runs a text of several statements by the simple protocol. Never with anything in it that came from outside.
    func script(_ text: String) async throws(PostgresError) {
        try requireOpen()
        let result: Result<Rows, PostgresError> = await pool.call { [id, begin] pool, caller, answer in
            pool.script(text, in: id, begin: begin, for: caller, answer)
        }
        _ = try result.get()
    }

    func requireOpen() throws(PostgresError) {
        guard finishing.statements.withLock({ $0 != nil }) else { throw ConnectionPool.ended }
    }

    /// Takes what goes out with COMMIT, and closes the transaction for its users.
    func end() -> [SQL] {
        finishing.statements.withLock { kept in
            defer { kept = nil }
            return kept ?? []
        }
    }
}
