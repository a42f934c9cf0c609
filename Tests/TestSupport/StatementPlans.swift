// How the statements of services are planned on a database whose statistics mislead.
import Foundation
import Observability
import Postgres
import ServiceKit
import Testing

/// Holds every statement that tests make a service prepare against one rule: it finds its rows by key, whatever the planner
/// knows. At noon on a new database it knows tables as empty, or by the three rows of a trial, and keeps the plans while
/// they grow.
///
/// So each statement is planned for any parameters, as services' connections plan, on the service's own tables when these
/// are empty and when they have three rows. A plan that reads a table without looking up the first column of an index, or
/// reads it again for each row of something else without looking up that, is an issue of the test. A partial index is
/// read without looking something up where all that is in it is asked for. In empty tables all indexes of a table cost the
/// same, so there nothing is asked of a lookup's column. A statement that has to read more says so,
/// for `make bench-plans` too, in a line `-- Reads more: why`.
package actor StatementPlans {
    package static let shared = StatementPlans()

    private static let rowCounts: [Int32] = [0, 3]

    private var seen: Set<String> = []
    private var trials: [String: Task<[PostgresPool], any Error>] = [:]

    /// Looks at what the service has prepared since the last time.
    package func look<Running>(at running: RunningService<Running>) async {
        let statements = await running.context.postgres.preparedStatements().filter {
            $0.text.contains(/^\s*\(?(?:SELECT|INSERT|UPDATE|DELETE|WITH)\b/) && !$0.text.contains("-- Reads more: ")
                && seen.insert(Running.name + $0.text).inserted
        }
        if statements.isEmpty { return }
        do {
            let pools = try await trial(Running.self)
            let indexes = try await Self.indexes(pools[0])
            let withoutColumns = indexes.mapValues { Index(firstColumn: nil, isPartial: $0.isPartial) }
            for statement in statements {
                for (rows, pool) in zip(Self.rowCounts, pools) {
                    let plan = try await plan(statement, pool)
                    for fault in Self.faults(plan, rows == 0 ? withoutColumns : indexes) {
                        Issue.record("\(Running.name), tables of \(rows) rows: \(fault)\n\(statement.text)")
                    }
                }
            }
        } catch {
            Issue.record(error, "the statements of \(Running.name) could not be planned")
        }
    }

    // MARK: Planning

    private func trial<Running: Service>(_ type: Running.Type) async throws -> [PostgresPool] {
        if let trial = trials[Running.name] { return try await trial.value }
        let trial = Task {
            var pools: [PostgresPool] = []
            for rows in Self.rowCounts { pools.append(try await Self.database(Running.self, rows: rows)) }
            return pools
        }
        trials[Running.name] = trial
        return try await trial.value
    }

    /// The service's tables, each with as many rows as asked for, and the planner knows it.
    private static func database<Running: Service>(_ type: Running.Type, rows: Int32) async throws -> PostgresPool {
        let database = try await TestPostgres.shared().database(schemas: [Running.name])
        func pool(_ dsn: String, _ settings: String, _ options: PostgresOptions) throws -> PostgresPool {
            // However busy the machine is: a transaction may wait between its statements.
            try PostgresPool(
                dsn: dsn + "?options=" + settings + "-cidle_in_transaction_session_timeout%3D0", connectionsMax: 1,
                applicationName: "test", log: Logger(service: "test", level: .error), metrics: Metrics(),
                options: options)
        }
        let owner = try pool(database.dsn(Running.name), "", TestDatabase.patientOptions)
        try await owner.migrate(schema: Running.name, Running.migrations)
        await owner.close()
        var options = TestDatabase.patientOptions
        options.findsByIndex = true
        let planner = try pool(database.administratorDSN, "-csearch_path%3D\(Running.name)%20", options)
        try await planner.execute(functions)
        try await planner.execute(planning)
        _ = try await planner.query("SELECT pg_temp.fill(\(rows))")
        return planner
    }

    /// Rows that mean nothing: what tables demand of theirs is dropped, but for their keys.
    private static let functions: SQL = """
        CREATE FUNCTION pg_temp.fill(rows integer) RETURNS void LANGUAGE plpgsql AS $$
        DECLARE
            named record;
            columns text;
            row_values text;
        BEGIN
            FOR named IN SELECT conrelid::regclass AS owner, conname FROM pg_constraint
                WHERE connamespace = current_schema()::regnamespace AND contype IN ('c', 'f') AND conrelid <> 0 LOOP
                EXECUTE format('ALTER TABLE %s DROP CONSTRAINT IF EXISTS %I', named.owner, named.conname);
            END LOOP;
            FOR named IN SELECT oid, oid::regclass AS owner FROM pg_class
                WHERE relnamespace = current_schema()::regnamespace AND relkind = 'r' LOOP
                EXECUTE format('ALTER TABLE %s DISABLE TRIGGER ALL', named.owner);
                SELECT string_agg(quote_ident(attname), ', ' ORDER BY attnum), string_agg(CASE
                        WHEN typtype = 'e' THEN format('(enum_range(NULL::%s))[1]', atttypid::regtype)
                        WHEN typname = 'uuid' THEN 'lpad(n::text, 32, ''0'')::uuid'
                        WHEN typname = 'xid8' THEN 'pg_current_xact_id()'
                        WHEN typname = 'timestamptz' THEN 'now() + make_interval(secs => n)'
                        WHEN typname = 'bool' THEN 'n % 2 = 0'
                        WHEN typname = 'bytea' THEN 'int4send(n)'
                        WHEN typname IN ('json', 'jsonb') THEN '''{}'''
                        WHEN typtype = 'b' AND typcategory = 'A' THEN format('ARRAY[]::%s', atttypid::regtype)
                        ELSE format('n::text::%s', atttypid::regtype) END, ', ' ORDER BY attnum)
                    INTO columns, row_values
                FROM pg_attribute JOIN pg_type ON pg_type.oid = atttypid
                WHERE attrelid = named.oid AND attnum > 0 AND NOT attisdropped AND attgenerated = '' AND attidentity = '';
                EXECUTE format('TRUNCATE %s', named.owner);
                EXECUTE format('INSERT INTO %s (%s) SELECT %s FROM generate_series(1, %s) AS n',
                    named.owner, columns, row_values, rows);
                EXECUTE format('ANALYZE %s', named.owner);
            END LOOP;
        END $$
        """

    private static let planning: SQL = """
        CREATE FUNCTION pg_temp.plan(statement text, types oid[]) RETURNS json LANGUAGE plpgsql AS $$
        DECLARE
            result json;
        BEGIN
            EXECUTE format('PREPARE planned %s AS %s',
                (SELECT '(' || string_agg(type::regtype::text, ', ' ORDER BY place) || ')'
                    FROM unnest(types) WITH ORDINALITY AS t(type, place)), statement);
            EXECUTE format('EXPLAIN (FORMAT JSON) EXECUTE planned %s',
                (SELECT '(' || string_agg('NULL', ', ') || ')' FROM unnest(types))) INTO result;
            DEALLOCATE planned;
            RETURN result;
        END $$
        """

    private func plan(_ statement: PostgresPool.PreparedStatement, _ pool: PostgresPool) async throws -> DocumentTree {
        let types = statement.types.map { Int64($0) }
        let rows = try await pool.query("SELECT pg_temp.plan(\(statement.text), \(types)::oid[])")
        return try DocumentTree(json: rows[0].get(0, as: JSONText.self).bytes)
    }

    // MARK: Judging

    private struct Index {
        /// Nil where it is of no account.
        let firstColumn: String?
        let isPartial: Bool
    }

    private static func indexes(_ pool: PostgresPool) async throws -> [String: Index] {
        let rows = try await pool.query(
            """
            SELECT indexrelid::regclass::text, pg_get_indexdef(indexrelid, 1, true), indpred IS NOT NULL
            FROM pg_index JOIN pg_class ON pg_class.oid = indexrelid
            WHERE relnamespace = current_schema()::regnamespace
            """)
        var indexes: [String: Index] = [:]
        for row in rows {
            indexes[try row.get(0)] = Index(firstColumn: try row.get(1), isPartial: try row.get(2))
        }
        return indexes
    }

    private static func faults(_ explained: DocumentTree, _ indexes: [String: Index]) -> [String] {
        guard let plan = explained.elements.first?["Plan"] else { return ["no plan: \(explained)"] }
        return faults(ofNode: plan, indexes)
    }

    private static func faults(ofNode node: DocumentTree, _ indexes: [String: Index]) -> [String] {
        let parts = node["Plans"]?.elements ?? []
        var faults: [String] = []
        switch node["Node Type"]?.string ?? "" {
        case "Seq Scan":
            faults.append("reads all of \(node["Relation Name"]?.string ?? "?")")
        case "Index Scan", "Index Only Scan", "Bitmap Index Scan":
            let name = node["Index Name"]?.string ?? "?"
            let index = indexes[name]
            if let condition = node["Index Cond"]?.string {
                // Postgres's own tables have no indexes here.
                guard let column = index?.firstColumn else { break }
                // What is looked up stands on the left; a row of several begins with it.
                let isFirst = condition.split(separator: " ").contains {
                    $0.drop { $0 == "(" || $0 == "\"" }.prefix(column.count) == column
                }
                if !isFirst { faults.append("looks up nothing in \(name): \(condition)") }
            } else if index?.isPartial != true || node["Filter"] != nil {
                faults.append("reads all of \(name)\(node["Filter"].map { ", for \($0.string ?? "")" } ?? "")")
            }
        case "Nested Loop":
            guard let filter = node["Join Filter"]?.string else { break }
            let scans = ["Seq Scan", "Index Scan", "Index Only Scan", "Bitmap Heap Scan"]
            if parts.count == 2, scans.contains(parts[1]["Node Type"]?.string ?? "") {
                faults.append("reads the same again for each: \(filter)")
            }
        default: break
        }
        return faults + parts.flatMap { Self.faults(ofNode: $0, indexes) }
    }
}
