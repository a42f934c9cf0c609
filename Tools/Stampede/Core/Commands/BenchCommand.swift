// How fast the reservation service decides: a backlog of orders, published before it starts, decided exactly once.
import EventPipeline
import Foundation
import JSON
import Kafka
import Models
import Observability
import Security

struct BenchCommand: Command {
    static let description = CommandDescription(
        "bench", "measure how fast a backlog of orders is decided",
        options: [
            Option("orders", "N", "orders in the backlog", default: "1300000"),
            Option("units", "N", "phones", default: "150000"),
            Option("waitlist", "N", "orders that may wait, of each sale", default: "1000"),
            Option("sales", "N", "sales at once, which share the orders and the phones", default: "1"),
            Option("instances", "N", "instances of the service", default: "1"),
            Option("change", "WHAT", "what happens after a third of the answers: joins, leaves or dies"),
            Option("program", "PATH", "the reservation service", default: ".build/release/reservation"),
            Option("log", "FILE", "where the service's output goes", default: "/dev/null"),
            Option("timeout", "SECONDS", "give up so long after its start", default: "300"),
            .json,
        ],
        details: """
            It publishes a sale and the orders, starts the service, and looks at how far the topic reservations has grown,
            from its first new record to its last. Afterwards it reads them all: every order must have one answer. The embedded
            broker cannot hold such a backlog: there the service starts first and is fed as fast as it decides.

            With --change one more instance comes, or the last one ends or is killed while they decide; how long partitions
            stood still is counted from then on.
            """)

    private let kafka: KafkaConfiguration
    private let settings: Settings
    private let plan: RushPlan
    private let sales: Int
    private let instances: Int
    private let change: Change?
    private let program: String
    private let log: String
    private let json: Bool
    /// Of the one who publishes the orders, made for this run.
    private let secret = Random.bytes(PublisherKey.secretBytes)
    private static let publisher = "bench"

    init(_ arguments: Arguments, _ settings: Settings) throws {
        kafka = try settings.kafka(clientID: "stampede-bench")
        self.settings = settings
        _ = try settings.dsn(.reservation)
        plan = RushPlan(
            orders: try arguments.integer("orders", in: 1...20_000_000),
            units: try arguments.integer("units", in: 1...20_000_000), via: .kafka,
            waitlistMax: try arguments.integer("waitlist", in: 0...1_000_000), holdSeconds: 86_400, poorPerMille: 0,
            listeners: 0, connections: 0, threads: 0, noonSeconds: 0, inFlightMax: nil,
            timeoutSeconds: try arguments.integer("timeout", in: 1...3600))
        sales = try arguments.integer("sales", in: 1...1_000)
        instances = try arguments.integer("instances", in: 1...48)
        change = try arguments["change"].map { text in
            guard let change = Change(rawValue: text) else {
                throw CommandError(.usage, "--change \(text): expected joins, leaves or dies")
            }
            return change
        }
        guard change == nil || change == .joins || instances > 1 else {
            throw CommandError(.usage, "--change \(change?.rawValue ?? ""): nobody would be left; set --instances")
        }
        program = arguments["program"] ?? ""
        log = arguments["log"] ?? "/dev/null"
        json = arguments.has("json")
    }

    /// What becomes of the instances in the middle.
    private enum Change: String { case joins, leaves, dies }

    private struct Result: Sendable {
        var decideSeconds: Double
        var publishSeconds: Double
        var answers: Int
        var reserved: Int
        var rejected: Int
        var waitlisted: Int
        var processorSeconds: Double
        /// Between two and four fifths of the answers: all instances have their share, and none has run out.
        var steadySeconds = 0.0
        /// Of the instance that had most.
        var memoryPeakBytes: Int
        var pauses = Pauses()
    }

    /// The longest that each partition of the answers did not grow, between its first growth and its last.
    private struct Pauses: Sendable {
        private var grew: [Int32: (to: Int64, at: ContinuousClock.Instant)] = [:]
        private var longest: [Int32: Duration] = [:]

        mutating func note(_ ends: [Int32: Int64], from before: [Int32: Int64]) {
            let now = ContinuousClock.now
            for (partition, end) in ends where end > grew[partition]?.to ?? before[partition] ?? 0 {
                if let last = grew[partition] {
                    longest[partition] = max(longest[partition] ?? .zero, now - last.at)
                }
                grew[partition] = (end, now)
            }
        }

        /// What came before a change is not its doing.
        mutating func forget() { longest = [:] }

        /// In milliseconds, of the partitions: the middle one's and the longest.
        var median: Int { milliseconds.isEmpty ? 0 : milliseconds[milliseconds.count / 2] }
        var most: Int { milliseconds.last ?? 0 }
        private var milliseconds: [Int] { longest.values.map { Int($0.seconds * 1000) }.sorted() }
    }

    /// The instances of the service, each under a name of its own.
    private final class Fleet {
        private let start: (Int) throws -> ChildProgram
        private var programs: [ChildProgram] = []
        /// Of those that have ended, and of those that run.
        private var uses: [Int32: ProcessMeter.Use] = [:]

        init(_ start: @escaping (Int) throws -> ChildProgram) { self.start = start }

        var processorSeconds: Double { uses.values.reduce(0) { $0 + $1.processorSeconds } }
        var memoryPeakBytes: Int { uses.values.map(\.memoryPeakBytes).max() ?? 0 }
        var haveEnded: Bool { programs.contains { !$0.isRunning } }

        func add(_ count: Int) throws {
            for _ in 0..<count { programs.append(try start(programs.count + 1)) }
        }

        func measure() {
            for program in programs {
                uses[program.processIdentifier] =
                    ProcessMeter.use(ofProcess: program.processIdentifier, name: "reservation")
                    ?? uses[program.processIdentifier]
            }
        }

        func undergo(_ change: Change) throws {
            measure()
            switch change {
            case .joins: try add(1)
            case .leaves: programs.popLast()?.terminate()
            case .dies: if let last = programs.popLast() { kill(last.processIdentifier, SIGKILL) }
            }
        }

        func terminate() { for program in programs { program.terminate() } }
        func wait() async { for program in programs { _ = await program.wait() } }
    }

    func run(_ console: Console) async throws -> ExitCode {
        let admin = try KafkaAdmin(kafka)
        let isEmbedded = try await admin.clusterID().hasPrefix("mockCluster")
        let (market, sales) = try await openSales(console)
        let before = try await answersSoFar(admin)
        let journal = Journal(orders: plan.orders, noon: market.noon)
        let fleet = Fleet(start)
        var orders = plan
        orders.inFlightMax = isEmbedded ? 150_000 : nil
        if isEmbedded { try fleet.add(instances) }
        defer { fleet.terminate() }
        console.progress("bench: publishing \(plan.orders.grouped) orders")
        let started = ContinuousClock.now
        let signer = PublisherName(Self.publisher).map { PublisherKey($0, secret: secret) }
        let sending = Task { [orders] in
            try await KafkaOrders(
                plan: orders, market: market, kafka: kafka, signer: signer, readers: [ConsumerGroups.decisions],
                sales: sales
            ).send(into: journal)
        }
        if !isEmbedded {
            try await sending.value
            try fleet.add(instances)
        }
        let publishSeconds = (ContinuousClock.now - started).seconds
        let (decideSeconds, steadySeconds, pauses) = try await measure(admin, from: before, fleet, console)
        if isEmbedded { try await sending.value }
        fleet.terminate()
        await fleet.wait()
        var result = try await count(from: before, console)
        console.endProgress()
        result.decideSeconds = decideSeconds
        result.steadySeconds = steadySeconds
        result.pauses = pauses
        result.publishSeconds = publishSeconds
        result.processorSeconds = fleet.processorSeconds
        result.memoryPeakBytes = fleet.memoryPeakBytes
        let isRight = result.answers == plan.orders && result.reserved == reservedExpected
        report(result, isEmbedded: isEmbedded, isRight: isRight, console)
        return isRight ? .success : .foundWrong
    }

    private func units(ofSale number: Int) -> Int { plan.units / sales + (number < plan.units % sales ? 1 : 0) }

    private var reservedExpected: Int {
        (0..<sales).reduce(0) { sum, number in
            sum + min(units(ofSale: number), plan.orders / sales + (number < plan.orders % sales ? 1 : 0))
        }
    }

    /// Sales that are open, published without catalog: only the topic matters to reservation.
    private func openSales(_ console: Console) async throws -> (Market, [SaleID]) {
        var random = SystemRandomNumberGenerator()
        let now = WallClock.now()
        func id<Kind>(_: Kind.Type = Kind.self) -> Identifier<Kind> {
            .v7(at: now, random: (random.next(), random.next()))
        }
        var buyers = Buyers(capacity: plan.orders)
        for _ in 0..<plan.orders { buyers.append(id()) }
        guard let title = LocalizedText(["en": "Bench"]) else { throw CommandError(.failure, "no title") }
        let opened = (0..<sales).map { number in
            Sale(
                saleId: id(), brandId: id(), productId: id(), title: title, revision: 1,
                holdSeconds: Int64(plan.holdSeconds), waitlistMax: Int64(plan.waitlistMax),
                batches: [
                    Sale.Batch(
                        number: 1, opensAt: now, closesAt: nil,
                        lines: [
                            Sale.Line(
                                variant: RushPlan.variant, units: Int64(units(ofSale: number)),
                                price: Money(RushPlan.priceMinorUnits, .cny))
                        ])
                ])
        }
        let producer = try KafkaProducer(
            kafka, log: Logger(service: "stampede-bench", level: .warning), metrics: Metrics(), giveUpSeconds: 30)
        var records = RecordBatch()
        var encoder = CloudEventEncoder(source: "/stampede/bench")
        for sale in opened {
            encoder.append(
                sale, topic: .sales, key: sale.saleId.textBytes, id: Array("\(sale.saleId)/1".utf8), time: now,
                to: &records)
        }
        try await producer.send(records)
        await producer.close(timeoutSeconds: 10)
        return (
            Market(brand: opened[0].brandId, sale: opened[0].saleId, noon: now, buyers: buyers, tokens: []),
            opened.map(\.saleId)
        )
    }

    private func start(_ number: Int) throws -> ChildProgram {
        let log = number == 1 || log == "/dev/null" ? log : "\(log).\(number)"
        if log != "/dev/null" { _ = FileManager.default.createFile(atPath: log, contents: nil) }
        guard let output = FileHandle(forWritingAtPath: log) else {
            throw CommandError(.usage, "\(log) cannot be written")
        }
        let digits = secret.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined()
        return try ChildProgram(
            program,
            environment: [
                "PATH": "/usr/bin:/bin",
                "KAFKA_BOOTSTRAP_SERVERS": kafka.bootstrapServers,
                "STAMPEDE_POSTGRES_DSN": try settings.dsn(.reservation),
                "STAMPEDE_HTTP_PORT": "0", "STAMPEDE_INSTANCE": "bench-\(number)",
                "STAMPEDE_PUBLISHERS": "\(Self.publisher)=\(digits) messaging=\(digits)",
                // Nobody asks it anything.
                "STAMPEDE_ROOT_KEYS": Base64URL.encode(Random.bytes(32)),
            ], output: output)
    }

    private func answersSoFar(_ admin: KafkaAdmin) async throws -> [Int32: Int64] {
        let topic = try await admin.describe(topics: [Topic.reservations.name]).first
        return Dictionary(uniqueKeysWithValues: topic?.partitions.map { ($0.id, $0.highWatermark) } ?? [])
    }

    /// Seconds from the first new answer to the last. Looking at the log's end costs next to nothing; reading it would
    /// take processor time from what is measured.
    private func measure(
        _ admin: KafkaAdmin, from before: [Int32: Int64], _ fleet: Fleet, _ console: Console
    ) async throws -> (seconds: Double, steadySeconds: Double, Pauses) {
        let deadline = ContinuousClock.now + .seconds(plan.timeoutSeconds)
        let zero = before.values.reduce(0, +)
        var first: ContinuousClock.Instant?
        var last = ContinuousClock.now
        var answers: Int64 = 0
        var pauses = Pauses()
        var change = change
        var steady: (from: ContinuousClock.Instant?, seconds: Double) = (nil, 0)
        while ContinuousClock.now < deadline {
            if fleet.haveEnded { throw CommandError(.failure, "the service ended; see \(log)") }
            let ends = try await answersSoFar(admin)
            pauses.note(ends, from: before)
            let now = ends.values.reduce(0, +) - zero
            if now > answers {
                answers = now
                last = .now
                first = first ?? last
                console.progress("bench: \(answers.grouped) answers")
            }
            if answers >= plan.orders * 2 / 5, steady.from == nil { steady.from = .now }
            if answers >= plan.orders * 4 / 5, steady.seconds == 0, let from = steady.from {
                steady.seconds = (ContinuousClock.now - from).seconds
            }
            if answers >= plan.orders / 3, let due = change.take() {
                pauses.forget()
                try fleet.undergo(due)
            }
            if answers >= plan.orders, ContinuousClock.now - last > .seconds(1) {
                fleet.measure()
                return ((last - (first ?? last)).seconds, steady.seconds, pauses)
            }
            try await Task.sleep(for: .milliseconds(20))
        }
        throw CommandError(
            .failure, "\(answers.grouped) of \(plan.orders.grouped) answers after \(plan.timeoutSeconds) s")
    }

    /// Every answer once, counted by reading.
    private func count(from before: [Int32: Int64], _ console: Console) async throws -> Result {
        var result = Result(
            decideSeconds: 0, publishSeconds: 0, answers: 0, reserved: 0, rejected: 0, waitlisted: 0,
            processorSeconds: 0,
            memoryPeakBytes: 0)
        let (rejected, reserved, waitlisted) = (
            Array(OrderRejected.type.utf8), Array(OrderReserved.type.utf8), Array(OrderWaitlisted.type.utf8)
        )
        let low = try await KafkaAdmin(kafka).describe(topics: [Topic.reservations.name]).first?.partitions ?? []
        // What the embedded broker has forgotten cannot be counted: the schema says it then.
        guard low.allSatisfy({ $0.lowWatermark <= before[$0.id] ?? 0 }) else { return try await countRows() }
        let scan = try await TopicScan(kafka, topic: Topic.reservations.name, from: .offsets(before), toEnd: true)
        // Where a partition changed hands, what had just been committed may be published by both: under one ID, which
        // counts once. Of 64 bits two of ten million fall together once in 370,000 runs.
        var seen = Set<Int>(minimumCapacity: plan.orders)
        while let batches = try await scan.next() {
            for batch in batches {
                for record in batch {
                    guard let type = record.eventType, let id = record.eventID else { continue }
                    var hasher = Hasher()
                    for byte in id { hasher.combine(byte) }
                    guard seen.insert(hasher.finalize()).inserted else { continue }
                    if type.elementsEqual(rejected) {
                        result.rejected += 1
                    } else if type.elementsEqual(reserved) {
                        result.reserved += 1
                    } else if type.elementsEqual(waitlisted) {
                        result.waitlisted += 1
                    }
                }
            }
            result.answers = result.rejected + result.reserved + result.waitlisted
            console.progress("bench: \(result.answers.grouped) answers read")
        }
        await scan.close()
        return result
    }

    private func countRows() async throws -> Result {
        let gathering = try Gathering(kafka: kafka, dsn: settings.dsn, services: [.reservation])
        let orders = try await gathering.reservationOrders()
        var result = Result(
            decideSeconds: 0, publishSeconds: 0, answers: orders.count, reserved: 0, rejected: 0, waitlisted: 0,
            processorSeconds: 0, memoryPeakBytes: 0)
        for facts in orders.facts {
            if facts.contains(.decidedTwice) { throw CommandError(.foundWrong, "an order was decided twice") }
            if facts.contains(.held) { result.reserved += 1 }
            if facts.contains(.waiting) { result.waitlisted += 1 }
            if facts.contains(.refused) { result.rejected += 1 }
        }
        return result
    }

    private func report(_ result: Result, isEmbedded: Bool, isRight: Bool, _ console: Console) {
        let rate = Int(Double(plan.orders) / max(result.decideSeconds, 0.001))
        if json {
            console.print(
                json: JSONWriter.object {
                    $0.field("orders", plan.orders)
                    $0.field("units", plan.units)
                    $0.field("sales", sales)
                    $0.field("instances", instances)
                    $0.field("right", isRight)
                    $0.field("broker", isEmbedded ? "embedded" : "kafka")
                    $0.field("decidedPerSecond", rate)
                    $0.field(
                        "steadyPerSecond", Int(Double(plan.orders) * 0.4 / max(result.steadySeconds, 0.001)))
                    $0.field("decideMilliseconds", Int((result.decideSeconds * 1000).rounded()))
                    $0.field("publishMilliseconds", Int((result.publishSeconds * 1000).rounded()))
                    $0.field("answers", result.answers)
                    $0.field("reserved", result.reserved)
                    $0.field("waitlisted", result.waitlisted)
                    $0.field("rejected", result.rejected)
                    $0.field("processorMilliseconds", Int((result.processorSeconds * 1000).rounded()))
                    $0.field("memoryPeakBytes", result.memoryPeakBytes)
                    $0.field("medianPauseMilliseconds", result.pauses.median)
                    $0.field("longestPauseMilliseconds", result.pauses.most)
                })
            return
        }
        console.print(
            """
            \(plan.orders.grouped) orders for \(plan.units.grouped) phones: \(result.reserved.grouped) reserved, \
            \(result.waitlisted.grouped) waitlisted, \(result.rejected.grouped) rejected
            decided in \(result.decideSeconds.fixed(2)) s, \(rate.grouped) a second, answers published
            the service took \(result.processorSeconds.fixed(1)) s of processor time and \(result.memoryPeakBytes >> 20) MB
            a partition stood still for \(result.pauses.median) ms at the longest, one of them for \(result.pauses.most) ms
            """)
        if isEmbedded { console.print("(fed as fast as it decided: the embedded broker holds no backlog)") }
        if !isRight { console.print("WRONG: \(result.answers.grouped) answers to \(plan.orders.grouped) orders") }
    }
}
