// Real Postgres for tests: a private cluster in a temporary folder, gone when the test process is.
import Foundation
import Observability
import Postgres
import Synchronization

/// A Postgres cluster of this process's own, on a free port of the loopback interface, with fsync as in production.
///
///     let database = try await TestPostgres.shared().database(schemas: ["payment"])
///     let pool = try database.pool("payment")
///
/// A watcher outside the process stops the server and removes the folder, also when the process is killed.
package final class TestPostgres: Sendable {
    package enum Failure: Error, CustomStringConvertible {
        case missing(String)
        case command(String, output: String)

        package var description: String {
            switch self {
            case .missing(let what): "\(what) was not found: install Debian's package postgresql-15"
            case .command(let command, let output): "\(command) failed: \(output)"
            }
        }
    }

    /// TLS with a certificate that the cluster signed itself, for the name `localhost` and the address 127.0.0.1.
    package let certificateFile: String
    package let port: Int
    package let password: String

    private let folder: String
    private let programs: String
    /// The watcher's standard input: its end is the sign to clean up. Held open as long as this object is.
    private let watcherInput: FileHandle

    /// The one cluster that this process's tests share. Never stop it: make one of your own for that.
    package static func shared() async throws -> TestPostgres {
        try await cluster.value
    }

    private static let cluster = Task { try await TestPostgres.start() }

    /// Makes and starts a cluster.
    ///
    /// - Parameter settings: lines for `postgresql.conf`, such as `max_connections = 20`.
    package static func start(settings: [String] = []) async throws -> TestPostgres {
        try await onItsOwnThread { try TestPostgres(settings: settings) }
    }

    private init(settings: [String]) throws {
        let files = FileManager.default
        let versions = (try? files.contentsOfDirectory(atPath: "/usr/lib/postgresql")) ?? []
        guard let version = versions.compactMap({ Int($0) }).max() else { throw Failure.missing("postgresql") }
        programs = "/usr/lib/postgresql/\(version)/bin"
        password = UUID().uuidString
        // Postgres refuses to run as root, and its folder must be its own.
        folder =
            "/tmp/stampede-test-postgres-\(ProcessInfo.processInfo.processIdentifier)-\(UUID().uuidString.prefix(8))"
        try files.createDirectory(atPath: folder, withIntermediateDirectories: true)
        certificateFile = folder + "/server.crt"

        let stop = Self.asPostgres("\(programs)/pg_ctl -D \(folder)/data -m immediate stop")
        let watch = "trap '' INT TERM HUP; cat >/dev/null; \(stop) >/dev/null 2>&1; rm -rf '\(folder)'"
        let pipe = Pipe()
        _ = fcntl(pipe.fileHandleForWriting.fileDescriptor, F_SETFD, FD_CLOEXEC)
        _ = try Subprocess(["/bin/sh", "-c", watch], input: pipe.fileHandleForReading.fileDescriptor)
        watcherInput = pipe.fileHandleForWriting

        try Data(password.utf8).write(to: URL(fileURLWithPath: folder + "/password"))
        // The key's owner has to be the server's user.
        try Self.run(
            "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=localhost"
                + " -addext subjectAltName=DNS:localhost,IP:127.0.0.1 -keyout \(folder)/server.key -out \(certificateFile)"
        )
        if getuid() == 0 { try Self.run("chown -R postgres \(folder)") }
        try Self.run("chmod 600 \(folder)/server.key")
        try Self.run(
            Self.asPostgres(
                "\(programs)/initdb -D \(folder)/data -U postgres --auth=scram-sha-256 --pwfile=\(folder)/password"
                    + " --encoding=UTF8 --locale=C.UTF-8 --no-sync"))
        port = try Self.startServer(programs: programs, folder: folder, settings: settings)
    }

    /// When the port is taken in the last moment, on another.
    private static func startServer(programs: String, folder: String, settings: [String]) throws -> Int {
        var attempts = 0
        while true {
            attempts += 1
            let port = try FreePorts.take()
            let lines =
                [
                    "listen_addresses = '127.0.0.1'", "port = \(port)", "unix_socket_directories = ''", "ssl = on",
                    "ssl_cert_file = '\(folder)/server.crt'", "ssl_key_file = '\(folder)/server.key'",
                    "max_connections = 200", "shared_buffers = 64MB", "fsync = on", "logging_collector = off",
                ] + settings
            try Data((lines.joined(separator: "\n") + "\n").utf8)
                .write(to: URL(fileURLWithPath: folder + "/data/postgresql.auto.conf"))
            do {
                try run(asPostgres("\(programs)/pg_ctl -D \(folder)/data -l \(folder)/log -w -t 60 start"))
                return port
            } catch {
                if attempts >= 10 { throw error }
            }
        }
    }

    // MARK: Stopping it, for tests of that

    /// Ends every process of the server at once, as a crash would.
    package func kill() async throws {
        let command = Self.asPostgres("\(programs)/pg_ctl -D \(folder)/data -m immediate -w stop")
        try await Self.onItsOwnThread { try Self.run(command) }
    }

    /// Stops the server as an administrator would: it ends every session, and says so.
    package func stop() async throws {
        let command = Self.asPostgres("\(programs)/pg_ctl -D \(folder)/data -m fast -w stop")
        try await Self.onItsOwnThread { try Self.run(command) }
    }

    /// Starts the server again, on the same port, with what it had stored.
    package func restart() async throws {
        let command = Self.asPostgres("\(programs)/pg_ctl -D \(folder)/data -l \(folder)/log -w -t 60 start")
        try await Self.onItsOwnThread { try Self.run(command) }
    }

    // MARK: Databases

    /// A DSN of the superuser.
    package func administratorDSN(database: String = "postgres") -> String {
        "postgresql://postgres:\(password)@127.0.0.1:\(port)/\(database)"
    }

    /// A new, empty database with a role and a schema of that role's for each name. No role may touch another's.
    package func database(schemas: [String]) async throws -> TestDatabase {
        let name = "test_" + UUID().uuidString.lowercased().replacingOccurrences(of: "-", with: "")
        try await administer("postgres") { pool in
            try await pool.execute("CREATE DATABASE \(identifier: name)")
            // Roles are the cluster's, and tests run side by side. CREATE ROLE takes no parameters: they come by settings.
            try await pool.transaction { transaction in
                try await transaction.execute("SELECT pg_advisory_xact_lock(1)")
                for role in schemas {
                    try await transaction.execute(
                        """
                        SELECT set_config('test.role', \(role), true), set_config('test.password', \(password), true)
                        """)
                    try await transaction.execute(
                        """
                        DO $$ BEGIN
                            IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = current_setting('test.role')) THEN
                                EXECUTE format('CREATE ROLE %I LOGIN PASSWORD %L',
                                    current_setting('test.role'), current_setting('test.password'));
                            END IF;
                        END $$
                        """)
                }
            }
        }
        try await administer(name) { pool in
            try await pool.execute("REVOKE ALL ON DATABASE \(identifier: name) FROM PUBLIC")
            try await pool.execute("REVOKE ALL ON SCHEMA public FROM PUBLIC")
            for role in schemas {
                try await pool.execute("GRANT CONNECT ON DATABASE \(identifier: name) TO \(identifier: role)")
                try await pool.execute("CREATE SCHEMA \(identifier: role) AUTHORIZATION \(identifier: role)")
                try await pool.execute(
                    """
                    ALTER ROLE \(identifier: role) IN DATABASE \(identifier: name) SET search_path = \(identifier: role)
                    """)
            }
        }
        return TestDatabase(server: self, name: name)
    }

    private func administer(_ database: String, _ body: (PostgresPool) async throws -> Void) async throws {
        let pool = try PostgresPool(
            dsn: administratorDSN(database: database), connectionsMax: 1, applicationName: "test support",
            log: Logger(service: "test", level: .error), metrics: Metrics(), options: TestDatabase.patientOptions)
        do {
            try await body(pool)
        } catch {
            await pool.close()
            throw error
        }
        await pool.close()
    }

    // MARK: Commands

    private static func asPostgres(_ command: String) -> String {
        getuid() == 0 ? "runuser -u postgres -- \(command)" : command
    }

    /// A blocking command waits on a thread of its own, not on one of those that run tasks.
    private static func onItsOwnThread<R: Sendable>(_ body: @escaping @Sendable () throws -> R) async throws -> R {
        try await withCheckedThrowingContinuation { continuation in
            Thread.detachNewThread { continuation.resume(with: Result { try body() }) }
        }
    }

    private static func run(_ command: String) throws {
        // To a file and not to a pipe: the server that a command leaves running would keep a pipe open.
        let output = "/tmp/stampede-test-output-\(UUID().uuidString)"
        _ = FileManager.default.createFile(atPath: output, contents: nil)
        defer { try? FileManager.default.removeItem(atPath: output) }
        guard let handle = FileHandle(forWritingAtPath: output) else { throw Failure.missing(output) }
        let process = try Subprocess(
            ["/bin/bash", "-c", command], output: handle.fileDescriptor, errors: handle.fileDescriptor, folder: "/tmp")
        guard process.wait() == 0 else {
            let text = (try? String(contentsOfFile: output, encoding: .utf8)) ?? ""
            throw Failure.command(command, output: text)
        }
    }
}

/// One test's database.
package struct TestDatabase: Sendable {
    package let server: TestPostgres
    package let name: String

    /// The DSN of the role that owns the schema of the same name.
    package func dsn(_ role: String) -> String {
        "postgresql://\(role):\(server.password)@127.0.0.1:\(server.port)/\(name)"
    }

    package var administratorDSN: String { server.administratorDSN(database: name) }

    /// Waits longer for a connection than a program would: many tests may share few cores.
    package static var patientOptions: PostgresOptions {
        var options = PostgresOptions()
        options.waitMax = .seconds(50)
        return options
    }

    /// A pool of the role's; close it when done.
    package func pool(
        _ role: String, connectionsMax: Int = 4, metrics: Metrics = Metrics(),
        log: Logger = Logger(service: "test", level: .error), options: PostgresOptions = TestDatabase.patientOptions
    ) throws -> PostgresPool {
        try PostgresPool(
            dsn: dsn(role), connectionsMax: connectionsMax, applicationName: "test", log: log, metrics: metrics,
            options: options)
    }
}
