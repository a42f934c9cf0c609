// A messaging service that runs, with Postgres and a broker of its own, and a client that holds every answer against
// the OpenAPI document.
import Foundation
import HTTP
import JSON
import Kafka
import Models
import Observability
import Postgres
import Security
import ServiceKit
import Synchronization
import TestSupport
import Testing

@testable import MessagingCore

/// One installation. Tests share one and keep out of each other's way by making accounts and sales of their own.
final class Chat: Sendable {
    static let operatorSecret = "the operator's secret"

    let service: RunningService<MessagingService>
    let broker: EmbeddedBroker
    let database: TestDatabase
    let producer: KafkaProducer
    let http: HTTPClient
    let document: OpenAPIDocument
    private let patterns: [(method: String, segments: [String])]

    static func shared() async throws -> Chat { try await one.value }
    private static let one = Task { try await Chat() }

    init() async throws {
        broker = try EmbeddedBroker()
        for topic in Topic.allCases {
            try broker.createTopic(topic.name, partitions: topic.partitions)
            try broker.createTopic(topic.deadLetters, partitions: 1)
        }
        database = try await TestPostgres.shared().database(schemas: ["messaging"])
        let kafka = KafkaConfiguration(bootstrapServers: broker.bootstrapServers, clientID: "test")
        producer = try KafkaProducer(kafka, log: Logger(service: "test", level: .error), metrics: Metrics())
        http = try HTTPClient()
        document = try OpenAPIDocument(service: "messaging")
        service = try await RunningService.start(
            MessagingService.self, environment: Self.environment(broker, database))
        patterns = service.service.endpoints.map {
            ($0.method.rawValue, $0.pattern.split(separator: "/").map(String.init))
        }
    }

    static func environment(_ broker: EmbeddedBroker, _ database: TestDatabase) -> [String: String] {
        [
            "KAFKA_BOOTSTRAP_SERVERS": broker.bootstrapServers,
            "STAMPEDE_POSTGRES_DSN": database.dsn("messaging"),
            "STAMPEDE_OPERATOR_SECRET": operatorSecret, "STAMPEDE_ROOT_SECRET": TestRoot.text,
            "STAMPEDE_ORDER_SECRET": TestPublishers.settings["STAMPEDE_ORDER_SECRET"] ?? "",
            // All of them sign up from here.
            "STAMPEDE_SIGN_UPS_PER_MINUTE": "1000000",
            // A test asks faster than anybody's phone.
            "STAMPEDE_HTTP_ACCOUNT_RATE": "1000000",
        ]
    }

    // MARK: Requests

    struct Answer: Sendable {
        let status: Int
        let body: DocumentTree
        let headers: HeaderFields

        subscript(_ name: String) -> DocumentTree? { body[name] }
        var items: [DocumentTree] { body["items"]?.elements ?? [] }
        /// The slug of a problem.
        var problem: String? { body["type"]?.string?.split(separator: ":").last.map(String.init) }
        var wrongFields: [String] { body["fields"]?.elements.compactMap { $0["field"]?.string } ?? [] }
    }

    /// Sends a request; an answer that the document does not know fails the test.
    @discardableResult
    func call(
        _ method: HTTPMethod, _ path: String, _ body: String? = nil, token: String? = nil,
        headers: [(String, String)] = [], port: UInt16? = nil, location: SourceLocation = #_sourceLocation
    ) async throws -> Answer {
        var headers = headers
        if let token { headers.append(("Authorization", "Bearer \(token)")) }
        if body != nil, !headers.contains(where: { $0.0 == "Content-Type" }) {
            headers.append(("Content-Type", "application/json"))
        }
        let response = try await http.send(
            ClientRequest(
                method, "http://127.0.0.1:\(port ?? service.httpPort)\(path)", headers: headers,
                body: Array((body ?? "").utf8)))
        await StatementPlans.shared.look(at: service)
        if let pattern = pattern(method.rawValue, path) {
            let type = response.header("Content-Type") ?? "application/json"
            #expect(
                document.problems(
                    method: method.rawValue, path: pattern, status: response.status, body: response.body,
                    mediaType: type, headers: response.headers) == [],
                sourceLocation: location)
        }
        return Answer(
            status: response.status, body: response.body.isEmpty ? .null : try DocumentTree(json: response.body),
            headers: response.headers)
    }

    private func pattern(_ method: String, _ path: String) -> String? {
        let segments = path.prefix { $0 != "?" }.split(separator: "/").map(String.init)
        let fitting = patterns.filter { pattern in
            pattern.method == method && pattern.segments.count == segments.count
                && zip(pattern.segments, segments).allSatisfy { $0 == $1 || $0.hasPrefix("{") }
        }
        // A literal is preferred to a parameter.
        let best = fitting.max {
            $0.segments.filter { !$0.hasPrefix("{") }.count < $1.segments.filter { !$0.hasPrefix("{") }.count
        }
        return best.map { "/" + $0.segments.joined(separator: "/") }
    }

    // MARK: People, brands, sales

    struct Member: Sendable {
        let id: AccountID
        let handle: String
        let token: String
        let refreshToken: String
    }

    static let password = "correct horse battery"

    func person(_ name: String = "p") async throws -> Member {
        let handle = "\(name)-\(UUID().uuidString.prefix(8).lowercased())"
        let answer = try await call(.post, "/v1/accounts", Self.signUp(handle))
        return try member(answer, handle)
    }

    func brand() async throws -> Member {
        let handle = "brand-\(UUID().uuidString.prefix(8).lowercased())"
        let answer = try await call(.post, "/v1/operator/brands", Self.signUp(handle), token: operatorToken())
        return try member(answer, handle)
    }

    private func member(_ answer: Answer, _ handle: String) throws -> Member {
        Member(
            id: try #require(answer["account"]?["accountId"]?.string.flatMap(AccountID.init)), handle: handle,
            token: try #require(answer["accessToken"]?.string),
            refreshToken: try #require(answer["refreshToken"]?.string))
    }

    static func signUp(_ handle: String) -> String {
        #"{"handle":"\#(handle)","password":"\#(password)","displayName":"Name of \#(handle)","locale":"en"}"#
    }

    func signIn(_ handle: String, _ password: String = Chat.password) async throws -> Answer {
        try await call(.post, "/v1/sessions", #"{"handle":"\#(handle)","password":"\#(password)"}"#)
    }

    func refresh(_ token: String) async throws -> Answer {
        try await call(.post, "/v1/sessions/refresh", #"{"refreshToken":"\#(token)"}"#)
    }

    func isRefused(_ token: String, port: UInt16? = nil) async throws -> Bool {
        try await call(.get, "/v1/brands", token: token, port: port).status == 401
    }

    func operatorToken() async throws -> String {
        let answer = try await call(.post, "/v1/operator/session", #"{"secret":"\#(Self.operatorSecret)"}"#)
        return try #require(answer["accessToken"]?.string)
    }

    /// Publishes a sale and waits until the service knows it.
    func sale(of brand: AccountID, opensIn seconds: Int64 = -60, closesIn: Int64? = nil) async throws -> Sale {
        let sale = Sale(
            saleId: .random(), brandId: brand, productId: .random(), title: try #require(LocalizedText(["en": "Noon"])),
            revision: 1, holdSeconds: 120, waitlistMax: 10,
            batches: [
                Sale.Batch(
                    number: 1, opensAt: .now().adding(seconds: seconds),
                    closesAt: closesIn.map { .now().adding(seconds: $0) },
                    lines: [Sale.Line(variant: "mi3-silver-16", units: 10, price: Money(199_900, .cny))])
            ])
        try await publish(.sales, sale.saleId, sale)
        let probe = try await person("probe")
        try await eventually("the sale is known") {
            try await self.call(.post, "/v1/orders", self.order(sale.saleId, variant: "none"), token: probe.token)
                .problem
                != "sale-not-found"
        }
        return sale
    }

    func order(_ sale: SaleID, variant: String = "mi3-silver-16", client: String = UUID().uuidString) -> String {
        #"{"clientOrderId":"\#(client)","saleId":"\#(sale)","variant":"\#(variant)"}"#
    }

    // MARK: The log

    func publish<Kind>(_ topic: Topic, _ key: Identifier<Kind>, _ payload: some EventPayload) async throws {
        try await publish(topic, [(key.textBytes, payload)])
    }

    func publish<Payload: EventPayload>(_ topic: Topic, _ events: [(key: [UInt8], payload: Payload)]) async throws {
        var batch = RecordBatch()
        for event in events {
            batch.append(
                topic: topic.name, key: event.key, value: JSONWriter.document(event.payload),
                headers: [
                    ("ce_specversion", Array("1.0".utf8)), ("ce_id", Array(UUID().uuidString.utf8)),
                    ("ce_type", Array(Payload.type.utf8)), ("ce_source", Array("/test".utf8)),
                ])
        }
        try await producer.send(batch)
    }

    /// Reads a topic from its beginning until it holds an event that fits.
    func find<Payload: EventPayload>(
        _ topic: Topic, _ type: Payload.Type, where fits: (Payload, ConsumedRecord) -> Bool
    ) async throws -> Payload {
        let kafka = KafkaConfiguration(bootstrapServers: broker.bootstrapServers, clientID: "test")
        let reader = try await TopicReader(
            kafka, topic: topic.name, from: .beginning, log: Logger(service: "test", level: .error), metrics: Metrics())
        defer { Task { await reader.close() } }
        let deadline = ContinuousClock.now + .seconds(30)
        while ContinuousClock.now < deadline,
            let batches = try await reader.next(recordsMax: 1000, waitMilliseconds: 500)
        {
            for record in batches.joined() {
                guard let body = record.value, record.header("ce_type").map({ Array($0) }) == Array(Payload.type.utf8)
                else { continue }
                let payload = try JSONParser.parse(body) { (json) throws(JSONError) in try Payload(json: json) }
                if fits(payload, record) { return payload }
            }
        }
        throw NeverCame(what: "a \(Payload.type)")
    }

    func pool() throws -> PostgresPool { try database.pool("messaging") }
}

struct NeverCame: Error, CustomStringConvertible {
    let what: String
    var description: String { "\(what) never came" }
}

/// Asks again until it is so. For what happens on the way through the log; bounded, so that what never happens fails.
func eventually(_ what: String, _ isSo: () async throws -> Bool) async throws {
    let deadline = ContinuousClock.now + .seconds(30)
    while ContinuousClock.now < deadline {
        if try await isSo() { return }
        try await Task.sleep(for: .milliseconds(20))
    }
    throw NeverCame(what: what)
}

extension Identifier {
    static func random() -> Identifier { .v7(at: .now(), random: (Random.uint64(), Random.uint64())) }
}

extension Chat {
    func withdraw(_ sale: SaleID) async throws {
        var batch = RecordBatch()
        batch.append(topic: Topic.sales.name, key: sale.textBytes, value: nil, headers: [])
        try await producer.send(batch)
    }
}
