// Brokers for tests: librdkafka's in-memory cluster always, and Apache Kafka where `KAFKA_HOME` says that there is one.
import Foundation
import Kafka
import Synchronization

/// A broker that tests share. Topics and groups have names of their own, so tests do not meet.
package struct TestBroker: Sendable {
    package enum Kind: String, Sendable, CaseIterable {
        /// Librdkafka's mock cluster in this process.
        case embedded
        /// Apache Kafka, one for each test process, started when it is first asked for.
        case apache
    }

    /// What contract suites run on: `@Test(arguments: TestBroker.kinds)`.
    package static let kinds: [Kind] = kafkaHome == nil ? [.embedded] : Kind.allCases

    package let kind: Kind
    package let bootstrapServers: String
    /// For injecting faults; nil on Apache Kafka.
    package let embedded: EmbeddedBroker?

    /// The process's shared broker of that kind, or a fresh embedded one: for fixed topic names and for faults.
    package static func make(_ kind: Kind = .embedded, fresh: Bool = false) async throws -> TestBroker {
        switch kind {
        case .embedded:
            let broker = fresh ? try EmbeddedBroker() : try sharedEmbedded.get()
            return TestBroker(kind: kind, bootstrapServers: broker.bootstrapServers, embedded: broker)
        case .apache:
            return TestBroker(kind: kind, bootstrapServers: try await sharedApache.value, embedded: nil)
        }
    }

    package var configuration: KafkaConfiguration { configuration([:]) }

    package func configuration(_ properties: [String: String]) -> KafkaConfiguration {
        KafkaConfiguration(bootstrapServers: bootstrapServers, clientID: "test", properties: properties)
    }

    /// Members that are gone are noticed early: the embedded broker lets the first member wait for 3 s and must not
    /// expel it meanwhile; Apache Kafka allows no less than 6 s.
    package var memberConfiguration: KafkaConfiguration {
        configuration([
            "session.timeout.ms": kind == .embedded ? "4000" : "6000", "heartbeat.interval.ms": "300",
        ])
    }

    /// Makes a topic whose name begins with `prefix` and is not used yet; returns the name.
    package func topic(
        _ prefix: String = "test", partitions: Int32 = 3, configuration: [String: String] = [:]
    ) async throws -> String {
        let name = Self.uniqueName(prefix)
        try await create([
            TopicSpecification(name: name, partitions: partitions, configuration: configuration)
        ])
        return name
    }

    /// Makes topics of exactly these names; those that exist stay.
    package func create(_ topics: [TopicSpecification]) async throws {
        if let embedded {
            for topic in topics { try? embedded.createTopic(topic.name, partitions: topic.partitions) }
        }
        try await KafkaAdmin(self.configuration).create(topics: topics)
    }

    package static func uniqueName(_ prefix: String) -> String {
        "\(prefix)-\(getpid())-\(names.add(1, ordering: .relaxed).newValue)"
    }

    private static let names = Atomic(0)

    private static let kafkaHome: String? = {
        let home = ProcessInfo.processInfo.environment["KAFKA_HOME"] ?? ""
        return home.isEmpty ? nil : home
    }()

    private static let sharedEmbedded: Result<EmbeddedBroker, any Error> = Result { try EmbeddedBroker() }

    private static let sharedApache = Task<String, any Error> {
        guard let kafkaHome else { throw Failure(description: "KAFKA_HOME is not set") }
        // It takes seconds, which is not for the threads that tasks run on.
        return try await withCheckedThrowingContinuation { continuation in
            Thread.detachNewThread {
                continuation.resume(with: Result { try ApacheBroker.start(home: kafkaHome) })
            }
        }
    }

    struct Failure: Error, CustomStringConvertible { let description: String }
}

/// One Apache Kafka node in a temporary folder, which ends with this process however that ends.
private enum ApacheBroker {
    static func start(home: String) throws -> String {
        let folder = FileManager.default.temporaryDirectory.appending(path: TestBroker.uniqueName("stampede-kafka"))
            .path
        let port = try FreePorts.take(2)
        let singleNode = "\(home)/bin/single-node"
        if FileManager.default.isExecutableFile(atPath: singleNode) {
            try run(#"exec "$1" start --dir "$2" --port "$3""#, [singleNode, folder, "\(port)"])
        } else {
            try startDistribution(home: home, folder: folder, port: port)
        }
        try watch(folder)
        return "127.0.0.1:\(port)"
    }

    /// The distribution's own scripts, as its quick start has it.
    private static func startDistribution(home: String, folder: String, port: Int) throws {
        let settings = """
            process.roles=broker,controller
            node.id=1
            controller.quorum.voters=1@127.0.0.1:\(port + 1)
            listeners=PLAINTEXT://127.0.0.1:\(port),CONTROLLER://127.0.0.1:\(port + 1)
            controller.listener.names=CONTROLLER
            listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT
            log.dirs=\(folder)/data
            offsets.topic.replication.factor=1
            transaction.state.log.replication.factor=1
            transaction.state.log.min.isr=1
            group.initial.rebalance.delay.ms=0
            auto.create.topics.enable=false
            """
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        try settings.write(toFile: "\(folder)/server.properties", atomically: true, encoding: .utf8)
        let script = """
            set -eu
            "$1/bin/kafka-storage.sh" format -c "$2/server.properties" \
              -t "$("$1/bin/kafka-storage.sh" random-uuid)" > "$2/format.log" 2>&1
            setsid "$1/bin/kafka-server-start.sh" "$2/server.properties" > "$2/server.log" 2>&1 < /dev/null &
            echo $! > "$2/pid"
            for _ in $(seq 600); do
              if grep -q 'Kafka Server started' "$2/server.log"; then exit 0; fi
              kill -0 "$(cat "$2/pid")"
              sleep 0.1
            done
            exit 75
            """
        try run(script, [home, folder])
    }

    /// Starts a shell that reads from a pipe which only this process holds: when the process is gone, the shell reads
    /// its end, kills the broker and removes the folder.
    private static func watch(_ folder: String) throws {
        let script = #"cat > /dev/null; kill -9 -- "$(cat "$1/pid")" 2> /dev/null; rm -rf "$1"; sleep 0.2; rm -rf "$1""#
        let pipe = Pipe()
        _ = fcntl(pipe.fileHandleForWriting.fileDescriptor, F_SETFD, FD_CLOEXEC)
        _ = try Subprocess(
            ["/bin/bash", "-c", script, "bash", folder], input: pipe.fileHandleForReading.fileDescriptor)
        held.withLock { $0 = pipe }
    }

    private static let held = Mutex<Pipe?>(nil)

    private static func run(_ script: String, _ arguments: [String]) throws {
        let process = try Subprocess(
            ["/bin/bash", "-c", script, "bash"] + arguments,
            environment: ProcessInfo.processInfo.environment.merging(["KAFKA_HEAP_OPTS": "-Xmx512m"]) { $1 })
        let status = process.wait()
        guard status == 0 else {
            throw TestBroker.Failure(description: "Kafka's start ended with status \(status)")
        }
    }
}
