// What readers are told, word by word.
import Foundation
import JSON
import Models
import TestSupport
import Testing

@testable import NotificationCore

@Suite struct NotificationTextTests {
    private let noon = Timestamp(seconds: 1_795_780_800)
    private let price = Money(199_900, .cny)
    private let buyer = AccountID(high: 1, low: 1)
    private let names: ProductNames
    private let catalogue: TemplateCatalogue
    private let english: Language
    private let chinese: Language

    init() throws {
        catalogue = try TemplateCatalogue(TemplateTexts.all)
        (english, chinese) = (catalogue.language(for: "en"), catalogue.language(for: "zh"))
        names = ProductNames(
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
            orderId: .init(high: 5, low: 5), saleId: names.saleId, batch: 1, variant: "mi3-silver-16", buyerId: buyer,
            brandId: .init(high: 4, low: 4))
    }

    private func say(_ event: NotifiableEvent?, _ language: Language, known: Bool = true) throws -> String {
        try language.sentence(for: try #require(event), names: known ? names : nil, at: noon)
    }

    private func reserved(seconds: Int64 = 900, promoted: Bool = false) -> NotifiableEvent {
        NotifiableEvent(
            OrderReserved(line: line, price: price, holdUntil: noon.adding(seconds: seconds), promoted: promoted))
    }

    private var captured: NotifiableEvent {
        NotifiableEvent(
            PaymentCaptured(
                paymentId: .init(high: 6, low: 6), orderId: line.orderId, saleId: line.saleId, buyerId: buyer,
                brandId: line.brandId, amount: price))
    }

    private func refunded(_ reason: OrderReleased.Reason) -> NotifiableEvent {
        NotifiableEvent(
            PaymentRefunded(
                paymentId: .init(high: 6, low: 6), orderId: line.orderId, saleId: line.saleId, buyerId: buyer,
                brandId: line.brandId, amount: price, reason: reason))
    }

    private var soldOut: NotifiableEvent {
        NotifiableEvent(
            SaleSoldOut(
                saleId: line.saleId, batch: 1, variant: line.variant, brandId: line.brandId, soldOutAt: noon))
    }

    /// The longest names that the catalogue takes fit into what messaging reads, whatever is told of them.
    @Test func theLongestNamesAreTold() throws {
        let long = try #require(
            LocalizedText(["en": String(repeating: "é", count: 2000), "zh": String(repeating: "小", count: 2000)]))
        let names = ProductNames(
            saleId: line.saleId,
            product: Product(
                productId: .init(high: 3, low: 3), brandId: line.brandId, name: long,
                variants: [.init(code: line.variant, title: long)]))
        let events =
            [reserved(), reserved(promoted: true), NotifiableEvent(OrderWaitlisted(line: line)), captured, soldOut]
            + OrderReleased.Reason.allCases.map(refunded)
            + OrderReleased.Reason.allCases.compactMap { NotifiableEvent(OrderReleased(line: line, reason: $0)) }
        for event in events {
            for language in catalogue.languages {
                let notification = Models.Notification(
                    notificationId: .init(high: 1, low: 1), kind: event.kind, brandId: line.brandId,
                    accountId: event.accountId, saleId: line.saleId, orderId: event.orderId,
                    text: try catalogue.text(for: event, names: names, at: noon, in: language))
                let body = JSONWriter.document(notification)
                #expect(body.count <= Topic.notifications.bodyBytesMax)
                #expect(try JSONParser.parse(body, Models.Notification.init(json:)) == notification)
            }
        }
    }

    @Test func englishReadersAreToldInEnglish() throws {
        #expect(
            try say(reserved(), english)
                == "Reserved for you: Mi 3 (silver, 16 GB). Please pay CN¥1,999.00 within 15 minutes, by 12:15 UTC.")
        #expect(
            try say(reserved(promoted: true), english).hasPrefix("One came free and is reserved for you: Mi 3 (silver")
        )
        #expect(
            try say(NotifiableEvent(OrderWaitlisted(line: line)), english)
                == "All are taken for now. You are on the waiting list for Mi 3 (silver, 16 GB): "
                + "what comes free goes to whoever has waited longest.")
        #expect(try say(soldOut, english) == "Sold out: Mi 3 (silver, 16 GB). Thank you to everyone who took part.")
        #expect(try say(captured, english) == "Paid: CN¥1,999.00 for Mi 3. It is yours.")
        #expect(
            try say(refunded(.cancelled), english)
                == "CN¥1,999.00 for Mi 3 went back to your wallet: the order was cancelled.")
        #expect(
            try say(NotifiableEvent(OrderReleased(line: line, reason: .expired)), english)
                == "Your hold has ended, it was not paid in time: Mi 3 (silver, 16 GB).")
    }

    @Test func chineseReadersAreToldInChinese() throws {
        #expect(try say(reserved(), chinese) == "已为您预留小米手机3（银色 16GB）。请在15分钟内（UTC 12:15前）支付¥1,999.00。")
        #expect(try say(reserved(promoted: true), chinese).hasPrefix("有名额空出，已为您预留小米手机3"))
        #expect(
            try say(NotifiableEvent(OrderWaitlisted(line: line)), chinese)
                == "小米手机3（银色 16GB）暂时已订满，您已进入候补名单；如有空出，将按先后顺序为您预留。")
        #expect(try say(soldOut, chinese) == "小米手机3（银色 16GB）已售罄，感谢大家的参与。")
        #expect(try say(captured, chinese) == "支付成功：小米手机3，¥1,999.00。商品已归您所有。")
        #expect(try say(refunded(.paidTooLate), chinese) == "付款时预留已过期，小米手机3的款项¥1,999.00已退回您的钱包。")
        #expect(
            try say(NotifiableEvent(OrderReleased(line: line, reason: .cancelled)), chinese)
                == "您的订单已取消：小米手机3（银色 16GB）。")
    }

    @Test(
        arguments: [
            (1, "1 second", "1秒"), (58, "58 seconds", "58秒"), (59, "1 minute", "1分钟"), (60, "1 minute", "1分钟"),
            (61, "1 minute", "1分钟"), (119, "2 minutes", "2分钟"), (899, "15 minutes", "15分钟"),
            (7199, "120 minutes", "120分钟"), (7200, "2 hours", "2小时"), (172_799, "47 hours", "47小时"),
            (172_800, "2 days", "2天"), (604_800, "7 days", "7天"),
        ] as [(Int64, String, String)])
    func oneIsSingularAndMoreArePlural(seconds: Int64, english: String, chinese: String) throws {
        #expect(try say(reserved(seconds: seconds), self.english).contains("within \(english), by"))
        #expect(try say(reserved(seconds: seconds), self.chinese).contains("请在\(chinese)内"))
    }

    @Test func whatTheCatalogueNoLongerKnowsStillMakesASentence() throws {
        #expect(
            try say(captured, english, known: false) == "Paid: CN¥1,999.00 for an article of this sale. It is yours.")
        #expect(try say(captured, chinese, known: false) == "支付成功：本次活动的商品，¥1,999.00。商品已归您所有。")
    }

    @Test func everyReasonIsSaidInEveryLanguage() throws {
        for language in catalogue.languages {
            var sentences: Set<String> = []
            for reason in OrderReleased.Reason.allCases where reason != .paidTooLate {
                sentences.insert(try say(NotifiableEvent(OrderReleased(line: line, reason: reason)), language))
            }
            #expect(sentences.count == OrderReleased.Reason.allCases.count - 1)
        }
    }

    @Test func aReleaseThatARefundTellsIsNotToldTwice() {
        #expect(NotifiableEvent(OrderReleased(line: line, reason: .paidTooLate)) == nil)
    }

    @Test func aReaderIsToldInOneLanguageAndABroadcastInAll() throws {
        let personal = try catalogue.text(for: captured, names: names, at: noon, in: chinese)
        #expect(Array(personal.byLocale.keys) == ["zh"])
        let broadcast = try catalogue.text(for: soldOut, names: names, at: noon, in: english)
        #expect(Set(broadcast.byLocale.keys) == Set(catalogue.languages.map(\.tag)))
    }

    @Test func timesAreCutToTheSecondWithoutChangingWhatIsSaid() throws {
        for milliseconds in [0, 1, 4, 500, 999] as [Int64] {
            let at = noon.adding(milliseconds: milliseconds)
            let event = NotifiableEvent(
                OrderReserved(
                    line: line, price: price, holdUntil: noon.adding(seconds: 900).adding(milliseconds: 3),
                    promoted: false))
            let exact = try english.sentence(for: event, names: names, at: at)
            let cut = try english.sentence(for: event.toTheSecond, names: names, at: at.toTheSecond)
            #expect(exact == cut)
        }
        #expect(Timestamp(microseconds: -1).toTheSecond == Timestamp(seconds: -1))
    }
}
