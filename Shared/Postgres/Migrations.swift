// Bringing a schema up to date: numbered scripts, each applied once, checked against what was applied before.
import Observability

/// One step of a schema's history. What was applied somewhere is never changed again: a later step does.
public struct Migration: Sendable {
    /// Steps are applied in the order of their numbers.
    public let number: Int
    public let name: String
    /// Statements, separated by semicolons. Runs inside a transaction, with the schema as search path.
    public let sql: String
    /// Programs that do not know this step cannot work with what it leaves, and refuse to start.
    public let isBreaking: Bool

    public init(number: Int, name: String, sql: String, isBreaking: Bool = false) {
        self.number = number
        self.name = name
        self.sql = sql
        self.isBreaking = isBreaking
    }

    /// From a file compiled into the executable.
    public init(number: Int, name: String, sql: [UInt8], isBreaking: Bool = false) {
        self.init(number: number, name: name, sql: String(decoding: sql, as: UTF8.self), isBreaking: isBreaking)
    }
}

extension PostgresPool {
    /// Applies what is missing, in one transaction: all of it or nothing. Several programs may do so at once; one works,
    /// the others wait and find it done. What has been applied is kept with a hash in `<schema>.migrations`.
    ///
    /// A role that may make no tables there finds it done, or says that its owner has to do it.
    ///
    /// - Throws: `ST003` when something is missing that this role may not apply; `F0000` when an applied migration has
    ///   since been changed, or when one is missing before one that has been applied; `ST002` when the database has one that this program does not know (a newer program was here)
    ///   and that is breaking; what a migration's own statements failed with. Others that it does not know are logged and
    ///   left alone, so that the previous version can go on while the next one is rolled out.
    public func migrate(schema: String, _ migrations: [Migration]) async throws(PostgresError) {
        let ordered = migrations.sorted { $0.number < $1.number }
        for (one, next) in zip(ordered, ordered.dropFirst()) where one.number == next.number {
            throw PostgresError(
                sqlState: PostgresError.Code.invalidConfiguration,
                message: "migration \(one.number) exists twice: \(one.name), \(next.name)")
        }
        do {
            try await transaction { transaction in
                try await apply(ordered, schema: schema, transaction)
            }
        } catch let error as PostgresError {
            throw error
        } catch {
            throw PostgresError(sqlState: PostgresError.Code.internalError, message: "\(error)")
        }
    }

    private func apply(
        _ migrations: [Migration], schema: String, _ transaction: Transaction
    ) async throws(PostgresError) {
        // Waiting for another instance's long migration is no reason to fail.
        _ = try await transaction.pipeline(
            [
                "SET LOCAL statement_timeout = 0",
                "SELECT pg_advisory_xact_lock(hashtextextended('stampede migrations ' || \(schema), 0))",
            ], isPatient: true)
        let exists: Bool = try await transaction.query(
            "SELECT EXISTS (SELECT FROM pg_namespace WHERE nspname = \(schema))"
        ).one()
        if !exists { try await transaction.execute("CREATE SCHEMA \(identifier: schema)") }
        _ = try await transaction.pipeline([
            "SELECT set_config('search_path', quote_ident(\(schema)), true)", "SET LOCAL client_min_messages = warning",
        ])
        let (mayChange, isBegun) = try await standing(schema, transaction)
        if !isBegun {
            guard mayChange else { throw Self.older(schema, "has no tables yet") }
            try await begin(schema, transaction)
        }
        let rows = try await transaction.query(
            """
            SELECT applied.number, applied.name, given.number IS NOT NULL, applied.sha256 = sha256(given.script),
                applied.is_breaking
            -- Reads more: all of a short table, once at the start.
            FROM \(identifier: schema).migrations AS applied
            LEFT JOIN unnest(\(migrations.map { Int32(clamping: $0.number) }),
                \(migrations.map { Array($0.sql.utf8) })) AS given (number, script) USING (number)
            ORDER BY 1
            """)
        var applied: Set<Int> = []
        for row in rows {
            let number: Int = try row.get(0)
            let name: String = try row.get(1)
            let isKnown: Bool = try row.get(2)
            let isSame: Bool? = try row.get(3)
            applied.insert(number)
            if !isKnown, try row.get(4) {
                throw PostgresError(
                    sqlState: PostgresError.Code.schemaIsNewer,
                    message: "schema \(schema) has migration \(number) \(name), which this program does not know: "
                        + "start the newer version that applied it, or restore the schema as it was before")
            } else if !isKnown {
                log.warning(
                    "the schema has a migration that this program does not know",
                    ["schema": schema, "migration": "\(number) \(name)"])
            } else if isSame != true {
                throw PostgresError(
                    sqlState: PostgresError.Code.invalidConfiguration,
                    message: "migration \(number) \(name) of schema \(schema) was changed after it was applied")
            }
        }
        for migration in migrations where !applied.contains(migration.number) {
            if let later = applied.filter({ $0 > migration.number }).min() {
                throw PostgresError(
                    sqlState: PostgresError.Code.invalidConfiguration,
                    message: "migration \(migration.number) \(migration.name) of schema \(schema) was never applied, "
                        + "but \(later) was: give it a later number")
            }
            guard mayChange else { throw Self.older(schema, "lacks migration \(migration.number) \(migration.name)") }
            try await transaction.script(migration.sql)
            try await transaction.execute(
                """
                INSERT INTO \(identifier: schema).migrations (number, name, sha256, is_breaking)
                VALUES (\(Int32(clamping: migration.number)), \(migration.name),
                    sha256(\(Array(migration.sql.utf8))), \(migration.isBreaking))
                """)
            log.info(
                "migrated", ["schema": schema, "migration": "\(migration.number) \(migration.name)"])
        }
    }

    /// Whether this role may make tables in the schema, and whether the table of migrations is as it has to be.
    private func standing(
        _ schema: String, _ transaction: Transaction
    ) async throws(PostgresError) -> (mayChange: Bool, isBegun: Bool) {
        let row = try await transaction.query(
            """
            SELECT has_schema_privilege(\(schema), 'CREATE'),
                -- Reads more: Postgres's own tables, once at the start.
                EXISTS (SELECT FROM information_schema.columns
                    WHERE table_schema = \(schema) AND table_name = 'migrations' AND column_name = 'is_breaking')
            """)[0]
        return (try row.get(0), try row.get(1))
    }

    /// The table that says what was applied. Only its owner writes into it, whatever others may do with later tables.
    private func begin(_ schema: String, _ transaction: Transaction) async throws(PostgresError) {
        _ = try await transaction.pipeline([
            """
            CREATE TABLE IF NOT EXISTS \(identifier: schema).migrations (
                number int PRIMARY KEY, name text NOT NULL, sha256 bytea NOT NULL,
                applied_at timestamptz NOT NULL DEFAULT now())
            """,
            """
            ALTER TABLE \(identifier: schema).migrations
                ADD COLUMN IF NOT EXISTS is_breaking boolean NOT NULL DEFAULT false
            """,
        ])
        let others = try await transaction.query(
            """
            SELECT DISTINCT grantee::text FROM information_schema.role_table_grants
            -- Reads more: Postgres's own tables, once in the life of a schema.
            WHERE table_schema = \(schema) AND table_name = 'migrations' AND grantee NOT IN (current_user, 'PUBLIC')
            """)
        for row in others {
            let other: String = try row.get(0)
            try await transaction.execute(
                """
                REVOKE INSERT, UPDATE, DELETE ON \(identifier: schema).migrations FROM \(identifier: other)
                """)
        }
    }

    private static func older(_ schema: String, _ what: String) -> PostgresError {
        PostgresError(
            sqlState: PostgresError.Code.schemaIsOlder,
            message: "schema \(schema) \(what), and this role may not change it: run `\(schema) migrate` as its owner")
    }
}

extension Rows {
    /// The first column of the only row.
    public func one<Value: PostgresDecodable>(_ type: Value.Type = Value.self) throws(PostgresError) -> Value {
        guard count == 1 else {
            throw PostgresError(sqlState: "21000", message: "expected one row, got \(count)")
        }
        return try self[0].get(0)
    }
}
