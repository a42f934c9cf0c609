// A stack on Apache Kafka whose every connection goes through proxies, buyers who order all the while, and what is needed
// to tell whether what they were told was true.
import Foundation
import HTTP
import JSON
import Kafka
import Models
import Observability
import Synchronization
import TestSupport
import Testing

@testable import StampedeCore

struct FaultBench: Sendable {
    let stack: Stack
    let kafka: FaultProxy
    let postgres: FaultProxy
    let market: Market
    let crowd: Crowd
    let decisions: DecisionLog
    let can: Abilities

    /// What this machine lets a test do.
    struct Abilities: Sendable {
        var fillsDisk = false
        var movesClocks = false
    }

    /// - Parameters:
    ///   - seconds: about how long the sale lasts.
    ///   - isImpatient: services notice a network that fell silent after five seconds instead of twenty.
    static func with(
        seconds: Int, rate: Int, isImpatient: Bool, adding variables: [String: String] = ChaosPlan.instances,
        _ body: (FaultBench) async throws -> Void
    ) async throws {
        let proxies = Mutex<(kafka: FaultProxy, postgres: FaultProxy)?>(nil)
        defer {
            proxies.withLock {
                $0?.kafka.close()
                $0?.postgres.close()
            }
        }
        let able = Mutex(Abilities())
        try await Stack.with(.apache, adding: variables) { stack in
            let servicesPort = try FreePorts.take()
            let kafka = try FaultProxy(to: servicesPort)
            let postgres = try FaultProxy(to: stack.port("POSTGRES"))
            proxies.withLock { $0 = (kafka, postgres) }
            try stack.leadThrough(kafka: kafka, listeningOn: servicesPort, postgres: postgres)
            // Buyers sign in once, before it begins: their tokens outlast it and every jump of a clock.
            try stack.add("STAMPEDE_ACCESS_TOKEN_SECONDS=\(2 * seconds + 1800)", to: "messaging.environment")
            if isImpatient {
                for service in Settings.Service.allCases {
                    try stack.add(
                        "STAMPEDE_POSTGRES_STATEMENT_SECONDS=2", "STAMPEDE_KAFKA_SOCKET_TIMEOUT_MS=4000",
                        to: "\(service.rawValue).environment")
                }
            }
            let found = Abilities(
                fillsDisk: try await stack.putPostgresOnItsOwnDisk(megabytes: 768 + seconds),
                movesClocks: try await stack.makeClocksMovable())
            able.withLock { $0 = found }
        } _: { stack in
            guard let (kafka, postgres) = proxies.withLock({ $0 }) else { return }
            let settings = try stack.settings()
            let client = try HTTPClient(connectionsMax: 256, connectionsPerHostMax: 256)
            let gateway = try settings.value("STAMPEDE_GATEWAY_URL")
            let buyers = seconds * rate
            let market = try await Preparation(
                api: APIClient(client: client, baseURL: gateway),
                operatorSecret: try settings.value("STAMPEDE_OPERATOR_SECRET"),
                plan: RushPlan(
                    orders: buyers, units: max(1, buyers / 4), via: .http, waitlistMax: max(1, buyers / 20),
                    holdSeconds: 600, poorPerMille: 20, listeners: 0, connections: 1, threads: 1, noonSeconds: 1,
                    inFlightMax: nil, timeoutSeconds: 60),
                console: .silent
            ).run()
            let decisions = try await DecisionLog(settings.kafka(clientID: "test"))
            try await Task.sleep(for: market.noon - WallClock.now())
            let crowd = Crowd(client: client, gateway: gateway, market: market, rate: rate)
            do {
                try await body(
                    FaultBench(
                        stack: stack, kafka: kafka, postgres: postgres, market: market, crowd: crowd,
                        decisions: decisions, can: able.withLock { $0 }))
            } catch {
                let log = (try? String(contentsOfFile: "\(stack.folder)/log/supervisor.log", encoding: .utf8)) ?? ""
                print("supervisor.log:\n\(log)")
                throw error
            }
            await crowd.stop()
            await decisions.stop()
            await client.close()
        }
    }

    // MARK: Faults

    /// Begins the fault, lets it last, ends it, waits until the sale goes on, and says what was seen meanwhile.
    @discardableResult
    func suffer(_ fault: Fault, for duration: Duration) async throws -> [Crowd.Attempt] {
        try await goesOn(since: .now)
        let began = ContinuousClock.now
        let ended: ContinuousClock.Instant
        let recovery: Recovery
        do {
            try await fault.begin(self)
            try await Task.sleep(for: duration)
            try await fault.end(self)
            ended = .now
            recovery = try await goesOn(since: ended)
        } catch {
            let seen = crowd.attempts(from: began, to: .now)
            print("\(fault.name): buyers were told \(Self.answers(seen)), the last \(seen.last?.text ?? "")")
            throw error
        }
        let slowest = try await slowestDecision(from: began, to: ended)
        let seen = crowd.attempts(from: began, to: ended + recovery.decided)
        let longest = seen.map(\.duration).max() ?? .zero
        print(
            "\(fault.name.padded(to: 34)) lasted \((ended - began).seconds.fixed(1).padded(to: 5)) s; buyers were told "
                + "\(Self.answers(seen)), waited \(longest.seconds.fixed(1)) s at most; accepted again after "
                + "\(recovery.accepted.seconds.fixed(1)) s, decided again after \(recovery.decided.seconds.fixed(1)) s, "
                + "each within \(slowest.seconds.fixed(1)) s")
        return seen
    }

    private static func answers(_ attempts: [Crowd.Attempt]) -> String {
        Dictionary(grouping: attempts, by: \.status).sorted { $0.key < $1.key }
            .map { "\($0.value.count) × \($0.key == 0 ? "nothing" : "\($0.key)")" }.joined(separator: ", ")
    }

    struct Recovery {
        let accepted: Duration
        let decided: Duration
    }

    /// Returns when an order that was sent from then on is accepted and decided.
    @discardableResult
    func goesOn(since start: ContinuousClock.Instant) async throws -> Recovery {
        let deadline = ContinuousClock.now + .seconds(90)
        while ContinuousClock.now < deadline {
            let accepted = crowd.attempts(from: start, to: .now).filter { $0.status == 202 && $0.sentAt >= start }
            let decided = accepted.compactMap { attempt in attempt.order.flatMap { decisions.time(of: $0) } }
            if let first = accepted.map(\.answeredAt).min(), let decision = decided.min() {
                return Recovery(accepted: first - start, decided: decision - start)
            }
            try await Task.sleep(for: .milliseconds(50))
        }
        throw Stack.Ended.Failure(
            description: "the sale does not go on: \(crowd.attempts(from: start, to: .now).count) attempts since, "
                + "\(crowd.acceptedOrders.count) orders accepted, \(decisions.count) decided")
    }

    /// How long the decision took of the order that waited longest of those that were accepted from `start` until a second
    /// after `end`: what a partition costs that nobody works on, while others go on.
    private func slowestDecision(
        from start: ContinuousClock.Instant, to end: ContinuousClock.Instant
    ) async throws -> Duration {
        let end = end + .seconds(1)
        try await Task.sleep(until: end)
        let accepted = crowd.attempts(from: start, to: end).filter { $0.status == 202 }
        var slowest = Duration.zero
        for attempt in accepted {
            guard let order = attempt.order else { continue }
            try await stack.eventually(within: .seconds(90)) { decisions.time(of: order) != nil }
            if let decided = decisions.time(of: order) { slowest = max(slowest, decided - attempt.answeredAt) }
        }
        return slowest
    }

    /// Lets everybody finish, and holds what they were told against what happened.
    func verify() async throws {
        await crowd.stop()
        let accepted = crowd.acceptedOrders
        try await stack.eventually(within: .seconds(120)) { accepted.allSatisfy { decisions.time(of: $0) != nil } }
        let attempts = crowd.attempts(from: crowd.started, to: .now)
        // Never a lie: taken in, or asked to come again and told when.
        for attempt in attempts {
            #expect(
                attempt.status == 202 || [429, 503].contains(attempt.status) && attempt.saysWhen,
                "\(attempt.status) \(attempt.saysWhen) \(attempt.text)")
        }
        #expect(accepted.count > 0)
        print("\(accepted.count) orders accepted in \(attempts.count) attempts, every one decided")
        // What ends for good would not be missed by an audit: every instance runs, and is current, by itself.
        for service in Settings.Service.allCases.map(\.rawValue) {
            for (number, instance) in stack.instances(of: service).enumerated() {
                let url = "http://127.0.0.1:\(stack.port(service.uppercased()) + 10 * number)/health/ready"
                var health = ""
                do {
                    try await stack.eventually {
                        let answer = try await stack.run("/usr/bin/curl", ["--silent", "--fail-with-body", url])
                        health = answer.output
                        return answer.code == 0
                    }
                } catch { Issue.record("\(instance) is not ready: \(health)") }
                #expect(try !stack.log(instance).contains("goes to the dead letters"), "\(instance)")
            }
        }
        let audit = try await stack.stampede("audit", "--settle", "120", "--json")
        if audit.code != 0 { await stack.keepLogs() }
        #expect(audit.code == 0, "\(audit.output)\(audit.errors)")
    }
}

/// Buyers who order one each, at a steady rate, and come again when they are told to.
final class Crowd: Sendable {
    struct Attempt: Sendable {
        let sentAt: ContinuousClock.Instant
        let answeredAt: ContinuousClock.Instant
        /// 0: no answer.
        let status: Int
        /// It has a `Retry-After`.
        let saysWhen: Bool
        /// The order's ID, where it was taken in.
        let order: String?
        let text: String

        var duration: Duration { answeredAt - sentAt }
    }

    let started = ContinuousClock.now
    private let client: HTTPClient
    private let gateway: String
    private let market: Market
    private let state = Mutex(State())
    private let running = Mutex<Task<Void, Never>?>(nil)

    private struct State {
        var attempts: [Attempt] = []
        var accepted: [String] = []
        /// The last order's time, as messaging's clock had it.
        var lastAcceptedAt = Timestamp.distantPast
        var next = 0
        var isStopping = false
    }

    init(client: HTTPClient, gateway: String, market: Market, rate: Int) {
        self.client = client
        self.gateway = gateway
        self.market = market
        let task = Task.detached { [self] in
            await withTaskGroup(of: Void.self) { group in
                // As many as may be waiting for an answer when a fault lasts.
                for _ in 0..<64 { group.addTask { await self.orderOneAfterAnother(rate: rate) } }
            }
        }
        running.withLock { $0 = task }
    }

    var lastAcceptedAt: Timestamp { state.withLock { $0.lastAcceptedAt } }
    var acceptedOrders: [String] { state.withLock { $0.accepted } }

    /// Attempts that ended in the interval.
    func attempts(from start: ContinuousClock.Instant, to end: ContinuousClock.Instant) -> [Attempt] {
        state.withLock { $0.attempts.filter { $0.answeredAt >= start && $0.answeredAt <= end } }
    }

    /// Nobody new orders; who has begun gets an answer.
    func stop() async {
        state.withLock { $0.isStopping = true }
        await running.withLock { $0 }?.value
    }

    private func orderOneAfterAnother(rate: Int) async {
        while let buyer = state.withLock({ state -> Int? in
            guard !state.isStopping, state.next < market.tokens.count else { return nil }
            defer { state.next += 1 }
            return state.next
        }) {
            try? await Task.sleep(until: started + .seconds(Double(buyer) / Double(rate)))
            for _ in 0..<200 {
                guard let seconds = await attempt(buyer) else { break }
                try? await Task.sleep(for: .seconds(seconds))
            }
        }
    }

    /// Nil when the order has its answer; else the seconds to wait before it is sent again.
    private func attempt(_ buyer: Int) async -> Double? {
        let body = JSONWriter.object {
            $0.field("clientOrderId", "order-\(buyer)")
            $0.field("saleId", market.sale)
            $0.field("variant", RushPlan.variant)
        }
        let token = String(decoding: market.tokens[buyer], as: UTF8.self)
        var request = ClientRequest.json(
            .post, gateway + "/v1/orders", headers: [("Authorization", "Bearer \(token)")], body)
        request.timeoutSeconds = 60
        let sentAt = ContinuousClock.now
        let response: ClientResponse?
        var text = ""
        do throws(HTTPClientError) {
            response = try await client.send(request)
        } catch {
            response = nil
            text = "\(error)"
        }
        let order = response?.status == 202 ? response?.header("Location")?.split(separator: "/").last : nil
        if response?.status != 202 { text += String(decoding: (response?.body ?? []).prefix(300), as: UTF8.self) }
        let attempt = Attempt(
            sentAt: sentAt, answeredAt: .now, status: response?.status ?? 0,
            saysWhen: response?.header("Retry-After") != nil, order: order.map(String.init), text: text)
        let acceptedAt = try? JSONParser.parse(response?.body ?? []) { (json) throws(JSONError) in
            try json.timestamp("acceptedAt")
        }
        state.withLock { state in
            state.attempts.append(attempt)
            if let order = attempt.order { state.accepted.append(order) }
            if let acceptedAt { state.lastAcceptedAt = acceptedAt }
        }
        if attempt.status == 202 { return nil }
        return response?.header("Retry-After").flatMap(Double.init) ?? 1
    }
}

/// Which order was decided when, read straight from the broker.
final class DecisionLog: Sendable {
    private final class Times: Sendable {
        let byOrder = Mutex<[String: ContinuousClock.Instant]>([:])
    }

    private let times = Times()
    private let task: Task<Void, Never>

    init(_ kafka: KafkaConfiguration) async throws {
        let reader = try await TopicReader(
            kafka, topic: Topic.reservations.name, from: .end, log: Logger(service: "test", level: .error),
            metrics: Metrics())
        let times = times
        task = Task.detached {
            while !Task.isCancelled {
                // What the broker's absence throws passes; where reading stood stays.
                guard let found = try? await reader.next(recordsMax: 10_000, waitMilliseconds: 200) else { continue }
                let now = ContinuousClock.now
                for record in found.joined() {
                    guard let id = record.header("ce_id") else { continue }
                    let parts = String(decoding: id, as: UTF8.self).split(separator: "/")
                    guard parts.count == 2, ["reserved", "waitlisted", "rejected"].contains(parts[1]) else { continue }
                    let order = String(parts[0])
                    times.byOrder.withLock { if $0[order] == nil { $0[order] = now } }
                }
            }
            await reader.close()
        }
    }

    var count: Int { times.byOrder.withLock { $0.count } }

    func time(of order: String) -> ContinuousClock.Instant? { times.byOrder.withLock { $0[order] } }

    func stop() async {
        task.cancel()
        await task.value
    }
}

extension Stack {
    /// Has the services reach Kafka and Postgres through proxies. Kafka gets a listener for that; tools go straight.
    func leadThrough(kafka: FaultProxy, listeningOn servicesPort: Int, postgres: FaultProxy) throws {
        let port = port("KAFKA")
        try add(
            "listeners=PLAINTEXT://127.0.0.1:\(port),SERVICES://127.0.0.1:\(servicesPort),"
                + "CONTROLLER://127.0.0.1:\(port + 1)",
            "advertised.listeners=PLAINTEXT://127.0.0.1:\(port),SERVICES://127.0.0.1:\(kafka.port)",
            "listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,SERVICES:PLAINTEXT",
            to: "kafka.properties")
        for service in Settings.Service.allCases {
            try add(
                "KAFKA_BOOTSTRAP_SERVERS=127.0.0.1:\(kafka.port)",
                "STAMPEDE_POSTGRES_DSN=${STAMPEDE_POSTGRES_DSN/:\(self.port("POSTGRES"))/:\(postgres.port)}",
                to: "\(service.rawValue).environment")
        }
    }

    /// A small disk that a test can fill: only root may have one.
    func putPostgresOnItsOwnDisk(megabytes: Int) async throws -> Bool {
        let path = "\(folder)/postgres"
        try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
        let mounted = try await run("/bin/mount", ["-t", "tmpfs", "-o", "size=\(megabytes)m", "tmpfs", path])
        if mounted.code != 0 { print("SKIPPED: a full disk; mounting a small one needs root: \(mounted.errors)") }
        return mounted.code == 0
    }

    /// Where `FAULT_LOGS` names a folder, the logs of a test that failed are kept there.
    func keepLogs() async {
        guard let folder = ProcessInfo.processInfo.environment["FAULT_LOGS"] else { return }
        _ = try? await run("/bin/cp", ["-r", "\(self.folder)/log", "\(folder)/\(UUID().uuidString.prefix(8))"])
    }
}
