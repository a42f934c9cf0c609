// Encryption, identities and rights: one small sale with all of them, and what is refused.
import CatalogCore
import Foundation
import Kafka
import MessagingCore
import Models
import NotificationCore
import Observability
import PaymentCore
import Postgres
import ReservationCore
import ServiceKit
import Testing

@testable import StampedeCore

@Suite(.serialized) struct SecurityTests {
    /// The rights are what the services name as theirs, no more and no less, and the document says so.
    @Test func rightsAreThoseOfTheTopicsThatAServiceNames() throws {
        let named: [Settings.Service: [Topic]] = [
            .messaging: MessagingService.topics, .catalog: CatalogService.topics,
            .reservation: ReservationService.topics, .payment: PaymentService.topics,
            .notification: NotificationService.topics,
        ]
        let document = try String(contentsOfFile: "\(Stack.root)/docs/security.md", encoding: .utf8)
        for rights in AccessRights.all where !rights.isOperator {
            if let service = Settings.Service(rawValue: rights.holder) {
                let allowed = Set(rights.reads + rights.writes).filter { !$0.hasSuffix(".dead") }
                #expect(allowed == Set(named[service]?.map(\.name) ?? []), "\(service)")
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

    @Test(.enabled(if: Stack.brokers.contains(.apache), "needs Apache Kafka: KAFKA_HOME"))
    func aSaleWithTLSAndSASLAndNoMoreRightsThanNeeded() async throws {
        let ports = try FreePorts.pick(2)
        var given: Task<Void, any Error>?
        try await Stack.with(.apache) { stack in
            try await Self.makeCertificates(stack)
            try Self.secureKafka(stack, port: ports[0])
            try Self.securePostgres(stack)
            for service in Settings.Service.allCases {
                try stack.add(
                    "KAFKA_BOOTSTRAP_SERVERS=127.0.0.1:\(ports[0])",
                    "STAMPEDE_POSTGRES_DSN=\"$STAMPEDE_POSTGRES_DSN?sslmode=verify-full&sslrootcert=\(stack.folder)/ca.pem\"",
                    to: "\(service.rawValue).environment")
                for (name, value) in Self.login(service.rawValue, stack) {
                    let variable = "STAMPEDE_KAFKA_\(name.uppercased().replacing(".", with: "_"))"
                    try stack.add("\(variable)=\(value)", to: "\(service.rawValue).environment")
                }
            }
            // While `up` waits for the services, which wait to be let in.
            given = Task { try await Self.letIn(stack) }
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
            try await whatIsNotAllowedIsRefused(stack, port: ports[0])
            for mechanism in Self.scramMechanisms {
                try await scramIsLetInUnlessTheLibraryIsTooOld(stack, port: ports[0], mechanism)
            }
        }
    }

    // MARK: What is refused

    private func whatIsNotAllowedIsRefused(_ stack: Stack, port: Int) async throws {
        func configuration(_ principal: String, password: String? = nil) -> KafkaConfiguration {
            var properties = Self.login(principal, stack)
            if let password { properties["sasl.password"] = password }
            properties["message.timeout.ms"] = "8000"
            return KafkaConfiguration(
                bootstrapServers: "127.0.0.1:\(port)", clientID: "test", properties: properties)
        }
        func publish(_ topic: String, as configuration: KafkaConfiguration) async throws {
            let producer = try KafkaProducer(
                configuration, log: Logger(service: "test", level: .error, sink: LogSink { _ in }), metrics: Metrics())
            defer { Task { await producer.close(timeoutSeconds: 1) } }
            try await producer.send(topic: topic, key: Array("key".utf8), value: nil)
        }
        // Its own, as a proof that the refusals below are about rights.
        try await publish("notifications.dead", as: configuration("messaging"))
        let refused = await #expect(throws: KafkaError.self) {
            try await publish("orders", as: configuration("notification"))
        }
        #expect(refused?.name == "TOPIC_AUTHORIZATION_FAILED", "\(String(describing: refused))")
        // What one may not see is not there.
        let unread = await #expect(throws: KafkaError.self) {
            _ = try await TopicScan(configuration("catalog"), topic: "payments", from: .beginning, toEnd: true)
        }
        #expect(unread?.isUnknownTopic == true, "\(String(describing: unread))")
        await #expect(throws: KafkaError.self) {
            try await publish("notifications.dead", as: configuration("messaging", password: "wrong"))
        }
    }

    private func scramIsLetInUnlessTheLibraryIsTooOld(_ stack: Stack, port: Int, _ mechanism: String) async throws {
        func isLetIn(_ configuration: KafkaConfiguration) async throws -> Bool {
            let producer = try KafkaProducer(
                configuration, log: Logger(service: "test", level: .error, sink: LogSink { _ in }), metrics: Metrics())
            let names = try? await producer.topicPartitions(timeoutSeconds: 6)
            await producer.close(timeoutSeconds: 1)
            return names != nil
        }
        var configuration = KafkaConfiguration(
            bootstrapServers: "127.0.0.1:\(port)", clientID: "test",
            properties: Self.login(mechanism, stack, mechanism: mechanism))
        #expect(try await isLetIn(configuration) == (configuration.caution == nil))
        if let caution = configuration.caution { print("SKIPPED: \(mechanism); \(caution)") }
        configuration.properties["sasl.password"] = "wrong"
        #expect(try await !isLetIn(configuration))
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

    /// Each has a user who is called as it is.
    private static let scramMechanisms = ["SCRAM-SHA-256", "SCRAM-SHA-512"]

    private static func login(
        _ principal: String, _ stack: Stack, mechanism: String = "PLAIN"
    ) -> [String: String] {
        [
            "security.protocol": "SASL_SSL", "ssl.ca.location": "\(stack.folder)/ca.pem", "sasl.mechanism": mechanism,
            "sasl.username": principal, "sasl.password": "secret-of-\(principal)",
        ]
    }

    /// An authority of its own, and a certificate for this machine that it signed.
    private static func makeCertificates(_ stack: Stack) async throws {
        let script = """
            set -eu
            cd "$1"
            openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj '/CN=Authority of a test' -keyout ca.key -out ca.pem
            openssl req -newkey rsa:2048 -nodes -subj /CN=localhost -keyout server.key -out server.csr
            printf 'subjectAltName=DNS:localhost,IP:127.0.0.1' > server.ext
            openssl x509 -req -in server.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile server.ext \
                -out server.pem
            cat server.key server.pem ca.pem > kafka.pem
            cp server.key postgres.key
            chmod 600 postgres.key
            [ "$(id -u)" != 0 ] || chown postgres: postgres.key
            """
        try await stack.run("/bin/bash", ["-c", script, "bash", stack.folder]).requireSuccess()
    }

    /// A listener for the services, beside the plain one of the machine itself, whose users may do everything.
    private static func secureKafka(_ stack: Stack, port: Int) throws {
        let plain = stack.port("KAFKA")
        let users = (Settings.Service.allCases.map(\.rawValue)).map { "user_\($0)=\"secret-of-\($0)\"" }
        try stack.add(
            "listeners=PLAINTEXT://127.0.0.1:\(plain),SECURE://127.0.0.1:\(port),CONTROLLER://127.0.0.1:\(plain + 1)",
            "advertised.listeners=PLAINTEXT://127.0.0.1:\(plain),SECURE://127.0.0.1:\(port)",
            "listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,SECURE:SASL_SSL",
            "listener.name.secure.ssl.keystore.type=PEM",
            "listener.name.secure.ssl.keystore.location=\(stack.folder)/kafka.pem",
            "listener.name.secure.sasl.enabled.mechanisms=PLAIN,SCRAM-SHA-256,SCRAM-SHA-512",
            "listener.name.secure.plain.sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule required "
                + users.joined(separator: " ") + ";",
            "listener.name.secure.scram-sha-256.sasl.jaas.config="
                + "org.apache.kafka.common.security.scram.ScramLoginModule required;",
            "listener.name.secure.scram-sha-512.sasl.jaas.config="
                + "org.apache.kafka.common.security.scram.ScramLoginModule required;",
            "authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer",
            "super.users=User:ANONYMOUS", "allow.everyone.if.no.acl.found=false",
            to: "kafka.properties")
    }

    private static func securePostgres(_ stack: Stack) throws {
        try stack.add(
            "ssl = on", "ssl_cert_file = '\(stack.folder)/server.pem'", "ssl_key_file = '\(stack.folder)/postgres.key'",
            to: "postgresql.conf")
    }

    /// Gives the principals their passwords and their rights, once Kafka answers.
    private static func letIn(_ stack: Stack) async throws {
        let plain = "127.0.0.1:\(stack.port("KAFKA"))"
        try await stack.eventually(within: .seconds(90)) {
            let kafka = KafkaConfiguration(bootstrapServers: plain, clientID: "test", properties: ["log_level": "0"])
            return (try? await KafkaAdmin(kafka).describe(topics: [])) != nil
        }
        let home = stack.environment["KAFKA_HOME"] ?? ""
        try await withThrowingTaskGroup(of: Void.self) { group in
            for mechanism in scramMechanisms {
                group.addTask {
                    try await stack.run(
                        "\(home)/bin/kafka-configs.sh",
                        [
                            "--bootstrap-server", plain, "--alter", "--entity-type", "users", "--entity-name",
                            mechanism,
                            "--add-config", "\(mechanism)=[password=secret-of-\(mechanism)]",
                        ]
                    ).requireSuccess()
                }
            }
            group.addTask {
                try await stack.run(
                    "\(Stack.root)/.build/debug/stampede", ["topics", "rights", "--give"],
                    adding: ["KAFKA_BOOTSTRAP_SERVERS": plain]
                ).requireSuccess()
            }
            try await group.waitForAll()
        }
    }
}
