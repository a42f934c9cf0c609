// The noon: prepares a market, lets everybody order at once, follows every order to its end, reports.
import Foundation
import HTTP
import JSON
import Kafka
import Models
import Security

struct RushCommand: Command {
    static let description = CommandDescription(
        "rush", "open a sale and let the crowd in: load, followed to its end, with a report",
        options: [
            Option("orders", "N", "buyers, who order one each", default: "100000"),
            Option("units", "N", "phones", default: "10000"),
            Option("via", "WAY", "http: through the gateway; kafka: published to the topic", default: "http"),
            Option("waitlist", "N", "orders that may wait for what others let go", default: "1000"),
            Option("poor", "N", "of a thousand buyers so many cannot pay", default: "10"),
            Option("hold", "SECONDS", "how long a phone waits for its money", default: "600"),
            Option("listeners", "N", "buyers with a live connection (http only)", default: "2000"),
            Option("connections", "N", "connections that orders go over", default: "256"),
            Option("threads", "N", "threads that send", default: "1"),
            Option("rate", "N", "orders a second, answered or not (http only); else as fast as they are answered"),
            Option(
                "attempts", "N", "times that an order is sent that is told to come again (http only)", default: "30"),
            Option("noon", "SECONDS", "from the end of the preparation", default: "3"),
            Option("in-flight", "N", "orders that may be unread by a service; 0: all (150000 on the embedded broker)"),
            Option("timeout", "SECONDS", "give up so long after noon", default: "300"),
            Option("processes", "FOLDER", "where NAME.pid files of the programs to measure are"),
        ] + Option.publisher + [.json],
        details: """
            It makes a brand, a product, buyers with money and a standing authorisation, and a sale; waits for its opening;
            orders. It ends when every order is decided, every reserved one paid or released, and everybody told. Exit code 1
            when that did not happen in time, or an order was refused. The authorisations name the publisher that it is; orders
            to the topic are proven to be its own.
            """)

    private let plan: RushPlan
    private let gatewayURL: String
    private let operatorSecret: String
    private let kafka: KafkaConfiguration
    private let publisher: PublisherKey?
    private let processes: String?
    private let json: Bool

    init(_ arguments: Arguments, _ settings: Settings) throws {
        let via: RushPlan.Via = try arguments.choice("via")
        plan = RushPlan(
            orders: try arguments.integer("orders", in: 1...5_000_000),
            units: try arguments.integer("units", in: 1...5_000_000), via: via,
            waitlistMax: try arguments.integer("waitlist", in: 0...1_000_000),
            holdSeconds: try arguments.integer("hold", in: 1...604_800),
            poorPerMille: try arguments.integer("poor", in: 0...1000),
            listeners: via == .http ? try arguments.integer("listeners", in: 0...100_000) : 0,
            connections: try arguments.integer("connections", in: 1...10_000),
            threads: try arguments.integer("threads", in: 1...64),
            noonSeconds: try arguments.integer("noon", in: 1...3600),
            inFlightMax: try arguments.optionalInteger("in-flight", in: 0...10_000_000),
            timeoutSeconds: try arguments.integer("timeout", in: 1...4000),
            rate: try arguments.optionalInteger("rate", in: 1...1_000_000),
            attemptsMax: try arguments.integer("attempts", in: 1...1000))
        gatewayURL = try settings.value("STAMPEDE_GATEWAY_URL")
        operatorSecret = try settings.value("STAMPEDE_OPERATOR_SECRET")
        kafka = try settings.kafka(clientID: "stampede-rush")
        publisher = try settings.publisher(arguments)
        // No authorisation would pay its orders.
        if via == .kafka, publisher == nil { throw UsageError("--via kafka needs --as and --key-file") }
        processes = arguments["processes"]
        json = arguments.has("json")
    }

    func run(_ console: Console) async throws -> ExitCode {
        let meter = ProcessMeter(folder: processes)
        let client = try HTTPClient(
            connectionsMax: plan.listeners + 64, connectionsPerHostMax: plan.listeners + 64, requestsWaitingMax: 100_000
        )
        let api = APIClient(client: client, baseURL: gatewayURL)
        let market = try await Preparation(
            api: api, operatorSecret: operatorSecret, plan: plan, console: console, publisher: publisher?.name
        ).run()
        let journal = Journal(orders: plan.orders, noon: market.noon)
        let followers = try await Followers(kafka, buyers: market.buyers, sale: market.sale, brand: market.brand)
        let following = Task { try await followers.follow(into: journal) }
        let listening = Task { [plan] in
            if plan.listeners > 0 {
                await Listeners(api: api, market: market, count: plan.listeners).listen(into: journal)
            }
        }
        defer {
            following.cancel()
            listening.cancel()
        }
        try await waitForNoon(market, api, console)
        let before = meter.read()
        let sending = Task { try await send(market, journal) }
        let isComplete = try await watch(journal, sending, console)
        console.endProgress()
        let after = meter.read()
        let counts = journal.counts
        let report = RushReport(
            plan: plan, sale: market.sale, counts: counts, times: journal.times(), noon: market.noon,
            processes: ProcessMeter.difference(before, after), isComplete: isComplete,
            totalSeconds: (WallClock.now() - market.noon).seconds)
        if json { console.print(json: report.json) } else { console.print(report.text) }
        return isComplete && counts.refused == 0 && counts.decidedTwice == 0 ? .success : .foundWrong
    }

    /// Until noon by the clock, and until every service knows of the sale.
    private func waitForNoon(_ market: Market, _ api: APIClient, _ console: Console) async throws {
        for _ in 0..<600 {
            let stock = try await api.response(
                .get, "/v1/stock/\(market.sale)", token: market.tokens.first.map { String(decoding: $0, as: UTF8.self) }
            )
            if stock.status != 404 { break }
            try await Task.sleep(for: .milliseconds(100))
        }
        while true {
            let left = (market.noon - WallClock.now()).seconds
            guard left > 0 else { return }
            console.progress("\(plan.orders.grouped) buyers are ready; noon in \(left.fixed(0)) s")
            // A moment past noon, so that the broker's clock, which counts in milliseconds, has it too.
            try await Task.sleep(for: .seconds(left > 1 ? 1 : left + 0.005))
        }
    }

    private func send(_ market: Market, _ journal: Journal) async throws {
        switch plan.via {
        case .http:
            guard let url = URLComponents(string: gatewayURL), url.scheme == "http", let host = url.host else {
                throw UsageError("STAMPEDE_GATEWAY_URL=\(gatewayURL): expected http://ADDRESS:PORT")
            }
            let orders = HTTPOrders(
                plan: plan, market: market, address: host, port: UInt16(clamping: url.port ?? 80))
            try await orders.send(into: journal)
        case .kafka:
            var bounded = plan
            if let given = plan.inFlightMax {
                bounded.inFlightMax = given == 0 ? nil : given
            } else {
                // The embedded broker says who it is, and forgets what is old.
                let cluster = try await KafkaAdmin(kafka).clusterID()
                bounded.inFlightMax = cluster.hasPrefix("mockCluster") ? 150_000 : nil
            }
            try await KafkaOrders(plan: bounded, market: market, kafka: kafka, signer: publisher).send(into: journal)
        }
    }

    /// Shows how far everything is, until nothing is outstanding. False when the time is over.
    private func watch(_ journal: Journal, _ sending: Task<Void, any Error>, _ console: Console) async throws -> Bool {
        let deadline = journal.noon.adding(seconds: Int64(plan.timeoutSeconds))
        var lastShown = ContinuousClock.now
        // Two looks in a row, so that the last event's own consequences are not missed.
        var quietLooks = 0
        while WallClock.now() < deadline {
            try await Task.sleep(for: .milliseconds(100))
            let counts = journal.counts
            if counts.sent == plan.orders { try await sending.value }
            let isDone =
                counts.sent == plan.orders && counts.decided >= counts.accepted && counts.awaitingPayment == 0
                && counts.notified >= counts.tellings && counts.told >= counts.notified - counts.overtaken
                && counts.posts >= counts.broadcasts && counts.confirmed >= counts.captured - counts.refunded
                // A phone that was let go is on its way to whoever waits.
                && (counts.captured - counts.refunded == plan.units || counts.promoted == counts.waitlisted)
            quietLooks = isDone ? quietLooks + 1 : 0
            if quietLooks == 3 { return true }
            if ContinuousClock.now - lastShown > .seconds(1) {
                lastShown = .now
                console.progress(
                    "\((WallClock.now() - journal.noon).seconds.fixed(0)) s: \(counts.accepted.grouped) accepted, "
                        + "\(counts.decided.grouped) decided, \(counts.captured.grouped) paid, \(counts.told.grouped) told"
                )
            }
        }
        sending.cancel()
        return false
    }
}
