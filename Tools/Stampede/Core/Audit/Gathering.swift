// Gathers an audit's evidence, page by page: what is held at once is a page and the table of orders.
import EventPipeline
import JSON
import Kafka
import Models
import Observability
import Postgres
import Security

struct Gathering: Sendable {
    let kafka: KafkaConfiguration
    let pools: [Settings.Service: PostgresPool]
    let console: Console

    /// An order that is reserved this long after its hold ended is overdue.
    private static let holdGraceSeconds = 30
    /// What is older than this may be forgotten in part; a day less than services keep it.
    private static let keptDays = Int32(Retention.endedOrderDays - 1)
    private static let pageRows = 20_000
    /// Of rows that hold many orders each.
    private static let widePageRows = 50

    init(
        kafka: KafkaConfiguration, dsn: (Settings.Service) throws -> String,
        services: [Settings.Service] = Settings.Service.allCases, console: Console = .silent
    ) throws {
        self.kafka = kafka
        self.console = console
        var options = PostgresOptions()
        options.statementTimeoutSeconds = 600
        var pools: [Settings.Service: PostgresPool] = [:]
        for service in services {
            pools[service] = try PostgresPool(
                dsn: try dsn(service), connectionsMax: 1, applicationName: "stampede-audit",
                log: Logger(service: "stampede-audit", level: .error), metrics: Metrics(), options: options)
        }
        self.pools = pools
    }

    func run(settleSeconds: Int) async throws -> Evidence {
        var evidence = Evidence()
        try await waitUntilSettled(settleSeconds, &evidence)
        let dead = try await readDeadLetters(&evidence)
        try await readOrders(except: dead, &evidence)
        try await readAnswers(&evidence)
        let prices = try await readReservation(&evidence)
        try await readMessaging(&evidence)
        try await readPayments(prices, &evidence)
        try await readFailedPayments(&evidence)
        try await readNotification(&evidence)
        try await readCatalog(&evidence)
        for pool in pools.values { await pool.close() }
        return evidence
    }

    private func query(_ service: Settings.Service, _ sql: SQL) async throws -> Rows {
        guard let pool = pools[service] else { throw CommandError(.failure, "no pool of \(service.rawValue)") }
        return try await pool.query(sql)
    }

    // MARK: What is under way

    private func waitUntilSettled(_ seconds: Int, _ evidence: inout Evidence) async throws {
        let deadline = ContinuousClock.now + .seconds(seconds)
        while true {
            evidence.outstanding = try await outstanding()
            if evidence.outstanding.values.allSatisfy({ $0 == 0 }) || ContinuousClock.now > deadline { return }
            console.progress("audit: waiting for the services to finish")
            try await Task.sleep(for: .milliseconds(250))
        }
    }

    private func outstanding() async throws -> [String: Int64] {
        let admin = try KafkaAdmin(kafka)
        let cluster = try await admin.clusterID()
        let topics = try await admin.describe(topics: Topic.allCases.map(\.name))
        var outstanding: [String: Int64] = [:]
        for service in Settings.Service.allCases {
            let outbox = try await query(
                service, "SELECT count(*) FROM audit_unpublished WHERE cluster_id = \(cluster)")
            outstanding["\(service.rawValue): batches to publish"] = try outbox.first?.get(0) ?? 0
            let offsets = try await query(
                service,
                "SELECT processor, topic, partition, next_offset FROM audit_positions WHERE cluster_id = \(cluster)")
            for row in offsets {
                let (processor, topic): (String, String) = (try row.get(0), try row.get(1))
                let (partition, next): (Int32, Int64) = (try row.get(2), try row.get(3))
                guard
                    let log = topics.first(where: { $0.name == topic })?.partitions.first(where: { $0.id == partition })
                else { continue }
                outstanding["\(processor): records of \(topic)", default: 0] +=
                    max(0, log.highWatermark - max(next, log.lowWatermark))
            }
        }
        return outstanding
    }

    // MARK: The log

    private func extent(_ topic: Topic) async throws -> Evidence.Log {
        guard let description = try await KafkaAdmin(kafka).describe(topics: [topic.name]).first else { return .init() }
        return Evidence.Log(
            records: Int(description.partitions.reduce(0) { $0 + $1.highWatermark - $1.lowWatermark }),
            isWhole: description.partitions.allSatisfy { $0.lowWatermark == 0 })
    }

    private func scan(_ topic: String, _ body: (ConsumedRecord) throws -> Void) async throws {
        let scan = try await TopicScan(kafka, topic: topic, from: .beginning, toEnd: true)
        var count = 0
        while let batches = try await scan.next() {
            for batch in batches {
                for record in batch { try body(record) }
                count += batch.count
            }
            console.progress("audit: \(topic), \(count.grouped) records")
        }
        await scan.close()
    }

    private struct Place: Hashable {
        let partition: Int32
        let offset: Int64
    }

    /// Counts the dead letters, and returns where those of `orders` stood.
    private func readDeadLetters(_ evidence: inout Evidence) async throws -> Set<Place> {
        var places: Set<Place> = []
        let topics = try await KafkaAdmin(kafka).describe(topics: Topic.allCases.map(\.deadLetters))
        for topic in Topic.allCases {
            var count = 0
            // Most have none: waiting for the end of an empty topic takes longer than asking for its length.
            let log = topics.first { $0.name == topic.deadLetters }
            guard log?.partitions.contains(where: { $0.highWatermark > $0.lowWatermark }) ?? false else { continue }
            try await scan(topic.deadLetters) { record in
                count += 1
                let letter = DeadLetter(record: record)
                if topic == .orders, let partition = Int32(letter.fact("partition")),
                    let offset = Int64(letter.fact("offset"))
                {
                    places.insert(Place(partition: partition, offset: offset))
                }
            }
            evidence.dead[topic.name] = count
        }
        return places
    }

    private func readOrders(except dead: Set<Place>, _ evidence: inout Evidence) async throws {
        evidence.ordersLog = try await extent(.orders)
        var decoder = CloudEventDecoder(.orders, only: [OrderPlaced.type])
        var orders = OrderTable()
        var unreadable = 0
        var publishers: [PublisherName?: Int] = [:]
        try await scan(Topic.orders.name) { record in
            if dead.contains(Place(partition: record.partition, offset: record.offset)) { return }
            do {
                let id = try decoder.read(record) { (_, json) throws(JSONError) -> OrderID? in
                    try json.identifier("orderId")
                }
                guard let id else { return }
                // Of a repeated order the first counts.
                if orders.facts(of: id)?.contains(.ordered) != true {
                    publishers[record.header(PublisherKey.header).flatMap { PublisherKeys.claimed($0) }, default: 0] +=
                        1
                }
                orders.add(.ordered, to: id)
            } catch {
                unreadable += 1
            }
        }
        evidence.orders = orders
        evidence.unreadable = unreadable
        evidence.publishers = publishers
    }

    private func readAnswers(_ evidence: inout Evidence) async throws {
        evidence.reservationsLog = try await extent(.reservations)
        let parser = JSONParser()
        let (soldOut, available) = (Array(SaleSoldOut.type.utf8), Array(SaleAvailable.type.utf8))
        // Written back at the end: the closure must not hold `evidence` while `self` is awaited.
        var orders = evidence.orders
        evidence.orders = OrderTable()
        var soldOutSaid: [Evidence.StockLine: Set<String>] = [:]
        var lastNews: [Evidence.StockLine: Evidence.LineNews] = [:]
        func hear(_ line: Evidence.StockLine, _ revision: Int?, isSoldOut: Bool) {
            guard let revision, revision > lastNews[line]?.revision ?? 0 else { return }
            lastNews[line] = Evidence.LineNews(revision: revision, isSoldOut: isSoldOut)
        }
        var lives = OrderLives()
        var shortestHolds: [Evidence.StockLine: Int64] = [:]
        try await scan(Topic.reservations.name) { record in
            guard let type = record.eventType, let body = record.value else { return }
            if type.elementsEqual(soldOut) {
                let event = try parser.parse(body) { (json) throws(JSONError) in try SaleSoldOut(json: json) }
                let line = Evidence.StockLine(sale: event.saleId, batch: event.batch, variant: event.variant)
                // A record that was published twice has one ID.
                let id = record.eventID.map { String(decoding: $0, as: UTF8.self) } ?? ""
                soldOutSaid[line, default: []].insert(id)
                hear(line, event.lineRevision, isSoldOut: true)
                return
            }
            if type.elementsEqual(available) {
                let event = try parser.parse(body) { (json) throws(JSONError) in try SaleAvailable(json: json) }
                let line = Evidence.StockLine(sale: event.saleId, batch: event.batch, variant: event.variant)
                hear(line, event.lineRevision, isSoldOut: false)
                return
            }
            let answer = try parser.parse(body) { (json) throws(JSONError) in try Answer(type, json) }
            orders.add(answer.fact, to: answer.order)
            if let revision = answer.revision {
                lives.add(answer.order, revision, answer.fact, print: OrderLives.print(type, body))
            }
            if let (line, holdUntil) = answer.hold,
                let time = record.eventTime
            {
                let hold = holdUntil.microseconds - time.microseconds
                shortestHolds[line] = min(shortestHolds[line] ?? .max, hold)
            }
        }
        evidence.orders = orders
        evidence.lives = lives
        evidence.shortestHoldMicroseconds = shortestHolds
        evidence.soldOutSaid = soldOutSaid.mapValues(\.count)
        evidence.lastNews = lastNews
    }

    private static let types: [(bytes: [UInt8], fact: OrderFacts)] = [
        (Array(OrderRejected.type.utf8), .saidRejected), (Array(OrderReserved.type.utf8), .saidReserved),
        (Array(OrderConfirmed.type.utf8), .saidConfirmed), (Array(OrderWaitlisted.type.utf8), .saidWaitlisted),
        (Array(OrderReleased.type.utf8), .saidReleased),
    ]

    /// What one event says of its order.
    private struct Answer {
        let order: OrderID
        let revision: Int?
        let fact: OrderFacts
        var hold: (line: Evidence.StockLine, until: Timestamp)?

        init(_ type: ByteView, _ json: JSONValue) throws(JSONError) {
            order = try json.identifier("orderId")
            revision = try json.optionalInteger("orderRevision", in: 1...Int64(Int32.max)).map { Int($0) }
            let said = types.first { type.elementsEqual($0.bytes) }?.fact ?? []
            switch said {
            case .saidReserved:
                fact = try json.boolean("promoted") ? .saidPromoted : said
                hold = (
                    Evidence.StockLine(
                        sale: try json.identifier("saleId"),
                        batch: Int(try json.integer("batch", in: 1...Int64(Int32.max))),
                        variant: try json.string("variant")), try json.timestamp("holdUntil")
                )
            case .saidRejected where json["reason"]?.stringValue == OrderRejected.Reason.waitlistEnded.rawValue:
                fact = .saidWaitEnded
            default: fact = said
            }
        }
    }

    // MARK: The schemas

    /// Every order that reservation has decided, and nothing else.
    func reservationOrders() async throws -> OrderTable {
        var evidence = Evidence()
        _ = try await readReservationOrders(&evidence)
        try await readRefusals(&evidence)
        for pool in pools.values { await pool.close() }
        return evidence.orders
    }

    /// Reservation's orders, refusals and stock. Returns the price of every confirmed order.
    private func readReservation(_ evidence: inout Evidence) async throws -> [OrderID: Int64] {
        for row in try await query(
            .reservation,
            """
            SELECT s.sale_id, s.batch, s.variant, s.supply, s.pool, s.sold_out_count, s.leased,
                coalesce(o.held, 0), coalesce(o.waiting, 0), coalesce(o.confirmed, 0), s.hold_seconds,
                s.is_sold_out, s.is_closed
            FROM audit_stock s
            LEFT JOIN (
                SELECT sale_id, batch, variant, count(*) FILTER (WHERE state = 'reserved') AS held,
                    count(*) FILTER (WHERE state = 'waitlisted') AS waiting,
                    count(*) FILTER (WHERE state = 'confirmed') AS confirmed
                FROM audit_orders GROUP BY sale_id, batch, variant
            ) o USING (sale_id, batch, variant)
            """)
        {
            let batch: Int32 = try row.get(1)
            evidence.stock.append(
                Evidence.Stock(
                    line: .init(sale: try row.get(0), batch: Int(batch), variant: try row.get(2)),
                    supply: try row.get(3),
                    pool: try row.get(4), leased: try row.get(6), held: try row.get(7), waiting: try row.get(8),
                    confirmed: try row.get(9), soldOutCount: Int(try row.get(5, as: Int32.self)),
                    isSoldOut: try row.get(11), isClosed: try row.get(12), holdSeconds: try row.get(10)))
        }
        let limits = try await query(
            .reservation,
            """
            SELECT coalesce(sum(live), 0)::bigint, count(*) FILTER (WHERE live > 1)
            FROM (SELECT count(*) AS live FROM audit_orders WHERE state <> 'released' GROUP BY sale_id, buyer_id) b
            """)
        evidence.liveOrders = try limits.first?.get(0) ?? 0
        evidence.buyersOverLimit = try limits.first?.get(1) ?? 0
        let holds = try await query(
            .reservation,
            """
            SELECT count(*), count(*) FILTER (WHERE hold_until < now() - make_interval(secs => \(Double(Self.holdGraceSeconds))))
            FROM audit_orders WHERE state = 'reserved'
            """)
        evidence.awaitingPayment = try holds.first?.get(0) ?? 0
        evidence.overdue = try holds.first?.get(1) ?? 0
        let prices = try await readReservationOrders(&evidence)
        try await readRefusals(&evidence)
        return prices
    }

    private enum ReservationState: String, PostgresDecodable { case reserved, waitlisted, confirmed, released }

    private func readReservationOrders(_ evidence: inout Evidence) async throws -> [OrderID: Int64] {
        var prices: [OrderID: Int64] = [:]
        var next = OrderID(high: 0, low: 0)
        while true {
            let rows = try await query(
                .reservation,
                """
                SELECT o.order_id, o.state, s.price, o.ordered_at < now() - make_interval(days => \(Self.keptDays))
                FROM audit_orders o JOIN audit_stock s USING (sale_id, batch, variant)
                WHERE o.order_id >= \(next) ORDER BY o.order_id LIMIT \(Int64(Self.pageRows))
                """)
            for row in rows {
                let last: OrderID = try row.get(0)
                next = last.successor
                if try row.get(3) { evidence.orders.add(.past, to: last) }
                switch try row.get(1, as: ReservationState.self) {
                case .reserved: evidence.orders.addDecision(.held, to: last)
                case .waitlisted: evidence.orders.addDecision(.waiting, to: last)
                case .confirmed:
                    let price: Int64 = try row.get(2)
                    evidence.orders.addDecision(.confirmed, to: last)
                    evidence.confirmedAmount += price
                    prices[last] = price
                case .released: evidence.orders.addDecision(.released, to: last)
                }
            }
            if rows.count < Self.pageRows { return prices }
        }
    }

    private func readRefusals(_ evidence: inout Evidence) async throws {
        var last = (
            sale: SaleID(high: 0, low: 0), batch: Int32(0), variant: "", partition: Int32(-1), offset: Int64(-1)
        )
        while true {
            let rows = try await query(
                .reservation,
                """
                SELECT sale_id, batch, variant, log_partition, first_offset, order_ids,
                    refused_at < now() - make_interval(days => \(Self.keptDays))
                FROM audit_refusals
                WHERE (sale_id, batch, variant, log_partition, first_offset)
                    > (\(last.sale), \(last.batch), \(last.variant), \(last.partition), \(last.offset))
                ORDER BY sale_id, batch, variant, log_partition, first_offset LIMIT \(Int64(Self.widePageRows))
                """)
            for row in rows {
                last = (try row.get(0), try row.get(1), try row.get(2), try row.get(3), try row.get(4))
                let bytes: [UInt8] = try row.get(5)
                let isPast: Bool = try row.get(6)
                for start in stride(from: 0, to: bytes.count - 15, by: 16) {
                    let high = bytes[start..<(start + 8)].reduce(UInt64(0)) { $0 << 8 | UInt64($1) }
                    let low = bytes[(start + 8)..<(start + 16)].reduce(UInt64(0)) { $0 << 8 | UInt64($1) }
                    evidence.orders.addDecision(.refused, to: OrderID(high: high, low: low))
                    if isPast { evidence.orders.add(.past, to: OrderID(high: high, low: low)) }
                }
            }
            if rows.count < Self.widePageRows { return }
        }
    }

    private func readMessaging(_ evidence: inout Evidence) async throws {
        let shown: [String: OrderFacts] = [
            "accepted": .shownUndecided, "rejected": .shownRejected, "reserved": .shownReserved,
            "confirmed": .shownConfirmed, "waitlisted": .shownWaitlisted, "released": .shownReleased,
            "refunded": .shownReleased,
        ]
        var next = OrderID(high: 0, low: 0)
        var rows: Rows
        repeat {
            rows = try await query(
                .messaging,
                """
                SELECT order_id, status, was_placed_here, accepted_at < now() - make_interval(days => \(Self.keptDays))
                FROM audit_orders WHERE order_id >= \(next) ORDER BY order_id LIMIT \(Int64(Self.pageRows))
                """)
            for row in rows {
                let last: OrderID = try row.get(0)
                next = last.successor
                let status: String = try row.get(1)
                let wasPlacedHere: Bool = try row.get(2)
                let facts = shown[status] ?? []
                evidence.orders.add(wasPlacedHere ? facts.union(.accepted) : facts, to: last)
                if try row.get(3) { evidence.orders.add(.past, to: last) }
            }
        } while rows.count == Self.pageRows
        evidence.messages = try await sum(.messaging) { from in
            """
            SELECT message_id FROM audit_notices
            WHERE message_id >= \(from) AND sent_at >= now() - make_interval(days => \(Self.keptDays)) ORDER BY message_id LIMIT \(Int64(Self.pageRows))
            """
        }
        let older = try await query(
            .messaging,
            """
            SELECT count(*) FROM (
                SELECT order_place < lag(order_place) OVER (PARTITION BY order_id ORDER BY conversation_id, sequence)
                    AS is_older
                FROM audit_notices WHERE order_place IS NOT NULL
            ) w WHERE is_older
            """)
        evidence.olderWords = try older.first?.get(0) ?? 0
        evidence.posts = try await sum(.messaging) { from in
            """
            SELECT message_id FROM audit_posts WHERE message_id >= \(from) ORDER BY message_id LIMIT \(Int64(Self.pageRows))
            """
        }
    }

    /// Payments that failed because there was no wallet: the ledger says whether there was one.
    private func readFailedPayments(_ evidence: inout Evidence) async throws {
        let parser = JSONParser()
        let failed = Array(PaymentFailed.type.utf8)
        var orders: Set<OrderID> = []
        var times: [OrderID: Timestamp] = [:]
        try await scan(Topic.payments.name) { record in
            guard let type = record.eventType, type.elementsEqual(failed), let body = record.value else {
                return
            }
            let event = try parser.parse(body) { (json) throws(JSONError) in try PaymentFailed(json: json) }
            guard event.reason == .noWallet else { return }
            orders.insert(event.orderId)
            times[event.orderId] = Timestamp(milliseconds: record.timestamp)
        }
        evidence.noWallet = orders.count
        if orders.isEmpty { return }
        let ids = orders.sorted()
        let rows = try await query(
            .payment,
            """
            SELECT count(*) FROM unnest(\(ids), \(ids.map { times[$0] ?? .distantPast })) AS failed (order_id, at)
            JOIN audit_orders o USING (order_id)
            JOIN audit_accounts a ON a.owner_id = o.buyer_id AND a.kind = 'wallet' AND a.currency = o.currency
            WHERE EXISTS (SELECT FROM audit_credits c
                WHERE c.ledger_account_id = a.ledger_account_id AND c.created_at < failed.at - interval '5 seconds')
            """)
        evidence.noWalletWithWallet = try rows.first?.get(0) ?? 0
    }

    private func sum(
        _ service: Settings.Service, _ page: (NotificationID) -> SQL
    ) async throws -> IdentifierSum {
        var sum = IdentifierSum()
        var next = NotificationID(high: 0, low: 0)
        while true {
            let rows = try await query(service, page(next))
            for row in rows {
                let last: NotificationID = try row.get(0)
                next = last.successor
                sum.add(last)
            }
            if rows.count < Self.pageRows { return sum }
        }
    }

    private func readPayments(_ prices: [OrderID: Int64], _ evidence: inout Evidence) async throws {
        var next = OrderID(high: 0, low: 0)
        var rows: Rows
        repeat {
            rows = try await query(
                .payment,
                """
                SELECT order_id, state, amount, authorised, authorised_publisher FROM audit_orders
                WHERE order_id >= \(next) AND payment_id IS NOT NULL ORDER BY order_id LIMIT \(Int64(Self.pageRows))
                """)
            try await readAuthorised(rows, &evidence)
            for row in rows {
                let last: OrderID = try row.get(0)
                next = last.successor
                let state: String = try row.get(1)
                let amount: Int64 = try row.get(2)
                if state == "captured" {
                    evidence.capturedAmount += amount
                    let isPrice = prices[last].map { $0 == amount } ?? true
                    evidence.orders.add(isPrice ? .captured : [.captured, .wrongAmount], to: last)
                } else {
                    evidence.orders.add(.refunded, to: last)
                }
            }
        } while rows.count == Self.pageRows

        for row in try await query(
            .payment,
            """
            SELECT currency, sum(amount)::bigint, count(DISTINCT transfer_id) FROM audit_postings
            GROUP BY currency ORDER BY currency
            """)
        {
            evidence.ledger.append(
                .init(currency: try row.get(0), sum: try row.get(1), transfers: try row.get(2)))
        }
        let unbalanced = try await query(
            .payment,
            """
            SELECT count(*) FROM (
                SELECT FROM audit_postings GROUP BY transfer_id, currency HAVING sum(amount) <> 0 OR count(*) < 2
            ) t
            """)
        evidence.transfersUnbalanced = try unbalanced.first?.get(0) ?? 0
        let balances = try await query(
            .payment,
            """
            SELECT count(*), count(*) FILTER (WHERE a.balance <> coalesce(p.amount, 0)),
                count(*) FILTER (WHERE a.balance < 0 AND a.kind <> 'bank'),
                coalesce(sum(a.balance) FILTER (WHERE a.kind = 'proceeds'), 0)::bigint
            FROM audit_accounts a
            LEFT JOIN (SELECT ledger_account_id, sum(amount) AS amount FROM audit_postings GROUP BY ledger_account_id) p
                USING (ledger_account_id)
            """)
        evidence.accounts = try balances.first?.get(0) ?? 0
        evidence.balancesWrong = try balances.first?.get(1) ?? 0
        evidence.balancesBelowZero = try balances.first?.get(2) ?? 0
        evidence.proceedsAmount = try balances.first?.get(3) ?? 0
    }

    /// Whether authorisations paid what they were for, by who placed the orders in reservation's schema.
    private func readAuthorised(_ payments: Rows, _ evidence: inout Evidence) async throws {
        var named: [OrderID: String?] = [:]
        for row in payments where try row.get(3, as: Bool.self) {
            named[try row.get(0)] = .some(try row.get(4, as: String?.self))
        }
        evidence.authorised += named.count
        if named.isEmpty { return }
        var placed: Set<OrderID> = []
        for row in try await query(
            .reservation,
            "SELECT order_id, publisher FROM audit_orders WHERE order_id = ANY(\(Array(named.keys))) AND publisher IS NOT NULL"
        ) {
            let (order, publisher): (OrderID, String) = (try row.get(0), try row.get(1))
            if publisher == PublisherName.messaging.text || publisher == named[order] ?? nil { placed.insert(order) }
        }
        evidence.unauthorised += named.keys.filter { !placed.contains($0) }.sorted()
    }

    private func readNotification(_ evidence: inout Evidence) async throws {
        let kinds: [String: OrderFacts] = [
            "reserved": .toldReserved, "waitlisted": .toldWaitlisted, "paid": .toldPaid, "refunded": .toldRefunded,
            "released": .toldReleased,
        ]
        var next = NotificationID(high: 0, low: 0)
        while true {
            let rows = try await query(
                .notification,
                """
                SELECT notification_id, kind, order_id, is_broadcast, order_revision,
                    told_at < now() - make_interval(days => \(Self.keptDays))
                FROM audit_notifications WHERE notification_id >= \(next) ORDER BY notification_id LIMIT \(Int64(Self.pageRows))
                """)
            var told: [Told] = []
            for row in rows {
                let last: NotificationID = try row.get(0)
                next = last.successor
                let kind: String = try row.get(1)
                let order: OrderID? = try row.get(2)
                let isBroadcast: Bool = try row.get(3)
                if isBroadcast {
                    evidence.broadcasts.add(last)
                } else {
                    told.append(
                        Told(id: last, order: order, kind: kind, revision: try row.get(4), isPast: try row.get(5)))
                    if let order, let fact = kinds[kind] { evidence.orders.addTold(fact, to: order) }
                }
            }
            let (overtaken, past) = try await withoutMessage(told)
            evidence.overtaken += overtaken.count
            for one in told where !overtaken.contains(one.id) && !past.contains(one.id) { evidence.told.add(one.id) }
            if rows.count < Self.pageRows { return }
        }
    }

    private struct Told {
        let id: NotificationID
        let order: OrderID?
        let kind: String
        let revision: Int32?
        let isPast: Bool

        var place: OrderPlace? {
            guard let revision, let kind = Notification.Kind(rawValue: kind) else { return nil }
            return OrderPlace(revision: Int(revision), isOfPayment: kind.isOfPayment)
        }
    }

    /// Those that are no message, because the chat has a newer one of the same order, and those that are so old that
    /// messages like them are not counted. The message says how old it is: what was told a moment before and said a moment
    /// after the same time is counted on both sides.
    private func withoutMessage(
        _ told: [Told]
    ) async throws -> (overtaken: Set<NotificationID>, past: Set<NotificationID>) {
        let ids = told.map(\.id)
        var stored: Set<NotificationID> = []
        var past: Set<NotificationID> = []
        for row in try await query(
            .messaging,
            """
            SELECT message_id, sent_at < now() - make_interval(days => \(Self.keptDays)) FROM audit_notices
            WHERE message_id = ANY(\(ids))
            """)
        {
            let id: NotificationID = try row.get(0)
            stored.insert(id)
            if try row.get(1) { past.insert(id) }
        }
        for one in told where one.isPast && !stored.contains(one.id) { past.insert(one.id) }
        let missing = told.filter { !stored.contains($0.id) && !past.contains($0.id) && $0.place != nil }
        if missing.isEmpty { return ([], past) }
        var newest: [OrderID: Int64] = [:]
        for row in try await query(
            .messaging,
            """
            SELECT order_id, max(order_place) FROM audit_notices
            WHERE order_id = ANY(\(Array(Set(missing.compactMap(\.order))))) AND order_place IS NOT NULL GROUP BY order_id
            """)
        { newest[try row.get(0)] = try row.get(1, as: Int64.self) }
        let overtaken = missing.filter { one in
            guard let place = one.place, let last = one.order.flatMap({ newest[$0] }) else { return false }
            return place.number < last
        }
        return (Set(overtaken.map(\.id)), past)
    }

    private func readCatalog(_ evidence: inout Evidence) async throws {
        for row in try await query(.catalog, "SELECT sale_id, batch, variant, units FROM audit_offers") {
            let batch: Int32 = try row.get(1)
            let units: Int64 = try row.get(3)
            evidence.offered[.init(sale: try row.get(0), batch: Int(batch), variant: try row.get(2))] = units
        }
        for row in try await query(.catalog, "SELECT sale_id, batch, variant FROM audit_sold_out") {
            let batch: Int32 = try row.get(1)
            evidence.shownSoldOut.insert(.init(sale: try row.get(0), batch: Int(batch), variant: try row.get(2)))
        }
    }
}

extension Identifier {
    /// The next in their order; the last is followed by the first.
    fileprivate var successor: Self {
        let (low, hasOverflown) = low.addingReportingOverflow(1)
        return Self(high: hasOverflown ? high &+ 1 : high, low: low)
    }
}
