// Identifiers, money, texts in several languages, topics.
import Foundation
import JSON
import TestSupport
import Testing

@testable import Models

@Suite struct IdentifierTests {
    @Test func textAndBytesGoBothWays() throws {
        var random = SeededRandom(seed: 11)
        for _ in 0..<1000 {
            let id: OrderID = random.id()
            #expect(OrderID(id.description) == id)
            #expect(OrderID(text: id.textBytes) == id)
            #expect(UUID(uuidString: id.description)?.uuidString.lowercased() == id.description)
            #expect(try JSONDecoder().decode([OrderID].self, from: JSONEncoder().encode([id])) == [id])
        }
        #expect(OrderID("not an identifier") == nil)
        #expect(throws: DecodingError.self) { try JSONDecoder().decode([OrderID].self, from: Data("[\"x\"]".utf8)) }
    }

    @Test func orderIsThatOfTheText() {
        var random = SeededRandom(seed: 12)
        let ids = (0..<500).map { _ in random.id() as OrderID }
        #expect(ids.sorted().map(\.description) == ids.map(\.description).sorted())
    }

    @Test func version7SortsByTimeAndSaysItsVersion() {
        let early = OrderID.v7(at: Timestamp(milliseconds: 1_795_780_800_000), random: (.max, .max))
        let late = OrderID.v7(at: Timestamp(milliseconds: 1_795_780_800_001), random: (0, 0))
        #expect(early < late)
        #expect(early.description == "01a21ce0-6e00-7fff-bfff-ffffffffffff")
        #expect(late.description == "01a21ce0-6e01-7000-8000-000000000000")
        // A clock before 1970 does not reach into the bits of the version.
        #expect(OrderID.v7(at: Timestamp(seconds: -1), random: (0, 0)).description.hasPrefix("00000000-0000-7000-8"))
    }
}

@Suite struct MoneyTests {
    private func read(_ text: String) -> Money? {
        try? JSONParser.parse(Array("{\"m\":\(text)}".utf8)) { (json) throws(JSONError) in try json.money("m") }
    }

    @Test func moneyIsAnAmountInMinorUnitsAndACurrency() {
        #expect(read(#"{"amount":199900,"currency":"CNY"}"#) == Money(199_900, .cny))
        #expect(read(#"{"amount":0,"currency":"CNY"}"#) == Money(0, .cny))
        #expect(read("{\"amount\":\(Money.amountMax),\"currency\":\"CNY\"}") == Money(Money.amountMax, .cny))
    }

    @Test(arguments: [
        #"{"amount":-1,"currency":"CNY"}"#, #"{"amount":1.5,"currency":"CNY"}"#, #"{"amount":"1","currency":"CNY"}"#,
        #"{"amount":10000000000001,"currency":"CNY"}"#, #"{"amount":1,"currency":"cny"}"#, #"{"amount":1}"#,
        #"{"amount":1,"currency":"CNYX"}"#, #"{"amount":1,"currency":"元元元"}"#, #"{"currency":"CNY"}"#, "1", "null",
    ])
    func whateverElseIsRefused(text: String) { #expect(read(text) == nil) }

    @Test func aHundredThousandOfTheLargestStillFit() {
        let (_, overflow) = Money.amountMax.multipliedReportingOverflow(by: 100_000)
        #expect(!overflow)
    }

    @Test(arguments: [
        "", "CN", "CNYX", "cny", "C1Y", "ÄÖÜ", "\u{212a}RW",
        // Metals, funds, units of account, tests, none; and what has been replaced.
        "XAU", "XAG", "XPT", "XPD", "XTS", "XX" + "X", "XDR", "XSU", "XUA", "XBA", "CLF", "COU", "CHE", "CHW", "USN",
        "UYI",
        "UYW", "MXV", "BOV", "DEM", "HRK", "ZWL", "SLL", "ANG", "AAA", "ZZZ",
    ])
    func whatNoMoneyMovesInIsNoCurrency(code: String) throws {
        #expect(Currency(code) == nil)
        #expect(read(#"{"amount":1,"currency":"\#(code)"}"#) == nil)
        // As a row of a table has it, it is read as long as it may have been one.
        #expect(
            (Currency(stored: code) != nil) == (code.utf8.count == 3 && code.utf8.allSatisfy { (65...90).contains($0) })
        )
    }

    @Test func currenciesHaveTheMinorUnitsOfISO4217() {
        #expect(Currency.codes.count == 155)
        let digits = Dictionary(grouping: Currency.codes.sorted()) { Currency($0)?.minorDigits }
        #expect(digits[3] == ["BHD", "IQD", "JOD", "KWD", "LYD", "OMR", "TND"])
        #expect(
            digits[0] == [
                "BIF", "CLP", "DJF", "GNF", "ISK", "JPY", "KMF", "KRW", "PYG", "RWF", "UGX", "VND", "VUV", "XAF", "XOF",
                "XPF",
            ])
        #expect(digits.keys.allSatisfy { [0, 2, 3].contains($0) })
    }
}

@Suite struct CodeTests {
    private func order(_ variant: String) -> OrderPlaced? {
        let id = "01a21ce0-6e00-7c3a-9f51-0242ac120002"
        let variant = String(decoding: JSONWriter.document(variant), as: UTF8.self)
        let text = #"{"orderId":"\#(id)","saleId":"\#(id)","batch":1.0,"variant":\#(variant),"buyerId":"\#(id)"}"#
        return try? JSONParser.parse(Array(text.utf8), OrderPlaced.init(json:))
    }

    /// Swift calls them equal to codes that Postgres tells them apart from, or they are no codes at all.
    @Test(arguments: [
        "\u{212a}30-black", "\u{1fef}", "e\u{301}", "\u{e9}", "a\u{37e}", "\u{ff21}", "a b", "a/b", "a\n", "",
        "a\u{200b}",
        String(repeating: "k", count: 65),
    ])
    func aVariantOfAnotherAlphabetIsNone(variant: String) { #expect(order(variant) == nil) }

    @Test(arguments: ["K30-black", "a", "A_b.9-", String(repeating: "k", count: 64)])
    func whatACodeIsMadeOf(variant: String) {
        #expect(order(variant)?.variant.utf8.elementsEqual(variant.utf8) == true)
    }

    @Test(arguments: ["en", "zh", "zh-Hans-CN", "de-1996", "sr-Latn", "es-419", "sl-rozaj-biske"])
    func aLanguageTagIsOne(tag: String) { #expect(LanguageTag.isOne(tag)) }

    @Test(arguments: [
        "", "e", "x1", "en_US", "en-", "-en", "en--US", "englishes-x", "en-toolongtag", "中文", "en ", "12", "en-ü",
        "\u{212a}o",
        "zh-Hans-CN-and-what-is-much-too-long", "en-1", "en-a", "en-x", "en-US-GB", "en-Latn-Latn", "de-1996-1996",
        "zh-u",
        "zh-Hans\0", "en\0-US",
    ])
    func whatIsNoLanguageTagIsNone(tag: String) {
        #expect(!LanguageTag.isOne(tag))
        let text = #"{"t":{"en":"x",\#(String(decoding: JSONWriter.document(tag), as: UTF8.self)):"x"}}"#
        #expect(throws: JSONError.self) {
            try JSONParser.parse(Array(text.utf8)) { (json) throws(JSONError) in try json.localizedText("t") }
        }
    }

    /// The shape has been asked for as long as there are events; how tags are built is for what comes in now.
    @Test(arguments: ["en-1", "en-US-GB"])
    func anEventsTagIsNotJudgedAgain(tag: String) throws {
        let account = Account(
            accountId: .random(), kind: .person, handle: nil, displayName: "A", locale: tag, createdAt: .distantPast)
        let product = Product(
            productId: .random(), brandId: .random(), name: try #require(LocalizedText([tag: "x"])), variants: [])
        #expect(try JSONParser.parse(JSONWriter.document(account), Account.init(json:)) == account)
        #expect(try JSONParser.parse(JSONWriter.document(product), Product.init(json:)) == product)
        let text = Array(#"{"t":"\#(tag)"}"#.utf8)
        #expect(throws: JSONError.self) {
            try JSONParser.parse(text) { (json) throws(JSONError) in try json.languageTag("t") }
        }
    }
}

@Suite struct LocalizedTextTests {
    @Test func textsAreEqualWhereTheirBytesAre() {
        #expect(LocalizedText(["en": "é"]) != LocalizedText(["en": "e\u{301}"]))
        #expect(LocalizedText(["en": "é", "zh": "x"]) == LocalizedText(["zh": "x", "en": "é"]))
        #expect(LocalizedText(["en": "x"]) != LocalizedText(["en": "x", "zh": "x"]))
    }

    @Test func lengthsAreInCharacters() {
        func isRead(_ text: String) -> Bool {
            let bytes = Array("{\"t\":{\"zh\":\"\(text)\"}}".utf8)
            return (try? JSONParser.parse(bytes) { (json) throws(JSONError) in try json.localizedText("t") }) != nil
        }
        #expect(isRead(String(repeating: "小", count: 2000)))
        #expect(!isRead(String(repeating: "小", count: 2001)))
    }

    @Test func theReadersLanguageThenItsParentThenEnglishThenAny() throws {
        let text = try #require(LocalizedText(["en": "phone", "zh": "手机", "zh-Hant": "手機"]))
        #expect(text.text(for: "zh") == "手机")
        #expect(text.text(for: "zh-CN") == "手机")
        #expect(text.text(for: "zh-Hant-TW") == "手機")
        #expect(text.text(for: "fr-CA") == "phone")
        // By the script that is read there, and whatever the case.
        for locale in ["zh-TW", "zh-HK", "zh-hant-mo", "ZH-tw"] { #expect(text.text(for: locale) == "手機") }
        #expect(text.text(for: "zh-Latn-SG") == "手机")
        #expect(text.text(for: "") == "phone")
        let regional = try #require(LocalizedText(["en": "phone", "zh-CN": "手机", "zh-TW": "手機"]))
        for (locale, expected) in [
            ("zh", "手机"), ("zh-Hans", "手机"), ("zh-Hant", "手機"), ("zh-Hant-TW", "手機"), ("zh-HK", "phone"),
        ] { #expect(regional.text(for: locale) == expected) }
        let foreign = try #require(LocalizedText(["sv": "telefon", "de": "Telefon"]))
        #expect(foreign.text(for: "fr") == "Telefon")
    }

    @Test func thereIsAtLeastOneAndNotTooMany() {
        #expect(LocalizedText([:]) == nil)
        let many = Dictionary(uniqueKeysWithValues: (0...LocalizedText.localesMax).map { ("x\($0)", "") })
        #expect(LocalizedText(many) == nil)
    }
}

@Suite struct TopicTests {
    @Test func everyTopicsNameIsAPlainNounAndItsDeadLettersAreBesideIt() {
        for topic in Topic.allCases {
            #expect(topic.name.wholeMatch(of: /[a-z]+/) != nil)
            #expect(topic.deadLetters == "\(topic.name).dead")
            #expect(Topic(rawValue: topic.name) == topic)
        }
    }

    @Test func onlyOrdersAreTimedByTheBroker() {
        #expect(Topic.allCases.filter(\.usesLogAppendTime) == [.orders])
    }
}
