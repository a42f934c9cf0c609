// Encryption, identities and rights: a small sale for each way to show who one is, and what is refused.
import Foundation
import Kafka
import Models
import Observability
import Postgres
import ServiceKit
import Testing
import TestSupport

@testable import StampedeCore

@Suite(.serialized) struct SecurityTests {
    /// The rights are what the services name as theirs, no more and no less, and the document says so.
    @Test func rightsAreThoseOfTheTopicsThatAServiceNames() throws {
        let named = try ServiceManifest.all()
        let document = try String(contentsOfFile: "\(Stack.root)/docs/security.md", encoding: .utf8)
        for rights in AccessRights.all where !rights.isOperator {
            if let service = Settings.Service(rawValue: rights.holder) {
                let allowed = Set(rights.reads + rights.writes).filter { !$0.hasSuffix(".dead") }
                #expect(allowed == Set(named[service]?.topics.map(\.name) ?? []), "\(service)")
            }
            func list(_ names: [String]) -> String {
                names.isEmpty ? "|" : "| \(names.map { "`\($0)`" }.joined(separator: ", ")) "
            }
            let row =
                "| `\(rights.holder)` \(list(rights.reads))" + (rights.reads.isEmpty ? " " : "")
                + "\(list(rights.writes))\(list(rights.groups))" + (rights.groups.isEmpty ? " |" : "|")
            #expect(document.contains(row), "\(row)")
        }
    }

    /// How a client shows Kafka who it is, always within TLS.
    enum Login: String, CaseIterable, Sendable {
        case plain = "PLAIN"
        case certificate
        case scram = "SCRAM-SHA-512"

        /// What the broker calls the port.
        var listener: String { "\(self)".uppercased() }
    }

    /// One stack whose broker takes all of them, each on a port of its own; the services come by one after the other.
    @Test(.enabled(if: Stack.brokers.contains(.apache), "needs Apache Kafka: KAFKA_HOME"))
    func aSaleWithTLSAndNoMoreRightsThanNeeded() async throws {
        let first = try FreePorts.take(Login.allCases.count)
        let ports = Dictionary(uniqueKeysWithValues: zip(Login.allCases, first...))
        var given: Task<Void, any Error>?
        var registered: Task<Void, any Error>?
        try await Stack.with(.apache) { stack in
            try await Self.makeCertificates(stack)
            try Self.secureKafka(stack, ports)
            try Self.securePostgres(stack)
            try Self.haveServicesCome(by: .plain, stack, port: first)
            // While `up` waits for the services, which wait to be let in.
            let letIn = Task { try await Self.letIn(stack) }
            given = letIn
            registered = Task {
                try await letIn.value
                try await Self.registerForSCRAM(stack)
            }
        } _: { stack in
            try await given?.value
            for login in Login.allCases {
                let port = try #require(ports[login])
                if login != .plain {
                    if login == .scram { try await registered?.value }
                    try await stack.stop(Settings.Service.allCases.map(\.rawValue))
                    try Self.haveServicesCome(by: login, stack, port: port)
                    try await stack.script("up").requireSuccess()
                }
                let rush = try await stack.stampede(
                    "rush", "--orders", "200", "--units", "40", "--waitlist", "20", "--poor", "50", "--listeners", "0",
                    "--timeout", "120", "--json"
                ).requireSuccess()
                #expect(try Report(rush.output).count("captured") == 40, "\(login)")
                let audit = try await stack.stampede("audit", "--json")
                #expect(audit.code == 0, "\(login): \(audit.output)")
                try await everySessionIsEncrypted(stack)
                try await whatIsNotAllowedIsRefused(stack, login, port: port)
                if login == .scram { try await whatServicesWarnOfIsSo(stack, port: port) }
            }
        }
    }

    // MARK: What is refused

    private func whatIsNotAllowedIsRefused(_ stack: Stack, _ login: Login, port: Int) async throws {
        func publish(
            _ topic: String, as principal: String, but changes: [String: String?] = [:]
        ) async throws -> Stack.Ended {
            var variables = try Self.environment(principal, by: login, stack, port: port)
            variables["STAMPEDE_KAFKA_MESSAGE_TIMEOUT_MS"] = "8000"
            for (name, value) in changes { variables["STAMPEDE_KAFKA_\(name)"] = value }
            return try await stack.run(
                Self.program, ["publish", "--topic", topic, "--unchecked"], input: "{}\n", adding: variables)
        }
        func read(_ topic: String, as principal: String) async throws -> Stack.Ended {
            try await stack.run(
                Self.program, ["tail", topic, "--from", "beginning", "--stop-at-end"],
                adding: Self.environment(principal, by: login, stack, port: port))
        }
        // Theirs, as a proof that the refusals below are about rights.
        for command in ["create", "describe", "lag"] {
            try await stack.run(
                Self.program, ["topics", command], adding: Self.environment("operator", by: login, stack, port: port)
            ).requireSuccess()
        }
        try await publish("notifications.dead", as: "messaging").requireSuccess()
        try await read("reservations", as: "catalog").requireSuccess()
        let refused = try await publish("orders", as: "notification")
        #expect(refused.code != 0 && refused.errors.contains("TOPIC_AUTHORIZATION_FAILED"), "\(refused)")
        // What one may not see is not there.
        let unread = try await read("payments", as: "catalog")
        #expect(unread.code != 0 && unread.errors.contains("UNKNOWN_TOPIC"), "\(unread)")

        var wrong: [[String: String?]] = [["SASL_PASSWORD": "wrong"]]
        var answer = "Authentication failed"
        if login == .certificate {
            let stranger = "\(stack.folder)/stranger"
            wrong = [
                ["SSL_CERTIFICATE_LOCATION": "\(stranger).pem", "SSL_KEY_LOCATION": "\(stranger).key"],
                ["SSL_CERTIFICATE_LOCATION": nil, "SSL_KEY_LOCATION": nil],
            ]
            answer = "SSL alert"
        }
        for changes in wrong {
            let unknown = try await publish("notifications.dead", as: "messaging", but: changes)
            #expect(unknown.code != 0 && unknown.errors.contains(answer), "\(unknown)")
        }
    }

    /// A service says at its start whether its librdkafka is too old for SCRAM; here it is this process's.
    private func whatServicesWarnOfIsSo(_ stack: Stack, port: Int) async throws {
        let configuration = KafkaConfiguration(
            bootstrapServers: "127.0.0.1:\(port)", clientID: "test",
            properties: Self.properties("messaging", by: .scram, stack))
        let producer = try KafkaProducer(
            configuration, log: Logger(service: "test", level: .error, sink: LogSink { _ in }), metrics: Metrics())
        let found = try? await producer.topicPartitions(timeoutSeconds: 6)
        await producer.close(timeoutSeconds: 1)
        #expect((found == nil) == (configuration.caution != nil))
    }

    private func everySessionIsEncrypted(_ stack: Stack) async throws {
        let dsn = try stack.settings().dsn(.messaging)
            .replacing(/messaging:[^@]*@/, with: "stampede:\(stack.secret("postgres"))@")
        let pool = try PostgresPool(
            dsn: dsn, connectionsMax: 1, applicationName: "test", log: Logger(service: "test", level: .error),
            metrics: Metrics())
        let rows = try await pool.query(
            """
            SELECT usename::text, bool_and(ssl) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid)
            WHERE application_name LIKE '%/%' GROUP BY 1
            """)
        let sessions = try rows.map { (try $0.get(0, as: String.self), try $0.get(1, as: Bool.self)) }
        #expect(Set(sessions.map(\.0)) == Set(Settings.Service.allCases.map(\.rawValue)))
        let areEncrypted = sessions.allSatisfy(\.1)
        #expect(areEncrypted)
        await pool.close()
    }

    // MARK: Preparation

    private static let principals = Settings.Service.allCases.map(\.rawValue) + ["operator"]
    private static let program = "\(Stack.root)/.build/debug/stampede"
    /// Debian 12's librdkafka is too old for SCRAM: `scripts/packages --test` puts a newer one there.
    private static let newerLibrary = "\(Stack.root)/.local/python/librdkafka"

    private static func properties(_ principal: String, by login: Login, _ stack: Stack) -> [String: String] {
        let authority = ["ssl.ca.location": "\(stack.folder)/ca.pem"]
        if login == .certificate {
            return authority.merging([
                "security.protocol": "SSL", "ssl.certificate.location": "\(stack.folder)/\(principal).pem",
                "ssl.key.location": "\(stack.folder)/\(principal).key",
            ]) { $1 }
        }
        // One service comes with SCRAM's other sort.
        let mechanism = login == .scram && principal == "catalog" ? "SCRAM-SHA-256" : login.rawValue
        return authority.merging([
            "security.protocol": "SASL_SSL", "sasl.mechanism": mechanism, "sasl.username": principal,
            "sasl.password": "secret-of-\(principal)",
        ]) { $1 }
    }

    /// What a program is told to come to Kafka as a principal.
    private static func environment(
        _ principal: String, by login: Login, _ stack: Stack, port: Int
    ) throws -> [String: String] {
        var variables = ["KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:\(port)"]
        for (name, value) in properties(principal, by: login, stack) {
            variables["STAMPEDE_KAFKA_\(name.uppercased().replacing(".", with: "_"))"] = value
        }
        if login == .scram {
            guard FileManager.default.fileExists(atPath: "\(newerLibrary)/librdkafka.so.1") else {
                throw Stack.Ended.Failure(
                    description: "there is no newer librdkafka: `scripts/packages --test` gets it from PyPI")
            }
            variables["LD_LIBRARY_PATH"] = newerLibrary
        }
        return variables
    }

    /// An authority of its own, and what it signed: a certificate for this machine and one for each principal. A stranger's
    /// says that it is messaging's, and nobody signed it.
    private static func makeCertificates(_ stack: Stack) async throws {
        let script = """
            set -eu
            cd "$1"
            shift
            new() { openssl req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes "$@"; }
            sign() { openssl x509 -req -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 "$@"; }
            new -x509 -days 2 -subj '/CN=Authority of a test' -keyout ca.key -out ca.pem
            new -x509 -days 2 -subj /CN=messaging -keyout stranger.key -out stranger.pem
            new -subj /CN=localhost -keyout server.key -out server.csr
            printf 'subjectAltName=DNS:localhost,IP:127.0.0.1' > server.ext
            sign -in server.csr -extfile server.ext -out server.pem
            for name; do
                new -subj "/CN=$name" -keyout "$name.key" -out "$name.csr"
                sign -in "$name.csr" -out "$name.pem"
            done
            chmod 644 *.key
            cat server.key server.pem ca.pem > kafka.pem
            cp server.key postgres.key
            chmod 600 postgres.key
            [ "$(id -u)" != 0 ] || chown postgres: postgres.key
            """
        try await stack.run(
            "/bin/bash", ["-c", script, "bash", stack.folder] + principals
        ).requireSuccess()
    }

    /// What a service comes to Kafka and Postgres with from its next start on.
    private static func haveServicesCome(by login: Login, _ stack: Stack, port: Int) throws {
        for service in Settings.Service.allCases.map(\.rawValue) {
            let file = "\(service).environment"
            try? stack.clear(file)
            try stack.add(
                "STAMPEDE_POSTGRES_DSN=\"$STAMPEDE_POSTGRES_DSN?sslmode=verify-full&sslrootcert=\(stack.folder)/ca.pem\"",
                to: file)
            for (name, value) in try environment(service, by: login, stack, port: port) {
                try stack.add("\(name)=\(value)", to: file)
            }
        }
    }

    /// Listeners for the services, beside the plain one of the machine itself, whose users may do everything.
    private static func secureKafka(_ stack: Stack, _ ports: [Login: Int]) throws {
        let plain = stack.port("KAFKA")
        let secure = ports.map { ",\($0.listener)://127.0.0.1:\($1)" }.joined()
        let protocols = ports.keys.map { ",\($0.listener):\($0 == .certificate ? "SSL" : "SASL_SSL")" }.joined()
        let users = principals.map { "user_\($0)=\"secret-of-\($0)\"" }
        let security = "org.apache.kafka.common.security"
        try stack.add(
            "listeners=PLAINTEXT://127.0.0.1:\(plain)\(secure),CONTROLLER://127.0.0.1:\(plain + 1)",
            "advertised.listeners=PLAINTEXT://127.0.0.1:\(plain)\(secure)",
            "listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT\(protocols)",
            "ssl.keystore.type=PEM", "ssl.keystore.location=\(stack.folder)/kafka.pem",
            "listener.name.plain.sasl.enabled.mechanisms=PLAIN",
            "listener.name.plain.plain.sasl.jaas.config=\(security).plain.PlainLoginModule required "
                + users.joined(separator: " ") + ";",
            "listener.name.scram.sasl.enabled.mechanisms=SCRAM-SHA-256,SCRAM-SHA-512",
            "listener.name.scram.scram-sha-256.sasl.jaas.config=\(security).scram.ScramLoginModule required;",
            "listener.name.scram.scram-sha-512.sasl.jaas.config=\(security).scram.ScramLoginModule required;",
            "listener.name.certificate.ssl.client.auth=required",
            "listener.name.certificate.ssl.truststore.type=PEM",
            "listener.name.certificate.ssl.truststore.location=\(stack.folder)/ca.pem",
            "authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer",
            "super.users=User:ANONYMOUS", "allow.everyone.if.no.acl.found=false",
            to: "kafka.properties")
    }

    private static func securePostgres(_ stack: Stack) throws {
        try stack.add(
            "ssl = on", "ssl_cert_file = '\(stack.folder)/server.pem'", "ssl_key_file = '\(stack.folder)/postgres.key'",
            to: "postgresql.conf")
    }

    /// Gives the principals their rights, once Kafka answers.
    private static func letIn(_ stack: Stack) async throws {
        let plain = "127.0.0.1:\(stack.port("KAFKA"))"
        try await stack.eventually(within: .seconds(90)) {
            let kafka = KafkaConfiguration(bootstrapServers: plain, clientID: "test", properties: ["log_level": "0"])
            return (try? await KafkaAdmin(kafka).describe(topics: [])) != nil
        }
        // A certificate's principal is its whole subject.
        for pattern in ["User:NAME", "User:CN=NAME"] {
            try await stack.run(
                program, ["topics", "rights", "--give", "--principal", pattern],
                adding: ["KAFKA_BOOTSTRAP_SERVERS": plain]
            ).requireSuccess()
        }
    }

    /// What the broker keeps of their passwords for SCRAM.
    private static func registerForSCRAM(_ stack: Stack) async throws {
        for principal in principals {
            let mechanism = properties(principal, by: .scram, stack)["sasl.mechanism"] ?? ""
            try await stack.run(
                "\(stack.environment["KAFKA_HOME"] ?? "")/bin/kafka-configs.sh",
                [
                    "--bootstrap-server", "127.0.0.1:\(stack.port("KAFKA"))", "--alter", "--entity-type", "users",
                    "--entity-name", principal,
                    "--add-config", "\(mechanism)=[password=secret-of-\(principal)]",
                ]
            ).requireSuccess()
        }
    }
}
