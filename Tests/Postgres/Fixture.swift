// What the tests of this module share.
import Foundation
import Observability
import Postgres
import TestSupport

enum Fixture {
    /// A pool on a database of its own, as the role `tester`, which owns the schema of that name.
    static func pool(
        connectionsMax: Int = 2, metrics: Metrics = Metrics(), options: PostgresOptions = TestDatabase.patientOptions
    ) async throws -> PostgresPool {
        try await database().pool("tester", connectionsMax: connectionsMax, metrics: metrics, options: options)
    }

    static func database(schemas: [String] = ["tester"]) async throws -> TestDatabase {
        try await TestPostgres.shared().database(schemas: schemas)
    }

    static func pool(dsn: String, connectionsMax: Int = 1, options: PostgresOptions = TestDatabase.patientOptions)
        throws
        -> PostgresPool
    {
        try PostgresPool(
            dsn: dsn, connectionsMax: connectionsMax, applicationName: "test",
            log: Logger(service: "test", level: .error), metrics: Metrics(), options: options)
    }

    /// What the body failed with, nil when it did not. For where `#expect(throws:)` would stand inside another.
    static func failure(_ body: () async throws -> Void) async -> PostgresError? {
        do {
            try await body()
            return nil
        } catch {
            return error as? PostgresError
        }
    }
}
