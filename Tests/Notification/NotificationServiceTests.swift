import JSON
import Kafka
import Models
import Postgres
import TestSupport
import Testing

// What readers are told of what really comes by the topics.
import struct Foundation.UUID

@testable import NotificationCore

@Suite(.timeLimit(.minutes(3))) struct NotificationServiceTests {
    private let fixture: Fixture

    init() async throws { fixture = try await Fixture.shared() }

    @Test func everyKindIsToldToItsReaderInTheReadersLanguage() async throws {
        let scene = try await fixture.scene()
        let (english, chinese) = (AccountID.random(), AccountID.random())
        try await fixture.account(english, locale: "en-GB")
        try await fixture.account(chinese, locale: "zh-Hans-CN")
        for (buyer, language) in [(english, "en"), (chinese, "zh")] {
            let order = OrderID.random()
            let line = scene.line(order, buyer)
            try await fixture.publish(.reservations, buyer, scene.reserved(line))
            try await fixture.publish(.payments, buyer, scene.captured(line))
            try await fixture.publish(.reservations, buyer, OrderReleased(line: line, reason: .cancelled))
            try await fixture.publish(.payments, buyer, scene.refunded(line, .cancelled))
            try await fixture.publish(.reservations, buyer, OrderWaitlisted(line: scene.line(.random(), buyer)))
            let delivered = try await fixture.delivered(of: scene.saleId, to: buyer, count: 5)
            #expect(Set(delivered.map(\.kind)) == [.reserved, .paid, .released, .refunded, .waitlisted])
            #expect(delivered.allSatisfy { Array($0.text.byLocale.keys) == [language] })
            #expect(delivered.allSatisfy { $0.brandId == scene.brandId })
            #expect(delivered.count { $0.orderId == order } == 4)
            let paid = try #require(delivered.first { $0.kind == .paid }?.text.byLocale[language])
            #expect(
                paid == (language == "en" ? "Paid: CN¥1,999.00 for Phone. It is yours." : "支付成功：手机，¥1,999.00。商品已归您所有。"))
        }
    }

    @Test func whatIsSoldOutAgainIsToldAgainOnlyWhereMoreWasOffered() async throws {
        let scene = try await fixture.scene()
        // The first, one phone that came back, supply that was added.
        for (number, units) in [(1, 10), (2, 10), (3, 20)] as [(Int, Int64)] {
            let event = SaleSoldOut(
                saleId: scene.saleId, batch: 1, variant: "black", brandId: scene.brandId, soldOutAt: .now(),
                units: units, lineRevision: 2 * number - 1)
            try await fixture.service.publish(
                .reservations, key: scene.saleId, id: "\(scene.saleId)/1/black/soldout/\(number)", event)
            if number > 1 { continue }
            try await fixture.service.publish(
                .reservations, key: scene.saleId,
                SaleAvailable(
                    saleId: scene.saleId, batch: 1, variant: "black", brandId: scene.brandId, availableAt: .now(),
                    lineRevision: 2))
        }
        // All three lie in one partition, and so does what is told of them.
        let delivered = try await fixture.delivered(of: scene.saleId, count: 2)
        #expect(delivered.map(\.kind) == [.soldOut, .soldOut])
        let postgres = try fixture.service.database.pool("notification", connectionsMax: 1)
        let count: Int64? = try await postgres.query(
            "SELECT count(*) FROM told WHERE sale_id = \(scene.saleId)"
        ).first?.get(0)
        #expect(count == 2)
        await postgres.close()
    }

    @Test func whatReadersWereToldLongAgoIsForgottenAndWhatEverybodyWasToldIsNot() async throws {
        let postgres = try fixture.service.database.pool("notification", connectionsMax: 1)
        let sale = SaleID.random()
        try await postgres.execute(
            """
            INSERT INTO told (notification_id, kind, account_id, order_id, sale_id, told_at)
            SELECT gen_random_uuid(), 'reserved', CASE WHEN n < 3 THEN gen_random_uuid() END, NULL, \(sale),
                now() - make_interval(days => 88 + n)
            FROM unnest(ARRAY[1, 2, 3]) AS n
            """)
        try await postgres.execute(DeliveredStatements.forget)
        let days = try await postgres.query(
            "SELECT extract(day FROM now() - told_at)::int4 FROM told WHERE sale_id = \(sale) ORDER BY told_at DESC"
        ).column(0, as: Int32.self)
        #expect(days == [89, 91])
        await postgres.close()
    }

    @Test func aSaleThatIsSoldOutIsToldToAllByOneBroadcast() async throws {
        let scene = try await fixture.scene()
        let event = SaleSoldOut(
            saleId: scene.saleId, batch: 1, variant: "black", brandId: scene.brandId, soldOutAt: .now())
        try await fixture.service.publish(.reservations, key: scene.saleId, id: "\(scene.saleId)/soldout", event)
        try await fixture.service.publish(.reservations, key: scene.saleId, id: "\(scene.saleId)/soldout", event)
        try await fixture.publish(.reservations, .random(), OrderWaitlisted(line: scene.line(.random(), .random())))
        let delivered = try await fixture.delivered(of: scene.saleId, count: 2).filter { $0.kind == .soldOut }
        #expect(delivered.count == 1)
        #expect(delivered.first?.accountId == nil)
        #expect(
            delivered.first?.text.byLocale == [
                "en": "Sold out: Phone (Black). Thank you to everyone who took part.", "zh": "手机（黑色）已售罄，感谢大家的参与。",
            ])
        let record = try #require(
            try await fixture.records(of: scene.saleId, count: 2).first { fixture.kind($0) == .soldOut })
        #expect(record.key.map { Array($0) } == scene.brandId.textBytes)
    }

    @Test func whatComesTwiceIsToldOnceAlsoAfterARestart() async throws {
        let fixture = try await Fixture.start()
        let scene = try await fixture.scene()
        let buyer = AccountID.random()
        let line = scene.line(.random(), buyer)
        for _ in 0..<3 { try await fixture.publish(.reservations, buyer, id: "a", scene.reserved(line)) }
        _ = try await fixture.delivered(of: scene.saleId, to: buyer, count: 1)
        try await fixture.service.restart()
        try await fixture.publish(.reservations, buyer, id: "a", scene.reserved(line))
        try await fixture.publish(.reservations, buyer, id: "b", OrderReleased(line: line, reason: .expired))
        let delivered = try await fixture.delivered(of: scene.saleId, to: buyer, count: 2)
        #expect(delivered.map(\.kind) == [.reserved, .released])
        #expect(try await fixture.rows(of: scene.saleId) == 2)
        await fixture.stop()
    }

    @Test func whatNeedsNoTellingIsNotTold() async throws {
        let scene = try await fixture.scene()
        let buyer = AccountID.random()
        for reason in OrderRejected.Reason.allCases {
            try await fixture.publish(
                .reservations, buyer, OrderRejected(line: scene.line(.random(), buyer), reason: reason))
        }
        try await fixture.publish(.reservations, buyer, OrderConfirmed(line: scene.line(.random(), buyer)))
        try await fixture.publish(
            .reservations, buyer, OrderReleased(line: scene.line(.random(), buyer), reason: .paidTooLate))
        try await fixture.publish(.reservations, buyer, OrderWaitlisted(line: scene.line(.random(), buyer)))
        #expect(try await fixture.delivered(of: scene.saleId, to: buyer, count: 1).map(\.kind) == [.waitlisted])
        #expect(try await fixture.rows(of: scene.saleId) == 1)
    }

    @Test func aSaleThatTheCatalogueDoesNotKnowIsToldOfWithoutItsName() async throws {
        let scene = Fixture.Scene()
        let buyer = AccountID.random()
        try await fixture.publish(.payments, buyer, scene.captured(scene.line(.random(), buyer)))
        let delivered = try await fixture.delivered(of: scene.saleId, to: buyer, count: 1)
        #expect(delivered.first?.text.byLocale == ["en": "Paid: CN¥1,999.00 for an article of this sale. It is yours."])
    }

    @Test func theLanguageThatAnAccountHasNowCounts() async throws {
        let scene = try await fixture.scene()
        let buyer = AccountID.random()
        for (index, locale) in ["zh", "en", "zh-TW"].enumerated() {
            try await fixture.account(buyer, locale: locale)
            try await fixture.publish(
                .reservations, buyer, OrderWaitlisted(line: scene.line(.random(), buyer)))
            let delivered = try await fixture.delivered(of: scene.saleId, to: buyer, count: index + 1)
            #expect(delivered.last.map { Array($0.text.byLocale.keys) } == [String(locale.prefix(2))])
        }
    }

    /// For the day when there is a file of it.
    @Test func whoAsksForALanguageThatThereIsNotIsToldInEnglishAndRemembered() async throws {
        let scene = try await fixture.scene()
        let reader = AccountID.random()
        try await fixture.account(reader, locale: "fr-CA")
        #expect(try await fixture.languageRows(of: reader) == ["fr-CA 1"])
        try await fixture.publish(.reservations, reader, OrderWaitlisted(line: scene.line(.random(), reader)))
        let delivered = try await fixture.delivered(of: scene.saleId, to: reader, count: 1)
        #expect(delivered.map { Array($0.text.byLocale.keys) } == [["en"]])
    }

    @Test func theLanguageOfADeletedAccountIsForgotten() async throws {
        let reader = AccountID.random()
        try await fixture.account(reader, locale: "zh")
        #expect(try await fixture.languageRows(of: reader) == ["zh 1"])
        try await fixture.publish(
            .accounts, reader, AccountDeleted(accountId: reader, deletedAt: .now(), revision: 2))
        while try await !fixture.languageRows(of: reader).isEmpty { try await Task.sleep(for: .milliseconds(20)) }
    }

    @Test func anOlderRecordOfAnAccountChangesNoLanguage() async throws {
        let readers: [AccountID] = (0..<2).map { _ in .random() }
        func publish(_ locale: String, _ revision: Int64?, _ reader: AccountID) async throws {
            try await fixture.service.publish(
                .accounts, key: reader,
                Account(
                    accountId: reader, kind: .person, handle: nil, displayName: "Reader", locale: locale,
                    createdAt: .now(), revision: revision))
        }
        for (reader, locales) in zip(readers, [["zh", "en", "zh", "zh-TW"], ["en", "zh", "en", "en"]]) {
            try await publish(locales[0], 1, reader)
            try await publish(locales[1], 2, reader)
            // Behind the newer ones: the older one again, and what a version without numbers says.
            try await publish(locales[2], 1, reader)
            try await publish(locales[3], nil, reader)
            let marker = AccountID.random()
            // Partitions are read side by side: a marker in the reader's own.
            try await fixture.service.producer.send(
                {
                    var batch = RecordBatch()
                    batch.append(
                        event: Account(
                            accountId: marker, kind: .person, handle: nil, displayName: "Marker", locale: "zh",
                            createdAt: .now()), topic: .accounts, key: reader.textBytes, id: "\(marker)")
                    return batch
                }())
            while try await fixture.languageRows(of: marker).isEmpty { try await Task.sleep(for: .milliseconds(20)) }
            #expect(try await fixture.languageRows(of: reader) == ["\(locales[1]) 2"])
        }
    }

    @Test func aBrokenRecordGoesToTheDeadLettersAndStopsNothing() async throws {
        let scene = try await fixture.scene()
        let buyer = AccountID.random()
        let good = JSONWriter.document(scene.reserved(scene.line(.random(), buyer)))
        var batch = RecordBatch()
        let bodies: [[UInt8]?] = [
            Array("{".utf8), Array("[]".utf8), Array("{}".utf8), Array(good.dropLast()), [0xff], nil,
            good + Array(repeating: UInt8(ascii: " "), count: 70_000),
        ]
        for body in bodies {
            batch.append(topic: "reservations", key: buyer.textBytes, value: body) { headers in
                headers.add("ce_id", "broken".utf8)
                headers.add("ce_type", OrderReserved.type.utf8)
            }
        }
        batch.append(topic: "reservations", key: buyer.textBytes, value: good) { _ in }
        try await fixture.service.producer.send(batch)
        try await fixture.publish(.reservations, buyer, OrderWaitlisted(line: scene.line(.random(), buyer)))
        #expect(try await fixture.delivered(of: scene.saleId, to: buyer, count: 1).map(\.kind) == [.waitlisted])
        let dead = try await fixture.service.records(of: Topic.reservations.deadLetters) { records in
            records.count { $0.key?.elementsEqual(buyer.textBytes) == true } >= bodies.count + 1
        }
        // That their headers are those of asyncapi.yaml was seen when they were read.
        for record in dead {
            #expect(record.header("stampede-dead-service")?.elementsEqual("notification".utf8) == true)
        }
    }

    /// The transaction is committed, the notifications are not sent, the service ends: the next one renders them from
    /// the log again.
    @Test func whatWasCommittedAndNotSentIsSentByTheNextInstance() async throws {
        let fixture = try await Fixture.start(environment: ["STAMPEDE_DRAIN_SECONDS": "1"])
        let scene = try await fixture.scene()
        let buyer = AccountID.random()
        try await fixture.account(buyer, locale: "zh")
        let orders = (0..<20).map { _ in OrderID.random() }
        var batch = RecordBatch()
        for order in orders {
            batch.append(
                event: scene.reserved(scene.line(order, buyer)), topic: .reservations, key: buyer.textBytes,
                id: "\(order)/reserved")
        }
        try await fixture.service.producer.send(batch)
        // -195: the connection breaks instead of an answer.
        fixture.service.broker.failRequests(.produce, with: Array(repeating: -195, count: 10_000))
        try await fixture.untilRows(of: scene.saleId, are: 1)
        await fixture.service.stopService()
        fixture.service.broker.stopFailing(.produce)
        try await fixture.service.restart()
        let delivered = try await fixture.delivered(of: scene.saleId, count: orders.count)
        #expect(Set(delivered.compactMap(\.orderId)) == Set(orders))
        #expect(delivered.allSatisfy { $0.text.byLocale["zh"]?.hasPrefix("已为您预留手机（黑色）") == true })
        await fixture.stop()
    }

    @Test func thousandsAreToldOnceEach() async throws {
        let scene = try await fixture.scene()
        let buyers = (0..<3000).map { _ in AccountID.random() }
        var batch = RecordBatch()
        for (index, buyer) in buyers.enumerated() {
            let line = scene.line(.random(), buyer)
            // Every third comes twice; between them stand orders that were rejected.
            for _ in 0..<(index % 3 == 0 ? 2 : 1) {
                batch.append(
                    event: scene.reserved(line), topic: .reservations, key: buyer.textBytes,
                    id: "\(line.orderId)/reserved")
            }
            batch.append(
                event: OrderRejected(line: scene.line(.random(), buyer), reason: .soldOut), topic: .reservations,
                key: buyer.textBytes, id: UUID().uuidString)
        }
        try await fixture.service.producer.send(batch)
        let delivered = try await fixture.delivered(of: scene.saleId, count: buyers.count)
        #expect(delivered.count == buyers.count)
        #expect(Set(delivered.compactMap(\.accountId)) == Set(buyers))
        #expect(Set(delivered.map(\.notificationId)).count == buyers.count)
        #expect(try await fixture.rows(of: scene.saleId) == Int64(buyers.count))
    }
}

/// The service that the suite shares, with sales and readers that tests make of their own.
final class Fixture: Sendable {
    let service: TestService<NotificationService>
    private let pool: PostgresPool

    static func shared() async throws -> Fixture { try await one.value }
    private static let one = Task { try await start() }

    static func start(environment: [String: String] = [:]) async throws -> Fixture {
        try Fixture(await TestService.start(NotificationService.self, environment: environment, documented: false))
    }

    private init(_ service: TestService<NotificationService>) throws {
        self.service = service
        pool = try service.database.pool("notification", connectionsMax: 2)
    }

    func stop() async {
        await pool.close()
        await service.stop()
    }

    /// A sale and what happens in it.
    struct Scene: Sendable {
        let saleId = SaleID.random()
        let productId = ProductID.random()
        let brandId = BrandID.random()
        let price = Money(199_900, .cny)

        func line(_ order: OrderID, _ buyer: AccountID) -> OrderLine {
            OrderLine(orderId: order, saleId: saleId, batch: 1, variant: "black", buyerId: buyer, brandId: brandId)
        }

        func reserved(_ line: OrderLine) -> OrderReserved {
            OrderReserved(line: line, price: price, holdUntil: Timestamp.now().adding(seconds: 900), promoted: false)
        }

        func captured(_ line: OrderLine) -> PaymentCaptured {
            PaymentCaptured(
                paymentId: .random(), orderId: line.orderId, saleId: saleId, buyerId: line.buyerId, brandId: brandId,
                amount: price)
        }

        func refunded(_ line: OrderLine, _ reason: OrderReleased.Reason) -> PaymentRefunded {
            PaymentRefunded(
                paymentId: .random(), orderId: line.orderId, saleId: saleId, buyerId: line.buyerId, brandId: brandId,
                amount: price, reason: reason)
        }
    }

    /// A sale that the catalogue has published.
    func scene() async throws -> Scene {
        let scene = Scene()
        let name = try #require(LocalizedText(["en": "Phone", "zh": "手机"]))
        let black = try #require(LocalizedText(["en": "Black", "zh": "黑色"]))
        let line = Sale.Line(variant: "black", units: 100, price: scene.price)
        try await service.publish(
            .products, key: scene.productId,
            Product(
                productId: scene.productId, brandId: scene.brandId, name: name,
                variants: [.init(code: "black", title: black)]))
        try await service.publish(
            .sales, key: scene.saleId,
            Sale(
                saleId: scene.saleId, brandId: scene.brandId, productId: scene.productId, title: name, revision: 1,
                holdSeconds: 900, waitlistMax: 10,
                batches: [.init(number: 1, opensAt: .distantPast, closesAt: nil, lines: [line])]))
        return scene
    }

    /// Publishes an account and returns when the service knows its language.
    func account(_ id: AccountID, locale: String) async throws {
        try await service.publish(
            .accounts, key: id,
            Account(accountId: id, kind: .person, handle: nil, displayName: "Reader", locale: locale, createdAt: .now())
        )
        let expected = TemplateCatalogue.isStandard(locale) ? [] : [locale]
        while try await pool.query("SELECT locale FROM readers WHERE account_id = \(id)").column(0) != expected {
            try await Task.sleep(for: .milliseconds(20))
        }
    }

    func languageRows(of reader: AccountID) async throws -> [String] {
        try await pool.query("SELECT locale || ' ' || revision FROM readers WHERE account_id = \(reader)").column(0)
    }

    func publish(_ topic: Topic, _ key: AccountID, id: String = UUID().uuidString, _ event: some EventPayload)
        async throws
    {
        try await service.publish(topic, key: key, id: id, event)
    }

    // MARK: What was delivered

    private func notification(_ record: ConsumedRecord) -> Notification? {
        guard let body = record.value else { return nil }
        return try? JSONParser.parse(Array(body), Notification.init(json:))
    }

    func kind(_ record: ConsumedRecord) -> Notification.Kind? { notification(record)?.kind }

    /// The records of a sale's notifications, once there is one.
    func records(of sale: SaleID, count: Int = 1) async throws -> [ConsumedRecord] {
        func belongs(_ record: ConsumedRecord) -> Bool { notification(record)?.saleId == sale }
        return try await service.records(of: Topic.notifications.name) { $0.count(where: belongs) >= count }
            .filter(belongs)
    }

    /// What was delivered to a sale's readers, once there are as many as asked for; each reader's in order.
    func delivered(of sale: SaleID, to reader: AccountID? = nil, count: Int) async throws -> [Notification] {
        var delivered: [Notification] = []
        let reading = try await service.records(of: Topic.notifications.name) { records in
            records.count >= count
                && records.compactMap(notification).count {
                    $0.saleId == sale && (reader == nil || $0.accountId == reader)
                } >= count
        }
        for found in reading.compactMap(notification)
        where found.saleId == sale && (reader == nil || found.accountId == reader) {
            delivered.append(found)
        }
        return delivered
    }

    func rows(of sale: SaleID) async throws -> Int64 {
        return try await pool.query("SELECT count(*) FROM told WHERE sale_id = \(sale)")[0].get(0)
    }

    func untilRows(of sale: SaleID, are count: Int) async throws {
        while try await rows(of: sale) < Int64(count) { try await Task.sleep(for: .milliseconds(20)) }
    }
}
