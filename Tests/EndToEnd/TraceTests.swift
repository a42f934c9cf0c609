// One trace from the tap to the message: a collector of the test's receives what the five services tell, over HTTP, and
// the parents say who caused what.
import Foundation
import HTTP
import JSON
import Models
import Observability
import Synchronization
import TestSupport
import Testing

@testable import StampedeCore

@Suite(.serialized) struct TraceTests {
    /// The order that takes the last phone: it is reserved, paid, told and shown, and the catalogue hears that the sale
    /// is sold out.
    @Test func oneOrderIsFollowedThroughAllFiveServices() async throws {
        let collector = try SpanCollector()
        try await Stack.with(
            .embedded, adding: ["STAMPEDE_TRACE_ENDPOINT": collector.url, "STAMPEDE_TRACE_RATIO": "1"]
        ) { stack in
            let settings = try stack.settings()
            let client = try HTTPClient()
            let api = APIClient(client: client, baseURL: try settings.value("STAMPEDE_GATEWAY_URL"))
            let market = try await Preparation(
                api: api, operatorSecret: try settings.value("STAMPEDE_OPERATOR_SECRET"), plan: Self.plan,
                console: .silent
            ).run()
            try await Task.sleep(for: market.noon - WallClock.now())

            let tap = TraceContext.new()
            let answer = try await api.response(
                .post, "/v1/orders", token: String(decoding: market.tokens[0], as: UTF8.self),
                headers: [("traceparent", tap.traceparent)],
                body: JSONWriter.object {
                    $0.field("clientOrderId", "1")
                    $0.field("saleId", market.sale)
                    $0.field("batch", 1)
                    $0.field("variant", RushPlan.variant)
                })
            #expect(answer.status == 202)
            #expect(answer.header("X-Request-Id") == tap.traceID)
            await client.close()

            // From the message back to the tap.
            let toThePhone = [
                "messaging: publish messages", "messaging: process notifications",
                "notification: publish notifications", "notification: process payments",
                "payment: publish payments", "payment: process reservations",
                "reservation: publish reservations", "reservation: process orders",
                "messaging: publish orders", "messaging: POST /v1/orders",
            ]
            try await expectPath(toThePhone, from: tap, collector, stack)
            // What was left is nothing, and the catalogue shows it.
            let toTheCatalogue = [
                "catalog: process reservations", "reservation: publish reservations", "reservation: process orders",
                "messaging: publish orders", "messaging: POST /v1/orders",
            ]
            try await expectPath(toTheCatalogue, from: tap, collector, stack)
            // That it is paid comes back to the reservation, and its status to the order.
            let toTheStatus = [
                "messaging: process reservations", "reservation: publish reservations", "reservation: process payments",
                "payment: publish payments", "payment: process reservations",
            ]
            try await expectPath(toTheStatus, from: tap, collector, stack)

            // A span may come before its parent, which another service sends.
            try await stack.eventually {
                Self.orphans(collector.spans.filter { $0.traceID == tap.traceID }, tap).isEmpty
            }
            let spans = collector.spans
            let trace = spans.filter { $0.traceID == tap.traceID }
            expectOrder(trace, tap)
            for service in Settings.Service.allCases {
                let transactions = trace.filter { $0.service == service.rawValue && $0.name == "transaction" }
                #expect(!transactions.isEmpty, "\(service.rawValue) has no transaction in the trace")
            }

            // A sale's publication is a trace of its own.
            let publication = try #require(
                spans.first { $0.service == "catalog" && $0.name == "POST /v1/sales/{id}/publication" })
            #expect(publication.parent == nil)
            for reader in ["messaging", "reservation", "notification"] {
                try await stack.eventually {
                    let found = collector.spans.filter { $0.traceID == publication.traceID }
                    return found.contains { $0.service == reader && $0.name == "process sales" }
                }
            }

            try await expectBrokenRecordInTheLog(stack, collector, market)
        }
        await collector.close()
    }

    private static let plan = RushPlan(
        orders: 1, units: 1, via: .http, waitlistMax: 0, holdSeconds: 600, poorPerMille: 0, listeners: 0,
        connections: 1, threads: 1, noonSeconds: 1, inFlightMax: nil, timeoutSeconds: 60)

    /// A record that cannot be applied leaves a line with its trace's ID, and a span that says why.
    private func expectBrokenRecordInTheLog(_ stack: Stack, _ collector: SpanCollector, _ market: Market) async throws {
        let trace = TraceContext.new()
        let kcat = Kcat(stack: stack, servers: try stack.settings().value("KAFKA_BOOTSTRAP_SERVERS"))
        try await kcat.publish(
            key: market.buyers.ids[0].description, "nonsense",
            headers: Kcat.headers + ["traceparent=\(trace.traceparent)"])
        try await stack.eventually {
            try String(contentsOfFile: "\(stack.folder)/log/reservation.log", encoding: .utf8).contains(trace.traceID)
        }
        let log = try String(contentsOfFile: "\(stack.folder)/log/reservation.log", encoding: .utf8)
        let line = try #require(log.split(separator: "\n").first { $0.contains(trace.traceID) })
        let object = try #require(try JSONSerialization.jsonObject(with: Data(line.utf8)) as? [String: String])
        #expect(object["trace_id"] == trace.traceID)
        #expect(object["message"] == "a record went to the dead letters")
        #expect(object["reason"]?.contains("JSON") == true, "\(object)")
        try await stack.eventually {
            collector.spans.contains {
                $0.traceID == trace.traceID && $0.service == "reservation" && $0.parent == trace.spanID
                    && $0.failure?.contains("JSON") == true
            }
        }
    }

    // MARK: Pieces

    /// Waits until a chain of spans has come, each the parent of the one before it; the last one's parent is the tap.
    private func expectPath(
        _ names: [String], from tap: TraceContext, _ collector: SpanCollector, _ stack: Stack
    ) async throws {
        do {
            try await stack.eventually {
                Self.hasPath(names, collector.spans.filter { $0.traceID == tap.traceID }, tap)
            }
        } catch {
            let seen = collector.spans.filter { $0.traceID == tap.traceID }
            Issue.record("no path \(names.reversed()) among:\n\(seen.map(\.description).joined(separator: "\n"))")
        }
    }

    private static func hasPath(_ names: [String], _ spans: [SpanCollector.Span], _ tap: TraceContext) -> Bool {
        var candidates = spans.filter { $0.title == names[0] }
        for name in names.dropFirst() {
            let parents = Set(candidates.compactMap(\.parent))
            candidates = spans.filter { $0.title == name && parents.contains($0.id) }
        }
        return names.last != "messaging: POST /v1/orders"
            ? !candidates.isEmpty : candidates.contains { $0.parent == tap.spanID }
    }

    private static func orphans(_ spans: [SpanCollector.Span], _ tap: TraceContext) -> [SpanCollector.Span] {
        let known = Set(spans.map(\.id) + [tap.spanID])
        return spans.filter { span in span.parent.map { !known.contains($0) } ?? false }
    }

    /// Every span ends after it began, and begins after what caused it, which is there or comes.
    private func expectOrder(_ spans: [SpanCollector.Span], _ tap: TraceContext) {
        let byID = Dictionary(spans.map { ($0.id, $0) }, uniquingKeysWith: { first, _ in first })
        #expect(byID.count == spans.count, "a span came twice")
        for span in spans {
            #expect(span.start <= span.end, "\(span)")
            guard let id = span.parent, id != tap.spanID else { continue }
            guard let parent = byID[id] else { continue }
            #expect(parent.start <= span.start, "\(span) began before \(parent)")
        }
    }
}

/// Takes spans as a collector would, and keeps them.
final class SpanCollector: Sendable {
    struct Span: Sendable, CustomStringConvertible {
        let service: String
        let traceID: String
        let id: String
        let parent: String?
        let name: String
        let start: Int64
        let end: Int64
        let links: Int
        let failure: String?

        var title: String { "\(service): \(name)" }
        var description: String { "\(title) \(id) of \(parent ?? "-")" }
    }

    private final class Kept: Sendable {
        let spans = Mutex<[Span]>([])
    }

    let url: String
    private let kept = Kept()
    private let server: HTTPServer

    var spans: [Span] { kept.spans.withLock { $0 } }

    init() throws {
        let kept = kept
        let route = Route(.post, "/v1/traces", bodyBytesMax: 4 << 20) { request in
            let spans = try Self.read(Data(request.body))
            kept.spans.withLock { $0 += spans }
            return .json(200, Array("{}".utf8))
        }
        server = try HTTPServer(
            HTTPServerConfiguration(), routes: [route], log: Logger(service: "collector", level: .error),
            metrics: Metrics())
        url = "http://127.0.0.1:\(try server.start())"
    }

    func close() async { await server.drain(withinSeconds: 1) }

    /// Reads strictly what the protocol's JSON encoding asks for.
    private static func read(_ data: Data) throws -> [Span] {
        let document = try JSONDecoder().decode(Document.self, from: data)
        return document.resourceSpans.flatMap { resource in
            let service = resource.resource.attributes.first { $0.key == "service.name" }?.value.stringValue ?? ""
            return resource.scopeSpans.flatMap(\.spans).map { span in
                Span(
                    service: service, traceID: span.traceId, id: span.spanId, parent: span.parentSpanId,
                    name: span.name, start: Int64(span.startTimeUnixNano) ?? -1, end: Int64(span.endTimeUnixNano) ?? -2,
                    links: span.links?.count ?? 0, failure: span.status.flatMap { $0.code == 2 ? $0.message : nil })
            }
        }
    }

    private struct Document: Decodable {
        struct Resource: Decodable {
            struct Named: Decodable { let attributes: [Attribute] }
            let resource: Named
            let scopeSpans: [Scope]
        }
        struct Attribute: Decodable {
            struct Value: Decodable {
                let stringValue: String?
                let intValue: String?
            }
            let key: String
            let value: Value
        }
        struct Scope: Decodable { let spans: [Told] }
        struct Told: Decodable {
            struct Link: Decodable { let traceId, spanId: String }
            struct Status: Decodable {
                let code: Int
                let message: String?
            }
            let traceId, spanId, name: String
            let parentSpanId: String?
            let kind: Int
            let startTimeUnixNano, endTimeUnixNano: String
            let attributes: [Attribute]
            let links: [Link]?
            let status: Status?
        }
        let resourceSpans: [Resource]
    }
}
