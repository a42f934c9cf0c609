// Spans on their way to a collector: what is sent, what is tried again, and that a service does not depend on it.
import Foundation
import HTTP
import Models
import Observability
import Synchronization
import TestSupport
import Testing

@testable import ServiceKit

@Suite struct TracingTests {
    let client: HTTPClient
    let log = TestLog()

    init() throws { client = try HTTPClient() }

    struct Plain: TestedService {
        let routes = [
            Endpoint(.get, "/v1/things/{id}", for: .everybody) { request in .text(request.trace.traceparent) },
            Endpoint(.get, "/v1/broken", for: .everybody) { _ in throw Broken() },
        ]

        init(_ context: ServiceContext) {}
        private struct Broken: Error {}
    }

    /// Answers with these statuses, then with 200, and keeps the bodies that it answered 200 to.
    final class Collector: Sendable {
        let url: String
        let bodies = AsyncStream.makeStream(of: String.self)
        let asked = Atomic<Int>(0)
        private let server: HTTPServer

        init(_ statuses: Int...) throws {
            let bodies = bodies.continuation
            let answers = Mutex(statuses)
            let asking = Answering(answers)
            server = try HTTPServer(
                HTTPServerConfiguration(),
                routes: [
                    Route(.post, "/v1/traces") { request in
                        let status = asking.next()
                        if status == 200 { bodies.yield(String(decoding: request.body, as: UTF8.self)) }
                        return .json(status, Array("{}".utf8))
                    }
                ], log: Logger(service: "collector", sink: .discarding), metrics: Metrics())
            url = "http://127.0.0.1:\(try server.start())"
        }

        private final class Answering: Sendable {
            private let left: Mutex<[Int]>
            init(_ left: consuming Mutex<[Int]>) { self.left = left }
            func next() -> Int { left.withLock { $0.isEmpty ? 200 : $0.removeFirst() } }
        }

        func close() async { await server.drain(withinSeconds: 1) }
    }

    private func start(_ environment: TestEnvironment, _ endpoint: String, ratio: String = "1") async throws
        -> RunningService<Plain>
    {
        try await RunningService.start(
            Plain.self,
            environment: environment.variables.merging([
                "STAMPEDE_TRACE_ENDPOINT": endpoint, "STAMPEDE_TRACE_RATIO": ratio,
            ]) { $1 }, sink: log.sink)
    }

    @Test func aRequestIsToldWithItsCallerAndItsFailure() async throws {
        let environment = try await TestEnvironment.make()
        let collector = try Collector()
        let service = try await start(environment, collector.url + "/")
        let caller = TraceContext.new()
        let answer = try await client.get(
            service.httpURL + "/v1/things/7", headers: [("traceparent", caller.traceparent)])
        let own = try #require(TraceContext(traceparent: answer.body))
        _ = try await client.get(service.httpURL + "/v1/broken", headers: [("traceparent", caller.child().traceparent)])
        // Not to be recorded, says the caller.
        let silent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00"
        _ = try await client.get(service.httpURL + "/v1/things/8", headers: [("traceparent", silent)])
        // What has not been sent yet is sent at the end.
        #expect(await service.stop())
        collector.bodies.continuation.finish()
        var all = ""
        for await body in collector.bodies.stream { all += body }
        #expect(
            all.contains(
                #""traceId":"\#(caller.traceID)","spanId":"\#(own.spanID)","parentSpanId":"\#(caller.spanID)""#))
        #expect(all.contains(#""name":"GET /v1/things/{id}","kind":2"#))
        #expect(all.contains(#"{"key":"http.response.status_code","value":{"intValue":"200"}}"#))
        #expect(all.contains(#""status":{"code":2,"message":"status 500"}"#))
        #expect(all.contains(#"{"key":"service.name","value":{"stringValue":"tested"}}"#))
        #expect(!all.contains("4bf92f3577b34da6a3ce929d0e0e4736"))
        await collector.close()
    }

    @Test func aBatchIsTriedAgainUntilItIsTaken() async throws {
        let environment = try await TestEnvironment.make()
        let collector = try Collector(503, 429, 500)
        let service = try await start(environment, collector.url)
        let answer = try await client.get(service.httpURL + "/v1/things/7")
        let own = try #require(TraceContext(traceparent: answer.body))
        for await body in collector.bodies.stream {
            #expect(body.contains(own.spanID))
            break
        }
        #expect(await log.line("traces are not taken")["reason"] == "status 503")
        _ = await log.line("traces are taken again")
        let metrics = try await client.get(service.httpURL + "/metrics").body
        #expect(metrics.contains("\nstampede_trace_spans_dropped_total 0\n"))
        #expect(await service.stop())
        await collector.close()
    }

    @Test func aServiceWhoseCollectorIsAwayServesAndStops() async throws {
        let environment = try await TestEnvironment.make()
        let service = try await start(environment, "http://127.0.0.1:1")
        for index in 0..<20 {
            #expect(try await client.get(service.httpURL + "/v1/things/\(index)").status == 200)
        }
        _ = await log.line("traces are not taken")
        #expect(try await client.get(service.httpURL + "/health/ready").status == 200)
        #expect(await service.stop())
    }

    @Test func newTracesAreChosenByTheRatio() async throws {
        let environment = try await TestEnvironment.make()
        let collector = try Collector()
        for (ratio, expected) in [("0", "-00"), ("1", "-01")] {
            let service = try await start(environment, collector.url, ratio: ratio)
            for index in 0..<5 {
                #expect(try await client.get(service.httpURL + "/v1/things/\(index)").body.hasSuffix(expected))
            }
            #expect(await service.stop())
        }
        await collector.close()
    }

    @Test func nothingIsTracedWithoutACollector() async throws {
        let environment = try await TestEnvironment.make()
        let service = try await RunningService.start(
            Plain.self, environment: environment.variables, sink: log.sink)
        #expect(!service.context.tracer.isOn)
        let caller = TraceContext.new()
        let answer = try await client.get(
            service.httpURL + "/v1/things/1", headers: [("traceparent", caller.traceparent)])
        // The trace goes through all the same.
        #expect(answer.body.contains(caller.traceID) && answer.body.hasSuffix("-01"))
        #expect(try await client.get(service.httpURL + "/v1/things/1").body.hasSuffix("-00"))
        #expect(service.context.tracer.take(10).isEmpty)
        #expect(await service.stop())
    }

    @Test func anAddressThatIsNoneIsNamed() async throws {
        let environment = try await TestEnvironment.make()
        await #expect(
            throws: ConfigurationError(["STAMPEDE_TRACE_ENDPOINT: expected http://host:port or https://host:port"])
        ) { try await start(environment, "collector:4317") }
    }
}
