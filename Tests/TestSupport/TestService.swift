// One service as it runs in production, with a broker and a database of its own, and what its tests ask of it.
import Foundation
import HTTP
import JSON
import Kafka
import Models
import Observability
import Security
import ServiceKit
import Synchronization

/// A running service. Its broker holds all of Stampede's topics; other services are played by the test, which publishes
/// what they would and signs access tokens as messaging would.
///
///     let service = try await TestService.start(CatalogService.self)
///     let answer = try await service.call(.get, "/v1/products", token: service.token(.person))
///
/// Answers are held against the service's OpenAPI document as they come, and statements against how they are planned.
package final class TestService<Running: Service>: Sendable {
    package let broker: EmbeddedBroker
    package let database: TestDatabase
    package let kafka: KafkaConfiguration
    package let producer: KafkaProducer
    private let key: SigningKey
    private let root: RootSecret
    private let environment: [String: String]
    private let clock: @Sendable () -> Timestamp
    private let http: HTTPClient
    private let document: OpenAPIDocument?
    private let topics: AsyncAPIDocument
    private let running = Mutex<RunningService<Running>?>(nil)
    private let log = Logger(service: "test", level: .error)

    /// Starts the service.
    /// - Parameters:
    ///   - documented: whether `docs/openapi` has a document of it.
    ///   - before: runs when broker and database are there and the service is not.
    package static func start(
        _ type: Running.Type, environment: [String: String] = [:], documented: Bool = true,
        now: @escaping @Sendable () -> Timestamp = { .now() },
        before: @Sendable (TestService) async throws -> Void = { _ in }
    ) async throws -> TestService {
        let service = try await TestService(environment, documented: documented, now)
        try await before(service)
        try await service.restart()
        return service
    }

    private init(
        _ environment: [String: String], documented: Bool, _ clock: @escaping @Sendable () -> Timestamp
    ) async throws {
        broker = try EmbeddedBroker()
        for topic in Topic.allCases {
            try broker.createTopic(topic.name, partitions: topic.partitions)
            try broker.createTopic(topic.deadLetters, partitions: topic.partitions)
        }
        database = try await TestPostgres.shared().database(schemas: [Running.name])
        kafka = KafkaConfiguration(bootstrapServers: broker.bootstrapServers, clientID: "test")
        producer = try KafkaProducer(kafka, log: log, metrics: Metrics())
        key = try SigningKey.generate()
        root = try TestRoot.secret()
        http = try HTTPClient()
        topics = try AsyncAPIDocument()
        document = documented ? try OpenAPIDocument(service: Running.name) : nil
        self.clock = clock
        let declared = Set(Running.configurationKeys.map(\.name))
        var standard = [
            "KAFKA_BOOTSTRAP_SERVERS": broker.bootstrapServers, "STAMPEDE_POSTGRES_DSN": database.dsn(Running.name),
            // A test asks faster than anybody's phone.
            "STAMPEDE_HTTP_ACCOUNT_RATE": "1000000",
        ]
        if declared.contains("STAMPEDE_ROOT_KEYS") { standard["STAMPEDE_ROOT_KEYS"] = root.publicKey }
        standard.merge(TestPublishers.settings.filter { declared.contains($0.key) }) { $1 }
        self.environment = standard.merging(environment) { $1 }
        try await publish(
            .keys, key: Array(key.keyID.utf8), id: key.keyID,
            VerificationKey(keyId: key.keyID, jwk: key.publicJWK, notAfter: .distantFuture, provenBy: root.proof))
    }

    /// Publishes a key as somebody would who may write to the topic: with the proof that is given, or none. The service has
    /// read it when this returns.
    package func publish(_ key: SigningKey, proof: String?) async throws {
        try await publish(
            .keys, key: Array(key.keyID.utf8), id: key.keyID,
            VerificationKey(keyId: key.keyID, jwk: key.publicJWK, notAfter: .distantFuture, proof: proof))
    }

    /// Ends a session as messaging would, or, without a proof, as somebody who may write to the topic.
    package func end(_ session: SessionID, isProven: Bool = true) async throws {
        let until = Timestamp.now().adding(seconds: 3600)
        let ended = SessionEnded(sessionId: session, refusedUntil: until, provenBy: root.proof)
        try await publish(
            .keys, key: session, isProven ? ended : SessionEnded(sessionId: session, refusedUntil: until))
    }

    /// Stops the service, if it runs, and starts it again on the same broker and database.
    package func restart() async throws {
        await stopService()
        let started = try await RunningService.start(Running.self, environment: environment, now: clock)
        running.withLock { $0 = started }
    }

    /// Stops the service; broker and database stay.
    package func stopService() async {
        let last = running.withLock { running in
            defer { running = nil }
            return running
        }
        if let last { await StatementPlans.shared.look(at: last) }
        await last?.stop()
    }

    /// Stops everything.
    package func stop() async {
        await stopService()
        await http.close()
        await producer.close(timeoutSeconds: 5)
        broker.close()
    }

    package var service: Running? { running.withLock { $0?.service } }
    /// How the service's routes and its OpenAPI document differ.
    package var routeProblems: [String] { document?.problems(of: service?.endpoints ?? []) ?? ["there is no document"] }

    /// How many bytes a body may have, for those of the operations that are asked for.
    package func bodyLimits(of operations: some Sequence<String>) -> [String: Int] {
        let asked = Set(operations)
        let limits = (service?.endpoints ?? []).map { ("\($0.method.rawValue) \($0.pattern)", $0.bodyBytesMax) }
        return Dictionary(limits.filter { asked.contains($0.0) }) { first, _ in first }
    }

    // MARK: Requests

    /// An access token that is valid for an hour.
    package func token(
        _ kind: AccountKind, of account: AccountID = .random(), session: SessionID = .random(),
        signedBy other: SigningKey? = nil
    ) throws -> String {
        try token(kind, of: account, session: session, secondsLeft: 3600, signedBy: other ?? key)
    }

    /// A token that is refused: out of date, or of a key that is not ours.
    package func badTokens() throws -> [String] {
        [
            try token(.brand, of: .random(), secondsLeft: -1, signedBy: key),
            try token(.brand, of: .random(), secondsLeft: 3600, signedBy: SigningKey.generate()),
            "not.a.token", "x",
        ]
    }

    private func token(
        _ kind: AccountKind, of account: AccountID, session: SessionID = .random(), secondsLeft: Int64,
        signedBy key: SigningKey
    ) throws -> String {
        let now = Timestamp.now().microseconds / 1_000_000
        return try key.sign(
            claims: AccessClaims(
                sub: account, kind: kind, sid: session, iat: min(now, now + secondsLeft) - 1, exp: now + secondsLeft))
    }

    package struct Answer: Sendable {
        package let status: Int
        package let headers: HeaderFields
        package let body: DocumentTree

        package subscript(_ name: String) -> DocumentTree? { body[name] }
        package var items: [DocumentTree] { body["items"]?.elements ?? [] }
        /// The slug of a problem.
        package var problem: String? { body["type"]?.string?.split(separator: ":").last.map(String.init) }
        /// The fields that a problem names.
        package var wrongFields: [String] { body["fields"]?.elements.compactMap { $0["field"]?.string } ?? [] }
    }

    /// An answer or a record that the documents do not know.
    package struct Undocumented: Error, CustomStringConvertible {
        package let problems: [String]
        package var description: String { problems.joined(separator: "; ") }
    }

    /// - Throws: `Undocumented` when the answer does not fit the OpenAPI document, or `HTTPClientError`.
    @discardableResult
    package func call(
        _ method: HTTPMethod, _ path: String, _ body: [UInt8] = [], token: String? = nil,
        contentType: String = "application/json", headers: [(String, String)] = []
    ) async throws -> Answer {
        guard let running = running.withLock({ $0 }) else { throw HTTPClientError.connection("the service is stopped") }
        var headers = headers
        if let token { headers.append(("Authorization", "Bearer \(token)")) }
        if !body.isEmpty { headers.append(("Content-Type", contentType)) }
        let response = try await http.send(
            ClientRequest(method, running.httpURL + path, headers: headers, body: body))
        if let document, let pattern = pattern(method, path, of: running.service.endpoints) {
            let problems = document.problems(
                method: method.rawValue, path: pattern, status: response.status, body: response.body,
                mediaType: response.header("Content-Type") ?? "application/json", headers: response.headers)
            if !problems.isEmpty { throw Undocumented(problems: problems) }
        }
        return Answer(
            status: response.status, headers: response.headers,
            body: response.body.isEmpty ? .null : try DocumentTree(json: response.body))
    }

    /// The route's pattern that a path fits: a literal segment is preferred to a parameter.
    private func pattern(_ method: HTTPMethod, _ path: String, of routes: [Endpoint]) -> String? {
        let segments = path.prefix { $0 != "?" }.split(separator: "/")
        func literals(_ route: Endpoint) -> Int { route.pattern.split(separator: "/").count { $0.first != "{" } }
        let fitting = routes.filter { route in
            let parts = route.pattern.split(separator: "/")
            return route.method == method && parts.count == segments.count
                && zip(parts, segments).allSatisfy { $0 == $1 || $0.first == "{" }
        }
        return fitting.max { literals($0) < literals($1) }?.pattern
    }

    // MARK: Events

    /// Publishes an event as another service would, and returns when the broker has it.
    package func publish<Payload: EventPayload>(
        _ topic: Topic, key: [UInt8], id: String, _ payload: Payload, signedBy signer: PublisherKey? = nil
    ) async throws {
        var batch = RecordBatch()
        batch.append(event: payload, topic: topic, key: key, id: id, signedBy: signer)
        try await producer.send(batch)
    }

    package func publish<Kind, Payload: EventPayload>(
        _ topic: Topic, key: Identifier<Kind>, id: String = UUID().uuidString, _ payload: Payload,
        signedBy signer: PublisherKey? = nil
    ) async throws {
        try await publish(topic, key: key.textBytes, id: id, payload, signedBy: signer)
    }

    /// Reads a topic from its beginning until `enough` says so of the records so far, each partition's in order.
    /// - Throws: `Undocumented` when a record of the service does not fit `docs/asyncapi.yaml`.
    package func records(
        of topic: String, until enough: ([ConsumedRecord]) -> Bool
    ) async throws -> [ConsumedRecord] {
        let reader = try await TopicReader(kafka, topic: topic, from: .beginning, log: log, metrics: Metrics())
        var records: [ConsumedRecord] = []
        while !enough(records), let batches = try await reader.next(recordsMax: 10_000) {
            records += batches.joined()
        }
        await reader.close()
        let source = Array("/stampede/\(Running.name)".utf8)
        let problems = records.filter { record in
            record.header("ce_source")?.elementsEqual(source) == true || record.topic.hasSuffix(".dead")
        }.flatMap(topics.problems)
        if !problems.isEmpty { throw Undocumented(problems: problems) }
        return records
    }

    /// The events of one type on a topic, once there are as many as asked for. One that came twice, under the same ID,
    /// is one.
    package func events<Payload: EventPayload>(
        _ type: Payload.Type, on topic: Topic, count: Int
    ) async throws -> [Payload] {
        func isOne(_ record: ConsumedRecord) -> Bool {
            record.header("ce_type")?.elementsEqual(Payload.type.utf8) == true && record.value != nil
        }
        func events(_ records: [ConsumedRecord]) -> [ConsumedRecord] {
            var seen: Set<ByteView> = []
            return records.filter { isOne($0) && seen.insert($0.header("ce_id") ?? ByteView([])).inserted }
        }
        return try await events(records(of: topic.name) { events($0).count >= count }).map { record in
            try JSONParser.parse(Array(record.value ?? ByteView([])), Payload.init(json:))
        }
    }
}

extension RecordBatch {
    /// Appends an event as its owner publishes it: CloudEvents in binary mode.
    package mutating func append<Payload: EventPayload>(
        event: Payload, topic: Topic, key: [UInt8], id: String, signedBy signer: PublisherKey? = nil
    ) {
        let value = JSONWriter.document(event)
        let proof = signer?.proof(type: Payload.type.utf8, id: id.utf8, key: key, value: value)
        append(topic: topic.name, key: key, value: value) { headers in
            headers.add("ce_specversion", "1.0".utf8)
            headers.add("ce_id", id.utf8)
            headers.add("ce_type", Payload.type.utf8)
            headers.add("ce_source", "/test".utf8)
            headers.add("content-type", "application/json".utf8)
            if let proof { headers.add("\(PublisherKey.header)", proof) }
        }
    }
}

extension Identifier {
    /// A new identifier, of the present moment.
    package static func random() -> Identifier {
        .v7(at: .now(), random: (Random.uint64(), Random.uint64()))
    }
}
