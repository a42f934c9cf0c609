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
        case scram = "SCRAM-SHA-512"
        case certificate
    }

    @Test(.enabled(if: Stack.brokers.contains(.apache), "needs Apache Kafka: KAFKA_HOME"), arguments: Login.allCases)
    func aSaleWithTLSAndNoMoreRightsThanNeeded(login: Login) async throws {
        let port = try FreePorts.take(2)
        var given: Task<Void, any Error>?
        try await Stack.with(.apache) { stack in
            try await Self.makeCertificates(stack)
            try Self.secureKafka(stack, login, port: port)
            try Self.securePostgres(stack)
            for service in Settings.Service.allCases {
                try stack.add(
                    "STAMPEDE_POSTGRES_DSN=\"$STAMPEDE_POSTGRES_DSN?sslmode=verify-full&sslrootcert=\(stack.folder)/ca.pem\"",
                    to: "\(service.rawValue).environment")
                for (name, value) in try Self.environment(service.rawValue, by: login, stack, port: port) {
                    try stack.add("\(name)=\(value)", to: "\(service.rawValue).environment")
                }
            }
            // While `up` waits for the services, which wait to be let in.
            given = Task { try await Self.letIn(stack, login) }
        } _: { stack in
            try await given?.value
            let rush = try await stack.stampede(
                "rush", "--orders", "200", "--units", "40", "--waitlist", "20", "--poor", "50", "--listeners", "0",
                "--timeout", "120", "--json"
            ).requireSuccess()
            #expect(try Report(rush.output).count("captured") == 40)
            let audit = try await stack.stampede("audit", "--json")
            #expect(audit.code == 0, "\(audit.output)")
            try await everySessionIsEncrypted(stack)
            try await whatIsNotAllowedIsRefused(stack, login, port: port)
            if login == .scram { try await whatServicesWarnOfIsSo(stack, port: port) }
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

    /// A listener for the services, beside the plain one of the machine itself, whose users may do everything.
    private static func secureKafka(_ stack: Stack, _ login: Login, port: Int) throws {
        let plain = stack.port("KAFKA")
        let protocolName = login == .certificate ? "SSL" : "SASL_SSL"
        try stack.add(
            "listeners=PLAINTEXT://127.0.0.1:\(plain),SECURE://127.0.0.1:\(port),CONTROLLER://127.0.0.1:\(plain + 1)",
            "advertised.listeners=PLAINTEXT://127.0.0.1:\(plain),SECURE://127.0.0.1:\(port)",
            "listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,SECURE:\(protocolName)",
            "listener.name.secure.ssl.keystore.type=PEM",
            "listener.name.secure.ssl.keystore.location=\(stack.folder)/kafka.pem",
            "authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer",
            "super.users=User:ANONYMOUS", "allow.everyone.if.no.acl.found=false",
            to: "kafka.properties")
        let security = "org.apache.kafka.common.security"
        switch login {
        case .plain:
            let users = principals.map { "user_\($0)=\"secret-of-\($0)\"" }
            try stack.add(
                "listener.name.secure.sasl.enabled.mechanisms=PLAIN",
                "listener.name.secure.plain.sasl.jaas.config=\(security).plain.PlainLoginModule required "
                    + users.joined(separator: " ") + ";",
                to: "kafka.properties")
        case .scram:
            try stack.add(
                "listener.name.secure.sasl.enabled.mechanisms=SCRAM-SHA-256,SCRAM-SHA-512",
                "listener.name.secure.scram-sha-256.sasl.jaas.config=\(security).scram.ScramLoginModule required;",
                "listener.name.secure.scram-sha-512.sasl.jaas.config=\(security).scram.ScramLoginModule required;",
                to: "kafka.properties")
        case .certificate:
            try stack.add(
                "listener.name.secure.ssl.client.auth=required",
                "listener.name.secure.ssl.truststore.type=PEM",
                "listener.name.secure.ssl.truststore.location=\(stack.folder)/ca.pem",
                to: "kafka.properties")
        }
    }

    private static func securePostgres(_ stack: Stack) throws {
        try stack.add(
            "ssl = on", "ssl_cert_file = '\(stack.folder)/server.pem'", "ssl_key_file = '\(stack.folder)/postgres.key'",
            to: "postgresql.conf")
    }

    /// Gives the principals their passwords and their rights, once Kafka answers.
    private static func letIn(_ stack: Stack, _ login: Login) async throws {
        let plain = "127.0.0.1:\(stack.port("KAFKA"))"
        try await stack.eventually(within: .seconds(90)) {
            let kafka = KafkaConfiguration(bootstrapServers: plain, clientID: "test", properties: ["log_level": "0"])
            return (try? await KafkaAdmin(kafka).describe(topics: [])) != nil
        }
        // A certificate's principal is its whole subject.
        let pattern = login == .certificate ? "User:CN=NAME" : "User:NAME"
        try await stack.run(
            program, ["topics", "rights", "--give", "--principal", pattern],
            adding: ["KAFKA_BOOTSTRAP_SERVERS": plain]
        ).requireSuccess()
        guard login == .scram else { return }
        let home = stack.environment["KAFKA_HOME"] ?? ""
        for principal in principals {
            let mechanism = properties(principal, by: login, stack)["sasl.mechanism"] ?? ""
            try await stack.run(
                "\(home)/bin/kafka-configs.sh",
                [
                    "--bootstrap-server", plain, "--alter", "--entity-type", "users", "--entity-name",
                    principal,
                    "--add-config", "\(mechanism)=[password=secret-of-\(principal)]",
                ]
            ).requireSuccess()
        }
    }
}
