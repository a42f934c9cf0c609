import Foundation
import HTTP
import JSON
import Kafka
import Models
import Observability
import Postgres
import Security
import Synchronization
import TestSupport
import Testing

@testable import ServiceKit

@Suite struct RunningServiceTests {
    let client: HTTPClient
    let log = TestLog()

    init() throws { client = try HTTPClient() }

    // MARK: What a service of a single test looks like

    struct Plain: TestedService {
        static let migrations = [Migration(number: 1, name: "things", sql: "CREATE TABLE things (id bigint)")]
        static let topics: [Topic] = [.orders]
        let routes: [Endpoint]
        let components: [any Component]

        init(_ context: ServiceContext) {
            routes = [
                Endpoint(.get, "/v1/things", for: .everybody) { _ in
                    .text("\(try await context.postgres.query("SELECT count(*) FROM things").one(Int64.self))")
                },
                Endpoint(.get, "/v1/fail/{how}", for: .everybody) { request in
                    switch request.pathParameters["how"] {
                    // Any KafkaError will do, and this one needs no broker to make.
                    case "kafka": _ = try RecordBatch(bytes: [1, 2, 3])
                    case "database": throw PostgresError(sqlState: "08006", message: "secret host is gone")
                    case "busy": throw PostgresError(sqlState: "53300", message: "too many")
                    case "text": throw PostgresError(sqlState: "22021", message: "invalid byte sequence")
                    case "deadlock": throw PostgresError(sqlState: "40P01", message: "deadlock")
                    case "bug": throw PostgresError(sqlState: "42703", message: "column secret does not exist")
                    case "password": throw PasswordHash.Failure.busy
                    default: throw Problem.notFound()
                    }
                    return .empty()
                },
                Endpoint(.post, "/v1/publish", for: .everybody) { _ in
                    var headers: [(String, [UInt8])] = []
                    if let trace = TraceContext.current?.child() {
                        headers.append(("traceparent", Array(trace.traceparent.utf8)))
                    }
                    _ = try await context.producer.send(
                        topic: Topic.orders.name, key: nil, value: [], headers: headers, partition: 0)
                    context.log.info("published")
                    return .empty()
                },
            ]
            components = [
                Scripted(name: "table", journal: Journal()) {
                    // The schema is there by now.
                    try await context.postgres.execute("INSERT INTO things VALUES (1)")
                }
            ]
        }
    }

    @Test func messagesOfSeveralLinesBecomeOne() {
        #expect(
            "connection failed\n\tIs the server running?\n".singleLine == "connection failed; Is the server running?")
    }

    @Test func aServiceIsReadyWhenAllIsThereAndSaysSo() async throws {
        let environment = try await TestEnvironment.make(topics: [.orders])
        let service = try await RunningService.start(Plain.self, environment: environment.variables, sink: log.sink)

        #expect(try await client.get(service.httpURL + "/health/live").body == #"{"status":"live"}"#)
        let ready = try await client.get(service.httpURL + "/health/ready")
        #expect(ready.status == 200)
        let report = try JSONDecoder().decode(HealthReport.self, from: Data(ready.body.utf8))
        #expect(report.status == "ready")
        #expect(report.service == "tested")
        #expect(report.version == Version.current)
        #expect(report.components.map(\.name) == ["postgres", "kafka", "table"])
        #expect(report.components.map(\.state) == ["ready", "ready", "ready"])
        #expect(try await client.get(service.httpURL + "/v1/things").body == "1")
        #expect(await service.stop())
        await #expect(throws: HTTPClientError.self) { try await client.get(service.httpURL + "/health/live") }
    }

    @Test func metricsTellOfTheProcessAndOfWhatRuns() async throws {
        let environment = try await TestEnvironment.make(topics: [.orders])
        let service = try await RunningService.start(Plain.self, environment: environment.variables, sink: log.sink)
        let metrics = try await client.get(service.httpURL + "/metrics")
        #expect(metrics.status == 200)
        #expect(metrics.2.header("content-type") == Metrics.contentType)
        #expect(metrics.body.contains("# TYPE process_cpu_seconds_total counter\n"))
        #expect(metrics.body.contains("\nprocess_resident_memory_bytes "))
        #expect(
            metrics.body.contains("stampede_build_info{service=\"tested\",version=\"\(Version.current)\"} 1\n"))
        #expect(await service.stop())
    }

    @Test func aTraceGoesFromTheRequestIntoTheRecordAndTheLog() async throws {
        let environment = try await TestEnvironment.make(topics: [.orders])
        let service = try await RunningService.start(Plain.self, environment: environment.variables, sink: log.sink)
        let reader = try await TopicReader(
            service.context.kafka, topic: Topic.orders.name, from: .beginning, log: service.context.log,
            metrics: Metrics())
        let trace = TraceContext.new()
        let answer = try await client.send(
            ClientRequest(.post, service.httpURL + "/v1/publish", headers: [("traceparent", trace.traceparent)]))
        #expect(answer.status == 204)

        var record: ConsumedRecord?
        while record == nil, let batches = try await reader.next(recordsMax: 1) { record = batches.first?.first }
        let header = try #require(record?.header("traceparent"))
        let received = try #require(TraceContext(header))
        #expect(received.traceID == trace.traceID)
        #expect(received != trace)
        #expect(await log.line("published")["trace_id"] == trace.traceID)
        await reader.close()
        #expect(await service.stop())
    }

    @Test(arguments: [
        ("kafka", 503), ("database", 503), ("busy", 503), ("deadlock", 503), ("password", 503), ("text", 422),
        ("bug", 500), ("nothing", 404),
    ])
    func whatFailsBehindAServiceIsAProblemWithoutItsInsides(how: String, status: Int) async throws {
        let environment = try await TestEnvironment.make(topics: [.orders])
        let service = try await RunningService.start(Plain.self, environment: environment.variables, sink: log.sink)
        let answer = try await client.get(service.httpURL + "/v1/fail/" + how)
        #expect(answer.status == status)
        #expect(answer.2.header("content-type") == "application/problem+json")
        #expect((answer.2.header("retry-after") != nil) == (status == 503))
        #expect(!answer.body.contains("secret"))
        #expect(await service.stop())
    }

    // MARK: Start

    struct Ordered: TestedService {
        static let starting = Mutex<[String: @Sendable () async throws -> Void]>([:])
        let components: [any Component]
        let journal = Journal()
        let routes = [Endpoint(.get, "/v1/thing", for: .everybody) { _ in .text("thing") }]

        init(_ context: ServiceContext) {
            let journal = journal
            components = ["one", "two", "three"].map { name in
                Scripted(
                    name: name, journal: journal,
                    starting: {
                        let script = Self.starting.withLock { $0["\(context.instance) \(name)"] }
                        try await script?()
                    })
            }
        }
    }

    @Test func componentsStartInOrderAndStopInReverse() async throws {
        let environment = try await TestEnvironment.make()
        let service = try await RunningService.start(Ordered.self, environment: environment.variables, sink: log.sink)
        #expect(await service.stop())
        #expect(
            service.service.journal.entries == [
                "start one", "start two", "start three", "stop three", "stop two", "stop one",
            ])
    }

    @Test func whileAComponentStartsRoutesAnswer503AndHealthTellsWhichOne() async throws {
        let environment = try await TestEnvironment.make()
        let (release, releasing) = AsyncStream.makeStream(of: Void.self)
        let (begun, beginning) = AsyncStream.makeStream(of: Void.self)
        Ordered.starting.withLock {
            $0["slow two"] = {
                beginning.finish()
                for await _ in release {}
            }
        }
        let variables = environment.variables.merging(["STAMPEDE_INSTANCE": "slow"]) { $1 }
        let starting = Task {
            try await RunningService.start(Ordered.self, environment: variables, sink: log.sink)
        }
        let address = try #require(await log.line("starting")["http"])
        for await _ in begun {}

        let refused = try await client.get("http://\(address)/v1/thing")
        #expect(refused.status == 503)
        #expect(refused.2.header("retry-after") == "1")
        #expect(try await client.get("http://\(address)/health/live").status == 200)
        let health = try await client.get("http://\(address)/health/ready")
        #expect(health.status == 503)
        let report = try JSONDecoder().decode(HealthReport.self, from: Data(health.body.utf8))
        #expect(report.status == "starting")
        #expect(report.components.map(\.state) == ["ready", "ready", "ready", "starting", "pending"])

        releasing.finish()
        let service = try await starting.value
        #expect(try await client.get(service.httpURL + "/v1/thing").body == "thing")
        #expect(await service.stop())
    }

    @Test func aDependencyThatIsAwayIsWaitedForAndNamedInLogAndHealth() async throws {
        let environment = try await TestEnvironment.make()
        let failures = Mutex(3)
        Ordered.starting.withLock {
            $0["retry two"] = {
                let isAway = failures.withLock { left in
                    left -= 1
                    return left >= 0
                }
                if isAway { throw PostgresError(sqlState: "08006", message: "the server is\n\taway") }
            }
        }
        let variables = environment.variables.merging(["STAMPEDE_INSTANCE": "retry"]) { $1 }
        let service = try await RunningService.start(Ordered.self, environment: variables, sink: log.sink)
        let waits = log.lines.filter { $0["message"] == "waiting for what this service needs" }
        #expect(waits.count == 3)
        let reason = "STAMPEDE_POSTGRES_DSN: Postgres 08006: the server is; away"
        #expect(waits.allSatisfy { $0["component"] == "two" && $0["reason"] == reason })
        #expect(await service.stop())
    }

    @Test func anErrorThatNoWaitingMendsEndsTheStartAndStopsWhatHadBegun() async throws {
        struct Broken: Error, CustomStringConvertible { let description = "it is\nbroken" }
        let environment = try await TestEnvironment.make()
        Ordered.starting.withLock { $0["broken two"] = { throw Broken() } }
        let runner = try ServiceRunner<Ordered>(
            environment: environment.variables.merging(["STAMPEDE_INSTANCE": "broken", "STAMPEDE_HTTP_PORT": "0"]) {
                $1
            },
            sink: log.sink)
        let failure = await #expect(throws: StartFailure.self) { try await runner.start() }
        #expect(failure?.exitCode == ExitCode.failure)
        #expect(failure?.reason == "two: it is; broken")
        #expect(await runner.stop())
        #expect(runner.service.journal.entries == ["start one", "start two", "stop two", "stop one"])
    }

    @Test func missingTopicsAreNamedAndWaitedFor() async throws {
        let environment = try await TestEnvironment.make()
        let starting = Task {
            try await RunningService.start(Plain.self, environment: environment.variables, sink: log.sink)
        }
        let line = await log.line("waiting for what this service needs")
        #expect(line["reason"] == "Kafka has no topic orders: make them by `stampede topics create`")
        try environment.broker.createTopic("orders", partitions: Topic.orders.partitions)
        let service = try await starting.value
        #expect(await service.stop())
    }

    @Test func anUnreachablePostgresEndsTheStartAfterItsTime() async throws {
        let environment = try await TestEnvironment.make()
        let variables = environment.variables.merging([
            "STAMPEDE_POSTGRES_DSN": "postgresql://tested:open-sesame@127.0.0.1:1/nowhere",
            "STAMPEDE_START_SECONDS": "0",
        ]) { $1 }
        let failure = await #expect(throws: StartFailure.self) {
            try await RunningService.start(Plain.self, environment: variables, sink: log.sink)
        }
        #expect(failure?.exitCode == ExitCode.unavailable)
        #expect(failure?.reason.contains("Connection refused") == true)
        #expect(failure?.reason.contains("\n") == false)
        #expect(!log.lines.description.contains("sesame"))
    }

    @Test func aWrongPasswordIsAConfigurationErrorThatDoesNotShowIt() async throws {
        let environment = try await TestEnvironment.make()
        let wrong = environment.database.dsn("tested").replacing(
            environment.database.server.password, with: "open-sesame")
        let variables = environment.variables.merging(["STAMPEDE_POSTGRES_DSN": wrong]) { $1 }
        let failure = await #expect(throws: StartFailure.self) {
            try await RunningService.start(Plain.self, environment: variables, sink: log.sink)
        }
        #expect(failure?.exitCode == ExitCode.notPermitted)
        #expect(failure?.reason.hasPrefix("STAMPEDE_POSTGRES_DSN: ") == true)
        #expect(failure?.reason.contains("password authentication failed") == true)
        #expect(!log.lines.description.contains("sesame"))
    }

    @Test func anUnreachableBrokerEndsTheStartAfterItsTime() async throws {
        let environment = try await TestEnvironment.make()
        let variables = environment.variables.merging([
            "KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:1", "STAMPEDE_START_SECONDS": "0",
        ]) { $1 }
        let failure = await #expect(throws: StartFailure.self) {
            try await RunningService.start(Plain.self, environment: variables, sink: log.sink)
        }
        #expect(failure?.exitCode == ExitCode.noBroker)
        #expect(failure?.reason.contains("no Kafka broker answers at 127.0.0.1:1") == true)
    }

    @Test(arguments: [
        (["STAMPEDE_POSTGRES_DSN": "not a dsn"], "STAMPEDE_POSTGRES_DSN: "),
        (["STAMPEDE_KAFKA_NO_SUCH_PROPERTY": "1"], "no.such.property"),
        (["STAMPEDE_HTTP_TRUSTED_PROXIES": "10.0.0.7, 10.0.0.0/33"], "STAMPEDE_HTTP_TRUSTED_PROXIES: not an IPv4"),
        (["STAMPEDE_KAFKA_ACKS": "0"], "acks"), (["STAMPEDE_HTTP_PORT": "65536"], "STAMPEDE_HTTP_PORT: expected"),
    ])
    func whatCannotBeConfiguredIsNamedBeforeAnythingStarts(variables: [String: String], named: String) throws {
        let standard = ["KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:1", "STAMPEDE_POSTGRES_DSN": "host=127.0.0.1"]
        let error = #expect(throws: ConfigurationError.self) {
            try ServiceRunner<Plain>(environment: standard.merging(variables) { $1 }, sink: log.sink)
        }
        #expect(error?.problems.count == 1)
        #expect(error?.description.contains(named) == true)
    }

    @Test func aTakenPortIsNamed() async throws {
        let environment = try await TestEnvironment.make(topics: [.orders])
        let first = try await RunningService.start(Plain.self, environment: environment.variables, sink: log.sink)
        let variables = environment.variables.merging(["STAMPEDE_HTTP_PORT": "\(first.httpPort)"]) { $1 }
        let failure = await #expect(throws: StartFailure.self) {
            try await RunningService.start(Plain.self, environment: variables, sink: log.sink)
        }
        #expect(failure?.exitCode == ExitCode.system)
        #expect(failure?.reason.contains("\(first.httpPort)") == true)
        #expect(failure?.reason.contains("in use") == true)
        #expect(await first.stop())
    }

    // MARK: Running and stopping

    struct Moody: TestedService {
        static let isWell = Atomic<Bool>(true)
        let components: [any Component]

        init(_ context: ServiceContext) {
            components = [Scripted(name: "mood", journal: Journal(), ready: { Self.isWell.load(ordering: .relaxed) })]
        }
    }

    @Test func aComponentThatNoLongerWorksMakesTheServiceNotReady() async throws {
        let environment = try await TestEnvironment.make()
        let service = try await RunningService.start(Moody.self, environment: environment.variables, sink: log.sink)
        #expect(try await client.get(service.httpURL + "/health/ready").status == 200)
        Moody.isWell.store(false, ordering: .relaxed)
        let health = try await client.get(service.httpURL + "/health/ready")
        #expect(health.status == 503)
        let report = try JSONDecoder().decode(HealthReport.self, from: Data(health.body.utf8))
        #expect(report.status == "not ready")
        #expect(report.components.last?.state == "not ready")
        Moody.isWell.store(true, ordering: .relaxed)
        #expect(try await client.get(service.httpURL + "/health/ready").status == 200)
        #expect(await service.stop())
    }

    struct Stuck: TestedService {
        let components: [any Component]
        let journal = Journal()

        init(_ context: ServiceContext) {
            components = [
                Scripted(name: "willing", journal: journal),
                Scripted(
                    name: "stuck", journal: journal,
                    stopping: { await withUnsafeContinuation { (_: UnsafeContinuation<Void, Never>) in } }),
            ]
        }
    }

    @Test func aComponentThatDoesNotStopIsNamedAndHoldsNobodyUp() async throws {
        let environment = try await TestEnvironment.make()
        let variables = environment.variables.merging(["STAMPEDE_DRAIN_SECONDS": "0.5"]) { $1 }
        let service = try await RunningService.start(Stuck.self, environment: variables, sink: log.sink)
        #expect(await !service.stop())
        #expect(service.service.journal.entries.suffix(2) == ["stop stuck", "stop willing"])
        #expect(log.lines.contains { $0["message"] == "did not stop in time" && $0["component"] == "stuck" })
    }

    @Test func severalServicesRunInOneProcess() async throws {
        let environment = try await TestEnvironment.make(topics: [.orders])
        async let one = RunningService.start(Plain.self, environment: environment.variables, sink: log.sink)
        async let two = RunningService.start(Plain.self, environment: environment.variables, sink: log.sink)
        let services = try await [one, two]
        #expect(services[0].httpPort != services[1].httpPort)
        for service in services { #expect(try await client.get(service.httpURL + "/v1/things").body == "2") }
        for service in services { #expect(await service.stop()) }
    }

    // MARK: Who asks

    struct Guarded: TestedService {
        let verifier = TokenVerifier()
        let routes: [Endpoint]

        init(_ context: ServiceContext) {
            routes = [
                Endpoint(.get, "/v1/brands-only", for: .brands) { _, caller in .text(caller.sub.description) }
            ]
        }
    }

    @Test func aRouteKnowsWhoAsksAndRefusesTheOthers() async throws {
        let environment = try await TestEnvironment.make()
        let now = Timestamp(seconds: 1_800_000_000)
        let service = try await RunningService.start(
            Guarded.self, environment: environment.variables, sink: log.sink, now: { now })
        let key = try SigningKey.generate()
        try service.service.verifier.update(keyID: key.keyID, jwk: key.publicJWK)
        func token(_ kind: AccountKind, expires: Int64 = 60, key: SigningKey) throws -> String {
            try key.sign(
                claims: AccessClaims(
                    sub: AccountID(high: 1, low: 2), kind: kind, sid: SessionID(high: 3, low: 4), iat: 1_799_999_999,
                    exp: 1_800_000_000 + expires))
        }
        func ask(_ authorization: String?) async throws -> (status: Int, body: String, ClientResponse) {
            try await client.get(
                service.httpURL + "/v1/brands-only", headers: authorization.map { [("Authorization", $0)] } ?? [])
        }

        let brand = try await ask("Bearer " + token(.brand, key: key))
        #expect(brand.status == 200)
        #expect(brand.body == AccountID(high: 1, low: 2).description)
        #expect(try await ask("Bearer " + token(.person, key: key)).status == 403)
        let foreign = try SigningKey.generate()
        for refused in [
            nil, "Basic abc", "Bearer", "Bearer ", "Bearer x.y.z", try "Bearer " + token(.brand, expires: 0, key: key),
            try "Bearer " + token(.brand, key: foreign),
        ] {
            let answer = try await ask(refused)
            #expect(answer.status == 401)
            #expect(answer.2.header("www-authenticate")?.hasPrefix("Bearer") == true)
            #expect(answer.2.header("content-type") == "application/problem+json")
        }
        #expect(await service.stop())
    }
}

private struct HealthReport: Decodable {
    struct Component: Decodable {
        let name: String
        let state: String
        let detail: String?
    }
    let status: String
    let service: String
    let version: String
    let components: [Component]
}
