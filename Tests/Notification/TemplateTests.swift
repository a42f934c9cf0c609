// The texts of every language, and which language a reader is told in.
import Foundation
import ICU
import JSON
@testable import Models
import TestSupport
import Testing

@testable import NotificationCore

@Suite struct TemplateTests {
    private static let folder = URL(filePath: #filePath).deletingLastPathComponent()
        .appending(path: "../../Services/Notification/Core/Templates/Texts").standardized

    /// Every key with a text that names each of its arguments: enough to be read.
    private func texts(_ changed: [String: String?] = [:]) -> String {
        var patterns: [String: String] = [:]
        for template in Template.allCases {
            patterns[template.rawValue] = template.arguments.map { argument in
                switch argument.kind {
                case .text: "{\(argument.name)}"
                case .number: "{\(argument.name), plural, other {#}}"
                case .time: "{\(argument.name), time, ::Hm}"
                }
            }.joined(separator: " ")
        }
        for (key, pattern) in changed { patterns[key] = pattern }
        let members = patterns.map { "\(Self.json($0.key)):\(Self.json($0.value))" }
        return "{\(members.joined(separator: ","))}"
    }

    private static func json(_ text: String) -> String { String(decoding: JSONWriter.document(text), as: UTF8.self) }

    @Test func everyFileIsALanguageWithEveryTextAndEveryArgument() throws {
        let files = try FileManager.default.contentsOfDirectory(atPath: Self.folder.path)
        #expect(files.allSatisfy { $0.hasSuffix(".json") })
        let tags = files.map { String($0.dropLast(".json".count)) }.sorted()
        #expect(tags.contains("en") && tags.contains("zh"))
        #expect(tags.allSatisfy(LanguageTag.isOne))
        #expect(TemplateTexts.all.map(\.tag).sorted() == tags)
        // Reads each of its patterns, and says what is missing or too much.
        let catalogue = try TemplateCatalogue(TemplateTexts.all)
        #expect(catalogue.languages.map(\.tag) == tags)
        for (tag, text) in TemplateTexts.all {
            let file = try String(contentsOf: Self.folder.appending(path: "\(tag).json"), encoding: .utf8)
            #expect(text.trimmingCharacters(in: .newlines) == file.trimmingCharacters(in: .newlines))
        }
    }

    /// Whatever the arguments hold: it stands in the text, which holds nothing of its pattern.
    @Test func everyTextHoldsItsArguments() throws {
        for language in try TemplateCatalogue(TemplateTexts.all).languages {
            for template in Template.allCases {
                for count in [0, 1, 2, 5, 11, 120] as [Int64] {
                    let text = try language.text(template, sample(template, count: count))
                    #expect(!text.contains("{") && !text.contains("}") && !text.contains("#"), "\(text)")
                    for argument in template.arguments {
                        let shown =
                            switch argument.kind {
                            case .text: "<\(argument.name)>"
                            case .number: "\(count)"
                            case .time: "12:15"
                            }
                        #expect(text.contains(shown), "\(language.tag), \(template): \(text)")
                    }
                }
            }
        }
    }

    private func sample(_ template: Template, count: Int64) -> [(name: String, value: MessageFormat.Value)] {
        template.arguments.map { argument in
            switch argument.kind {
            case .text: (argument.name, .text("<\(argument.name)>"))
            case .number: (argument.name, .number(count))
            case .time: (argument.name, .time(milliseconds: 1_795_781_700_000))
            }
        }
    }

    @Test func aFurtherFileIsAFurtherLanguage() throws {
        let catalogue = try TemplateCatalogue(
            TemplateTexts.all + [("zh-Hant", texts(["paid": "{product}：{amount}"])), ("de", texts())])
        #expect(catalogue.languages.map(\.tag) == ["de", "en", "zh", "zh-Hant"])
        for (locale, tag) in [
            ("zh-TW", "zh-Hant"), ("zh-Hant", "zh-Hant"), ("zh-HK", "zh-Hant"), ("zh-SG", "zh"), ("de-AT", "de"),
            ("nds", "en"),
        ] { #expect(catalogue.language(for: locale).tag == tag) }
        #expect(try catalogue.language(for: "de").text(Money(123_456, .cny)) == "1.234,56\u{a0}CN¥")
    }

    @Test(
        arguments: [
            (["paid": nil], "paid is missing"), (["payed": "x"], "unknown key payed"),
            (["paid": "{amount}"], "{product} is missing"), (["paid": "{amount} {product} {price}"], "{price}"),
            (["waitlisted": "{product"], "U_UNMATCHED_BRACES"), (["timeLeft.days": "{count}"], "{count} is a number"),
        ] as [([String: String?], String)])
    func aFileThatCannotBeUsedIsRefusedWithTheReason(changed: [String: String?], reason: String) {
        let error = #expect(throws: TemplateError.self) { try TemplateCatalogue([("en", texts(changed))]) }
        #expect(error?.description.contains(reason) == true, "\(error?.description ?? "")")
    }

    @Test func aCatalogueHasEnglishAndNoMoreLanguagesThanABroadcastHolds() throws {
        #expect(throws: TemplateError.self) { try TemplateCatalogue([("zh", texts())]) }
        #expect(throws: TemplateError.self) { try TemplateCatalogue([("en", "{}")]) }
        #expect(throws: TemplateError.self) { try TemplateCatalogue([("en", "[]")]) }
        #expect(throws: TemplateError.self) { try TemplateCatalogue([("en", #"{"paid":1}"#)]) }
        let many = (1...LocalizedText.localesMax).map { ("de-x-\($0)", texts()) }
        #expect(throws: TemplateError.self) { try TemplateCatalogue(many + [("en", texts())]) }
        #expect(try TemplateCatalogue(many.dropLast() + [("en", texts())]).languages.count == LocalizedText.localesMax)
    }
}

@Suite struct ReaderLanguageTests {
    @Test(arguments: [
        ("zh", "zh"), ("zh-Hans-CN", "zh"), ("ZH-tw", "zh"), ("zh_CN", "zh"), ("zh-yue-HK", "zh"), ("en", "en"),
        ("en-GB", "en"), ("fr", "en"), ("zhx", "en"), ("", "en"), ("*", "en"),
    ])
    func whoAsksForALocaleIsToldInTheNearestLanguage(locale: String, language: String) throws {
        #expect(try TemplateCatalogue(TemplateTexts.all).language(for: locale).tag == language)
    }

    @Test(arguments: [("en", true), ("EN-us", true), ("en-GB", true), ("fr", false), ("zh", false), ("eng", false)])
    func whoReadsEnglishNeedsNoRow(locale: String, isStandard: Bool) {
        #expect(TemplateCatalogue.isStandard(locale) == isStandard)
    }
}

@Suite struct MoneyTextTests {
    @Test func everyCurrencyIsWrittenToItsLastMinorUnit() throws {
        for language in try TemplateCatalogue(TemplateTexts.all).languages {
            for currency in Currency.codes.sorted().compactMap(Currency.init(_:)) {
                let digits = try language.text(Money(1_234_567, currency)).filter(\.isNumber)
                #expect(digits == "1234567", "\(currency)")
            }
        }
    }

    @Test(arguments: [
        ("CNY", 2), ("USD", 2), ("EUR", 2), ("GBP", 2), ("JPY", 0), ("KRW", 0), ("INR", 2), ("HKD", 2), ("CHF", 2),
        ("SEK", 2), ("KWD", 3), ("CLP", 0), ("TND", 3), ("PLN", 2),
    ])
    func amountsReadAsFoundationWritesThem(code: String, fractionDigits: Int) throws {
        let currency = try #require(Currency(code))
        let catalogue = try TemplateCatalogue(TemplateTexts.all)
        var random = SeededRandom(seed: 16)
        for amount in [0, 1, 99, 100, 999, 1000, 99_999, 100_000, 123_456_789, Money.amountMax]
            + (0..<20).map({ _ in Int64(random.int(in: 0...1_000_000_000)) })
        {
            // ICU 72 has another sign for won in Chinese than Foundation's: of full width.
            for (tag, locale) in [("en", "en_US"), ("zh", "zh_CN")] where (tag, code) != ("zh", "KRW") {
                let formatter = NumberFormatter()
                formatter.locale = Locale(identifier: locale)
                formatter.numberStyle = .currency
                formatter.currencyCode = code
                let units = Decimal(amount) / pow(10, fractionDigits)
                let expected = try #require(formatter.string(from: units as NSDecimalNumber))
                #expect(try catalogue.language(for: tag).text(Money(amount, currency)) == expected)
            }
        }
    }
}

@Suite struct DeferredNotificationsTests {
    /// What a version left in the outbox that had two languages, by number.
    @Test func whatTheVersionBeforeLeftIsRead() throws {
        let sale = SaleID(high: 1, low: 2)
        let head = """
            {"goods":[{"saleId":"\(sale)","product":{"en":"Phone"},"variants":{"black":{"en":"Black"}}}],\
            "toldAt":"2026-11-27T12:00:00Z"}
            """
        let deferred = try JSONDecoder().decode(DeferredNotifications.self, from: Data(head.utf8))
        let catalogue = try TemplateCatalogue(TemplateTexts.all)
        #expect(deferred.names.map(\.saleId) == [sale])
        #expect(deferred.names.first?.variants["black"]?.text(for: "en") == "Black")
        #expect((0...2).map { deferred.language(code: $0, in: catalogue)?.tag } == ["en", "zh", nil])
        #expect(deferred.language(code: DeferredNotifications.none, in: catalogue) == nil)
    }

    /// Which knows the members by these names, and English and Chinese by these numbers.
    @Test func whatTheVersionBeforeReadsIsWritten() throws {
        let catalogue = try TemplateCatalogue(TemplateTexts.all)
        let deferred = DeferredNotifications(
            names: [], decidedAt: Timestamp(seconds: 0), languages: catalogue.languages.map(\.tag))
        let written = try JSONEncoder().encode(deferred)
        let members = try #require(try JSONSerialization.jsonObject(with: written) as? [String: Any])
        #expect(Set(members.keys) == ["goods", "toldAt", "languages"])
        #expect(try JSONDecoder().decode(DeferredNotifications.self, from: written) == deferred)
        #expect(catalogue.languages.prefix(2).map(\.tag) == ["en", "zh"])
    }

    /// One that this version does not have yet, or no longer.
    @Test func whatIsInALanguageThatIsNotThereIsToldInTheNearest() throws {
        let catalogue = try TemplateCatalogue(TemplateTexts.all)
        let deferred = DeferredNotifications(names: [], decidedAt: Timestamp(seconds: 0), languages: ["zh-Hant", "de"])
        #expect((0...1).map { deferred.language(code: $0, in: catalogue)?.tag } == ["zh", "en"])
    }
}
