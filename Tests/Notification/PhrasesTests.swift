// What readers are told, word by word.
import Foundation
import JSON
import Models
import TestSupport
import Testing

@testable import NotificationCore

@Suite struct PhrasesTests {
    private let noon = Timestamp(seconds: 1_795_780_800)
    private let price = Money(199_900, .cny)
    private let buyer = AccountID(high: 1, low: 1)
    private let goods: Goods

    init() throws {
        goods = Goods(
            saleId: .init(high: 2, low: 2),
            product: Product(
                productId: .init(high: 3, low: 3), brandId: .init(high: 4, low: 4),
                name: try #require(LocalizedText(["en": "Mi 3", "zh": "小米手机3"])),
                variants: [
                    .init(
                        code: "mi3-silver-16",
                        title: try #require(LocalizedText(["en": "silver, 16 GB", "zh": "银色 16GB"])))
                ]))
    }

    private var line: OrderLine {
        OrderLine(
            orderId: .init(high: 5, low: 5), saleId: goods.saleId, batch: 1, variant: "mi3-silver-16", buyerId: buyer,
            brandId: .init(high: 4, low: 4))
    }

    private func say(_ occasion: Occasion?, _ language: Language, known: Bool = true) throws -> String {
        Phrases.sentence(for: try #require(occasion), goods: known ? goods : nil, at: noon, in: language)
    }

    private func reserved(seconds: Int64 = 900, promoted: Bool = false) -> Occasion {
        Occasion(
            OrderReserved(line: line, price: price, holdUntil: noon.adding(seconds: seconds), promoted: promoted))
    }

    private var captured: Occasion {
        Occasion(
            PaymentCaptured(
                paymentId: .init(high: 6, low: 6), orderId: line.orderId, saleId: line.saleId, buyerId: buyer,
                brandId: line.brandId, amount: price))
    }

    private func refunded(_ reason: OrderReleased.Reason) -> Occasion {
        Occasion(
            PaymentRefunded(
                paymentId: .init(high: 6, low: 6), orderId: line.orderId, saleId: line.saleId, buyerId: buyer,
                brandId: line.brandId, amount: price, reason: reason))
    }

    private var soldOut: Occasion {
        Occasion(
            SaleSoldOut(
                saleId: line.saleId, batch: 1, variant: line.variant, brandId: line.brandId, soldOutAt: noon))
    }

    /// The longest names that the catalogue takes fit into what messaging reads, whatever is told of them.
    @Test func theLongestNamesAreTold() throws {
        let long = try #require(
            LocalizedText(["en": String(repeating: "é", count: 2000), "zh": String(repeating: "小", count: 2000)]))
        let goods = Goods(
            saleId: line.saleId,
            product: Product(
                productId: .init(high: 3, low: 3), brandId: line.brandId, name: long,
                variants: [.init(code: line.variant, title: long)]))
        let occasions =
            [reserved(), reserved(promoted: true), Occasion(OrderWaitlisted(line: line)), captured, soldOut]
            + OrderReleased.Reason.allCases.map(refunded)
            + OrderReleased.Reason.allCases.compactMap { Occasion(OrderReleased(line: line, reason: $0)) }
        for occasion in occasions {
            for language in Language.allCases {
                let notification = Models.Notification(
                    notificationId: .init(high: 1, low: 1), kind: occasion.kind, brandId: line.brandId,
                    accountId: occasion.accountId, saleId: line.saleId, orderId: occasion.orderId,
                    text: Phrases.text(for: occasion, goods: goods, at: noon, in: language))
                let body = JSONWriter.document(notification)
                #expect(body.count <= Topic.notifications.bodyBytesMax)
                #expect(try JSONParser.parse(body, Models.Notification.init(json:)) == notification)
            }
        }
    }

    @Test func englishReadersAreToldInEnglish() throws {
        #expect(
            try say(reserved(), .english)
                == "Reserved for you: Mi 3 (silver, 16 GB). Please pay CN¥1,999.00 within 15 minutes, by 12:15 UTC.")
        #expect(
            try say(reserved(promoted: true), .english).hasPrefix("One came free and is reserved for you: Mi 3 (silver")
        )
        #expect(
            try say(Occasion(OrderWaitlisted(line: line)), .english)
                == "All are taken for now. You are on the waiting list for Mi 3 (silver, 16 GB): "
                + "what comes free goes to whoever has waited longest.")
        #expect(try say(soldOut, .english) == "Sold out: Mi 3 (silver, 16 GB). Thank you to everyone who took part.")
        #expect(try say(captured, .english) == "Paid: CN¥1,999.00 for Mi 3. It is yours.")
        #expect(
            try say(refunded(.cancelled), .english)
                == "CN¥1,999.00 for Mi 3 went back to your wallet: the order was cancelled.")
        #expect(
            try say(Occasion(OrderReleased(line: line, reason: .expired)), .english)
                == "Your hold has ended, it was not paid in time: Mi 3 (silver, 16 GB).")
    }

    @Test func chineseReadersAreToldInChinese() throws {
        #expect(try say(reserved(), .chinese) == "已为您预留小米手机3（银色 16GB）。请在15分钟内（UTC 12:15前）支付¥1,999.00。")
        #expect(try say(reserved(promoted: true), .chinese).hasPrefix("有名额空出，已为您预留小米手机3"))
        #expect(
            try say(Occasion(OrderWaitlisted(line: line)), .chinese)
                == "小米手机3（银色 16GB）暂时已订满，您已进入候补名单；如有空出，将按先后顺序为您预留。")
        #expect(try say(soldOut, .chinese) == "小米手机3（银色 16GB）已售罄，感谢大家的参与。")
        #expect(try say(captured, .chinese) == "支付成功：小米手机3，¥1,999.00。商品已归您所有。")
        #expect(try say(refunded(.paidTooLate), .chinese) == "付款时预留已过期，小米手机3的款项¥1,999.00已退回您的钱包。")
        #expect(
            try say(Occasion(OrderReleased(line: line, reason: .cancelled)), .chinese) == "您的订单已取消：小米手机3（银色 16GB）。")
    }

    @Test(
        arguments: [
            (1, "1 second", "1秒"), (58, "58 seconds", "58秒"), (59, "1 minute", "1分钟"), (60, "1 minute", "1分钟"),
            (61, "1 minute", "1分钟"), (119, "2 minutes", "2分钟"), (899, "15 minutes", "15分钟"),
            (7199, "120 minutes", "120分钟"), (7200, "2 hours", "2小时"), (172_799, "47 hours", "47小时"),
            (172_800, "2 days", "2天"), (604_800, "7 days", "7天"),
        ] as [(Int64, String, String)])
    func oneIsSingularAndMoreArePlural(seconds: Int64, english: String, chinese: String) throws {
        #expect(try say(reserved(seconds: seconds), .english).contains("within \(english), by"))
        #expect(try say(reserved(seconds: seconds), .chinese).contains("请在\(chinese)内"))
    }

    @Test func whatTheCatalogueNoLongerKnowsStillMakesASentence() throws {
        #expect(
            try say(captured, .english, known: false) == "Paid: CN¥1,999.00 for an article of this sale. It is yours.")
        #expect(try say(captured, .chinese, known: false) == "支付成功：本次活动的商品，¥1,999.00。商品已归您所有。")
    }

    @Test func everyReasonIsSaidInBothLanguages() throws {
        for language in Language.allCases {
            var sentences: Set<String> = []
            for reason in OrderReleased.Reason.allCases where reason != .paidTooLate {
                sentences.insert(try say(Occasion(OrderReleased(line: line, reason: reason)), language))
            }
            #expect(sentences.count == OrderReleased.Reason.allCases.count - 1)
        }
    }

    @Test func aReleaseThatARefundTellsIsNotToldTwice() {
        #expect(Occasion(OrderReleased(line: line, reason: .paidTooLate)) == nil)
    }

    @Test func aReaderIsToldInOneLanguageAndABroadcastInAll() {
        let personal = Phrases.text(for: captured, goods: goods, at: noon, in: .chinese)
        #expect(Array(personal.byLocale.keys) == ["zh"])
        let broadcast = Phrases.text(for: soldOut, goods: goods, at: noon, in: .english)
        #expect(Set(broadcast.byLocale.keys) == ["en", "zh"])
    }

    @Test func timesAreCutToTheSecondWithoutChangingWhatIsSaid() throws {
        for milliseconds in [0, 1, 4, 500, 999] as [Int64] {
            let at = noon.adding(milliseconds: milliseconds)
            let occasion = Occasion(
                OrderReserved(
                    line: line, price: price, holdUntil: noon.adding(seconds: 900).adding(milliseconds: 3),
                    promoted: false))
            let exact = Phrases.sentence(for: occasion, goods: goods, at: at, in: .english)
            let cut = Phrases.sentence(for: occasion.toTheSecond, goods: goods, at: at.toTheSecond, in: .english)
            #expect(exact == cut)
        }
        #expect(Timestamp(microseconds: -1).toTheSecond == Timestamp(seconds: -1))
    }
}

@Suite struct LanguageTests {
    @Test(arguments: [
        ("zh", Language.chinese), ("zh-Hans-CN", .chinese), ("ZH-tw", .chinese), ("zh_CN", .chinese), ("en", .english),
        ("en-GB", .english), ("fr", .english), ("zhx", .english), ("", .english),
    ])
    func aLocalesPrimaryLanguageCounts(locale: String, language: Language) {
        #expect(Language(locale: locale) == language)
    }
}

@Suite struct MoneyTextTests {
    @Test(arguments: [
        ("CNY", 2), ("USD", 2), ("EUR", 2), ("GBP", 2), ("JPY", 0), ("KRW", 0), ("INR", 2), ("HKD", 2), ("CHF", 2),
        ("SEK", 2), ("KWD", 3), ("CLP", 0), ("TND", 3), ("PLN", 2),
    ])
    func amountsReadAsFoundationWritesThem(code: String, fractionDigits: Int) throws {
        let currency = try #require(Currency(code))
        var random = SeededRandom(seed: 16)
        for amount in [0, 1, 99, 100, 999, 1000, 99_999, 100_000, 123_456_789, Money.amountMax]
            + (0..<20).map({ _ in Int64(random.int(in: 0...1_000_000_000)) })
        {
            for (language, locale) in [(Language.english, "en_US"), (.chinese, "zh_CN")] {
                let formatter = NumberFormatter()
                formatter.locale = Locale(identifier: locale)
                formatter.numberStyle = .currency
                formatter.currencyCode = code
                let units = Decimal(amount) / pow(10, fractionDigits)
                let expected = try #require(formatter.string(from: units as NSDecimalNumber))
                #expect(Money(amount, currency).text(in: language) == expected)
            }
        }
    }
}

@Suite struct NotificationIdentityTests {
    private func occasion(order: OrderID, buyer: AccountID = .init(high: 1, low: 1)) -> Occasion {
        Occasion(
            OrderWaitlisted(
                line: OrderLine(
                    orderId: order, saleId: .init(high: 2, low: 2), batch: 1, variant: "a", buyerId: buyer,
                    brandId: .init(high: 4, low: 4))))
    }

    private let order = OrderID(high: 0x01a2_1ce0_6e00_7abc, low: 0x8123_4567_89ab_cdef)

    @Test func theSameEventAndReaderGiveTheSameIdentifier() {
        let first = NotificationID.derived(occasion(order: order), eventID: "e/1")
        #expect(first == .derived(occasion(order: order), eventID: "e/1"))
        #expect(first != .derived(occasion(order: order), eventID: "e/2"))
        #expect(first != .derived(occasion(order: order, buyer: .init(high: 9, low: 9)), eventID: "e/1"))
        let released = Occasion(
            OrderReleased(
                line: OrderLine(
                    orderId: order, saleId: .init(high: 2, low: 2), batch: 1, variant: "a",
                    buyerId: .init(high: 1, low: 1),
                    brandId: .init(high: 4, low: 4)), reason: .expired))
        #expect(released.map { .derived($0, eventID: "e/1") } != first)
    }

    @Test func itIsAUUIDOfVersion8ThatLiesBesideItsOrder() {
        let id = NotificationID.derived(occasion(order: order), eventID: "e/1").description
        #expect(id.hasPrefix("01a21ce0-6e00-8"))
        #expect(Array("89ab").contains(id[id.index(id.startIndex, offsetBy: 19)]))
    }

    @Test func identifiersDoNotCollide() {
        let ids = (0..<20_000).map { NotificationID.derived(occasion(order: order), eventID: "\($0)") }
        #expect(Set(ids).count == ids.count)
    }
}
