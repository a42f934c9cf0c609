// What the tests of services share: a log to wait on, components that tell what happens to them, an environment.
import Foundation
import HTTP
import Kafka
import Models
import Observability
import Synchronization
import TestSupport

@testable import ServiceKit

/// A log that tests read and wait on.
final class TestLog: Sendable {
    private let recorder = Recorder<[String: String]>()

    var sink: LogSink {
        LogSink { bytes in
            guard let line = try? JSONSerialization.jsonObject(with: Data(bytes)) as? [String: String] else { return }
            self.append(line)
        }
    }

    var lines: [[String: String]] { recorder.events }

    func append(_ line: [String: String]) { recorder.record(line) }

    /// The first line of this message, now or later; an empty one when the task is cancelled before.
    func line(_ message: String, where condition: @escaping @Sendable ([String: String]) -> Bool = { _ in true }) async
        -> [String: String]
    {
        let matches: @Sendable ([String: String]) -> Bool = { $0["message"] == message && condition($0) }
        await recorder.wait { $0.contains(where: matches) }
        return lines.first(where: matches) ?? [:]
    }
}

/// Notes in order what happened.
final class Journal: Sendable {
    private let contents = Mutex<[String]>([])

    var entries: [String] { contents.withLock { $0 } }

    func note(_ entry: String) { contents.withLock { $0.append(entry) } }
}

/// A component whose start and stop are the test's.
struct Scripted: Component {
    let name: String
    let journal: Journal
    var starting: @Sendable () async throws -> Void = {}
    var stopping: @Sendable () async -> Void = {}
    var ready: @Sendable () -> Bool = { true }

    var isReady: Bool { ready() }

    func start() async throws {
        journal.note("start \(name)")
        try await starting()
    }

    func stop() async {
        journal.note("stop \(name)")
        await stopping()
    }
}

/// A service made of what a test gives it. The name of its schema is `tested`.
protocol TestedService: Service {
    static var topics: [Topic] { get }
    var routes: [Endpoint] { get }
    var components: [any Component] { get }
}

private struct Tested: Feature {
    let serves: [Endpoint]
    let publishes: [Topic]
    let repeats: [any Component]
}

extension TestedService {
    static var topics: [Topic] { [] }
    var routes: [Endpoint] { [] }
    var components: [any Component] { [] }
    var features: [any Feature] { [Tested(serves: routes, publishes: Self.topics, repeats: components)] }
    static var name: String { "tested" }
    static var summary: String { "Is tested." }
}

/// A database and an embedded broker for one test.
struct TestEnvironment {
    let database: TestDatabase
    let broker: EmbeddedBroker
    let variables: [String: String]

    static func make(topics: [Topic] = []) async throws -> TestEnvironment {
        let database = try await TestPostgres.shared().database(schemas: ["tested"])
        let broker = try EmbeddedBroker()
        for topic in topics { try broker.createTopic(topic.name, partitions: topic.partitions) }
        return TestEnvironment(
            database: database, broker: broker,
            variables: [
                "KAFKA_BOOTSTRAP_SERVERS": broker.bootstrapServers, "STAMPEDE_POSTGRES_DSN": database.dsn("tested"),
                "STAMPEDE_LOG_LEVEL": "info",
            ])
    }
}

extension HTTPClient {
    /// A GET that is answered or fails.
    func get(_ url: String, headers: [(String, String)] = []) async throws -> (
        status: Int, body: String, ClientResponse
    ) {
        let response = try await send(ClientRequest(.get, url, headers: headers))
        return (response.status, String(decoding: response.body, as: UTF8.self), response)
    }
}
