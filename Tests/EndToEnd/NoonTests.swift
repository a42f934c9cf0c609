// The whole of it: real executables, started by the scripts, from the tap to the phone, and the audit afterwards.
import Foundation
import HTTP
import JSON
import Kafka
import Models
import Observability
import Postgres
import TestSupport
import Testing

@testable import StampedeCore

@Suite(.serialized)
struct NoonTests {
    /// One after the other on one stack, which takes longer to start than each of them.
    @Test(arguments: Stack.brokers)
    func ordersByKcatAndByAppAreDecidedAndWhatIsNobodysBusinessIsRefused(broker: Stack.Broker) async throws {
        try await Stack.with(broker) { stack in
            try await ordersByKcatAreDecidedAndBrokenRecordsAreNamed(stack)
            // What has no broker in it is seen once.
            if broker == Stack.brokers.first {
                try await everyRoleIsRefusedWhatIsAnothersAndTheGatewayHidesWhatIsInternal(stack)
            }
            try await aSmallSaleSellsEveryPhoneAndTellsEverybody(stack)
        }
    }

    private func aSmallSaleSellsEveryPhoneAndTellsEverybody(_ stack: Stack) async throws {
        let rush = try await stack.stampede(
            "rush", "--orders", "600", "--units", "60", "--waitlist", "40", "--poor", "50", "--listeners", "20",
            "--timeout", "120", "--json", "--processes", "\(stack.folder)/run"
        ).requireSuccess()
        let report = try Report(rush.output)
        #expect(report.count("reserved") + report.count("waitlisted") + report.count("rejected") == 600)
        #expect(report.count("captured") == 60)
        #expect(report.count("decidedTwice") == 0)
        #expect(report.count("posts") == 1)
        let audit = try await stack.stampede("audit", "--json")
        #expect(audit.code == 0, "\(audit.output)")

        // The groups that `topics lag` shows are those that the services have.
        for service in Settings.Service.allCases {
            let pool = try PostgresPool(
                dsn: try stack.settings().dsn(service), connectionsMax: 1, applicationName: "test",
                log: Logger(service: "test", level: .error), metrics: Metrics())
            let rows = try await pool.query("SELECT DISTINCT processor, topic FROM consumer_offsets")
            let readers = try rows.map {
                ConsumerGroups.Reader(
                    group: "\(service.rawValue).\(try $0.get(0, as: String.self))", topic: try $0.get(1))
            }
            let known = ConsumerGroups.all.filter { $0.group.hasPrefix("\(service.rawValue).") }
            #expect(Set(readers.map { "\($0)" }) == Set(known.map { "\($0)" }))
            await pool.close()
        }

        // Starting what runs changes nothing.
        let before = stack.processNumber("messaging")
        try await stack.script("up").requireSuccess()
        #expect(stack.processNumber("messaging") == before)
        try await stack.script("down").requireSuccess()
        #expect(!FileManager.default.fileExists(atPath: "\(stack.folder)/run"))
    }

    /// On Apache Kafka where there is one: the mock cluster is slow to let a group go on whose member was killed.
    @Test(arguments: Stack.brokers.suffix(1))
    func everyServiceMayCrashInTheMiddleOfASale(broker: Stack.Broker) async throws {
        try await Stack.with(broker) { stack in
            async let rush = stack.stampede(
                "rush", "--orders", "6000", "--units", "300", "--waitlist", "100", "--poor", "20", "--listeners", "0",
                "--connections", "16", "--timeout", "200", "--json", "--processes", "\(stack.folder)/run")
            // In the middle: some orders are decided, most are not even sent.
            let answers = try await TopicScan(
                stack.settings().kafka(clientID: "test"), topic: Topic.reservations.name, from: .beginning, toEnd: false
            )
            try await stack.eventually { try await answers.next()?.isEmpty == false }
            await answers.close()
            for service in Settings.Service.allCases { try await stack.crash(service.rawValue) }
            // Its exit code: all accepted, each decided once, everybody told.
            try await rush.requireSuccess()
            let audit = try await stack.stampede("audit", "--settle", "60", "--json")
            #expect(audit.code == 0, "\(audit.output)")

            let log = try String(contentsOfFile: "\(stack.folder)/log/supervisor.log", encoding: .utf8)
            for service in Settings.Service.allCases {
                #expect(log.contains("\(service.rawValue) ended by signal KILL"), "\(log)")
            }
        }
    }

    private func everyRoleIsRefusedWhatIsAnothersAndTheGatewayHidesWhatIsInternal(_ stack: Stack) async throws {
        let settings = try stack.settings()
        let tables: [Settings.Service: String] = [
            .messaging: "accounts", .catalog: "sales", .reservation: "orders", .payment: "transfers",
            .notification: "told",
        ]
        for service in Settings.Service.allCases {
            let pool = try PostgresPool(
                dsn: try settings.dsn(service), connectionsMax: 1, applicationName: "test",
                log: Logger(service: "test", level: .error), metrics: Metrics())
            for (other, table) in tables {
                let sql: SQL = "SELECT count(*) FROM \(identifier: other.rawValue).\(identifier: table)"
                if other == service {
                    _ = try await pool.query(sql)
                } else {
                    let error = await #expect(throws: PostgresError.self) { try await pool.query(sql) }
                    #expect(error?.sqlState == "42501", "\(service) reading \(other): \(String(describing: error))")
                }
            }
            // Rows are its own, tables are its owner's.
            let table = try #require(tables[service])
            let refused: [SQL] = [
                "CREATE TABLE public.strange (id int)", "CREATE TABLE strange (id int)",
                "DROP TABLE \(identifier: table)", "TRUNCATE \(identifier: table)",
                "ALTER TABLE \(identifier: table) ADD COLUMN strange int",
                "ALTER TABLE \(identifier: table) DISABLE TRIGGER ALL",
                "DROP SCHEMA \(identifier: service.rawValue) CASCADE",
                "DELETE FROM migrations", "SET ROLE \(identifier: service.rawValue + "_owner")",
            ]
            for sql in refused {
                let error = await #expect(throws: PostgresError.self, "\(service): \(sql)") {
                    try await pool.execute(sql)
                }
                #expect(error?.sqlState == "42501", "\(service): \(sql)")
            }
            await pool.close()
        }

        let client = try HTTPClient()
        let url = try settings.value("STAMPEDE_GATEWAY_URL")
        for path in ["/health/live", "/health/ready", "/metrics", "/v1/unknown"] {
            let response = try await client.send(ClientRequest(.get, url + path))
            #expect(response.status == 404, "\(path)")
            #expect(response.header("Content-Type") == "application/problem+json", "\(path)")
        }
        let large = try await client.send(
            ClientRequest(.post, url + "/v1/accounts", body: Array(repeating: 32, count: 2 << 20)))
        #expect(large.status == 413)
        await client.close()
    }

    private func ordersByKcatAreDecidedAndBrokenRecordsAreNamed(_ stack: Stack) async throws {
        let settings = try stack.settings()
        let client = try HTTPClient()
        let market = try await Preparation(
            api: APIClient(client: client, baseURL: try settings.value("STAMPEDE_GATEWAY_URL")),
            operatorSecret: try settings.value("STAMPEDE_OPERATOR_SECRET"), plan: Self.plan(orders: 3),
            console: .silent, publisher: PublisherName(try settings.value("STAMPEDE_PUBLISHER"))
        ).run()
        await client.close()
        try await Task.sleep(for: market.noon - WallClock.now())

        let kcat = Kcat(stack: stack, servers: try settings.value("KAFKA_BOOTSTRAP_SERVERS"))
        let buyers = market.buyers.ids
        let good = order(market.sale, buyer: buyers[0])
        try await kcat.publish(key: buyers[0].description, "nonsense")
        try await kcat.publish(key: buyers[0].description, good.replacing("\"batch\":1", with: "\"batch\":\"one\""))
        try await kcat.publish(
            key: buyers[0].description,
            good.replacing(market.sale.description, with: UUID().uuidString.lowercased()))
        try await kcat.publish(key: buyers[1].description, good)
        try await kcat.publish(key: buyers[0].description, nil)
        try await kcat.publish(key: buyers[0].description, String(repeating: "x", count: 2 << 20))
        try await kcat.publish(key: buyers[0].description, good, headers: [])
        // Claims to be of who publishes from here, and cannot prove it.
        try await kcat.publish(
            key: buyers[0].description, good,
            headers: Kcat.headers + ["stampede-published-by=rush:\(String(repeating: "A", count: 43))"])
        try await kcat.publish(key: buyers[0].description, good)
        // Once more: the same order again, by the tool and as a whole CloudEvent.
        let file = "\(stack.folder)/orders.jsonl"
        let structured =
            "{\"specversion\":\"1.0\",\"id\":\"2\",\"source\":\"/test\",\"type\":\"\(OrderPlaced.type)\",\"data\":"
            + order(market.sale, buyer: buyers[2]) + "}"
        let signed = order(market.sale, buyer: buyers[1])
        try [signed, structured].joined(separator: "\n")
            .write(toFile: file, atomically: true, encoding: .utf8)
        try await stack.stampede("publish", file).requireSuccess()
        // Anybody can write this. It takes nothing back of what the tool has signed.
        try await kcat.publish(
            key: buyers[1].description, signed,
            headers: Kcat.headers.map { $0.replacing(OrderPlaced.type, with: OrderCancelled.type) })

        try await stack.eventually {
            try await Self.deadReasons(stack).count >= 8
        }
        let reasons = try await Self.deadReasons(stack)
        #expect(reasons.count == 8, "\(reasons)")
        for part in ["JSON", "batch", "sale", "key", "no value", "bytes", "ce_type", "stampede-published-by"] {
            #expect(reasons.contains { $0.localizedCaseInsensitiveContains(part) }, "\(part) in \(reasons)")
        }
        let audit = try await stack.stampede("audit", "--json")
        #expect(audit.code == 0, "\(audit.output)")
        let stock = try Report(audit.output)
        #expect(stock.examined("decided") == 3)
        try await expectOnlySignedOrdersPaid(stack, market)
    }

    /// Of three orders for two units, one by nobody's word and two by the tool's, none was taken back by another, and
    /// authorisations have paid what the tool signed alone.
    private func expectOnlySignedOrdersPaid(_ stack: Stack, _ market: Market) async throws {
        func pool(_ service: Settings.Service) throws -> PostgresPool {
            try PostgresPool(
                dsn: try stack.settings().dsn(service), connectionsMax: 1, applicationName: "test",
                log: .init(service: "test", level: .error), metrics: .init())
        }
        let (reservation, payment) = (try pool(.reservation), try pool(.payment))
        var all: [String] = []
        var publishers: [OrderID: String] = [:]
        for row in try await reservation.query(
            """
            SELECT order_id, coalesce(publisher, 'nobody'), state FROM audit_orders WHERE sale_id = \(market.sale)
            ORDER BY publisher
            """)
        {
            let (order, publisher, state): (OrderID, String, String) = (try row.get(0), try row.get(1), try row.get(2))
            #expect(state != "released", "\(order) of \(publisher)")
            all.append(publisher)
            if state != "waitlisted" { publishers[order] = publisher }
        }
        #expect(all == ["rush", "rush", "nobody"])
        #expect(publishers.count == 2)
        var states: [OrderID: String] = [:]
        try await stack.eventually {
            for row in try await payment.query(
                "SELECT order_id, state::text FROM orders WHERE order_id = ANY(\(Array(publishers.keys)))")
            { states[try row.get(0)] = try row.get(1, as: String.self) }
            return states.count == publishers.count
        }
        for (order, publisher) in publishers {
            #expect(states[order] == (publisher == "nobody" ? "payable" : "captured"), "\(publisher)")
        }
        await reservation.close()
        await payment.close()
    }

    // MARK: Pieces

    private static func plan(orders: Int) -> RushPlan {
        RushPlan(
            orders: orders, units: 2, via: .kafka, waitlistMax: 5, holdSeconds: 600, poorPerMille: 0, listeners: 0,
            connections: 1, threads: 1, noonSeconds: 1, inFlightMax: nil, timeoutSeconds: 60)
    }

    private func order(_ sale: SaleID, buyer: AccountID) -> String {
        var random = SystemRandomNumberGenerator()
        return String(
            decoding: JSONWriter.document(
                OrderPlaced(
                    orderId: .v7(at: WallClock.now(), random: (random.next(), random.next())), saleId: sale, batch: 1,
                    variant: RushPlan.variant, buyerId: buyer)), as: UTF8.self)
    }

    private static func deadReasons(_ stack: Stack) async throws -> [String] {
        let list = try await stack.stampede("dead", "list", "orders", "--json").requireSuccess()
        return try JSONParser.parse(Array(list.output.utf8)) { (json) throws(JSONError) in
            try json.elements(countMax: 1000) { (letter) throws(JSONError) in try letter.string("reason") }
        }
    }
}

/// kcat, as the README shows it.
struct Kcat: Sendable {
    let stack: Stack
    let servers: String

    static let headers = ["ce_specversion=1.0", "ce_type=\(OrderPlaced.type)", "ce_source=/test", "ce_id=test"]

    /// - Parameter value: nil: a record without a value.
    func publish(key: String, _ value: String?, headers: [String] = Kcat.headers) async throws {
        var arguments = ["-P", "-b", servers, "-t", "orders", "-X", "message.max.bytes=4000000"]
        for header in headers { arguments += ["-H", header] }
        guard let value else {
            // A file without a byte would be no record; a line that ends after its key is one without a value.
            try await stack.run("/usr/bin/kcat", arguments + ["-K", ":", "-Z"], input: "\(key):\n").requireSuccess()
            return
        }
        let file = "\(stack.folder)/record-\(UUID().uuidString)"
        try value.write(toFile: file, atomically: true, encoding: .utf8)
        try await stack.run("/usr/bin/kcat", arguments + ["-k", key, file]).requireSuccess()
    }
}

/// The JSON that `rush` and `audit` print.
struct Report {
    private let bytes: [UInt8]

    init(_ text: String) throws {
        bytes = Array(text.utf8)
        try JSONParser.parse(bytes) { (_) throws(JSONError) in }
    }

    func count(_ name: StaticString) -> Int? {
        try? JSONParser.parse(bytes) { (json) throws(JSONError) in
            Int(try json.read("counts") { (counts) throws(JSONError) in try counts.integer(name) })
        }
    }

    func number(_ name: StaticString) -> Int? {
        try? JSONParser.parse(bytes) { (json) throws(JSONError) in Int(try json.integer(name)) }
    }

    func p99(_ name: StaticString) -> Int? {
        try? JSONParser.parse(bytes) { (json) throws(JSONError) in
            Int(
                try json.read("microseconds") { (all) throws(JSONError) in
                    try all.read(name) { (one) throws(JSONError) in try one.integer("p99") }
                })
        }
    }

    var refusedByStatus: [Int: Int] {
        var refused: [Int: Int] = [:]
        for (status, count) in (try? DocumentTree(json: bytes))?["refusedByStatus"]?.members ?? [:] {
            refused[Int(status) ?? -1] = Int(count.integer ?? -1)
        }
        return refused
    }

    /// By program, the most that it took.
    var memoryPeakBytes: [String: Int] {
        let uses = try? JSONParser.parse(bytes) { (json) throws(JSONError) in
            try json.list("processes", countMax: 100) { (use) throws(JSONError) in
                (try use.string("name"), Int(try use.integer("memoryPeakBytes")))
            }
        }
        return Dictionary(uses ?? []) { max($0, $1) }
    }

    /// How many things the audit's check looked at.
    func examined(_ check: String) -> Int? {
        let checks = try? JSONParser.parse(bytes) { (json) throws(JSONError) in
            try json.list("checks", countMax: 100) { (check) throws(JSONError) in
                (try check.string("name"), Int(try check.integer("examined")))
            }
        }
        return checks?.first { $0.0 == check }?.1
    }
}

private func + (left: Int?, right: Int?) -> Int? {
    guard let left, let right else { return nil }
    return left + right
}
