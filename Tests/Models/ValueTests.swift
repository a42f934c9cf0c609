// Identifiers, money, texts in several languages, topics.
import Foundation
import JSON
import Models
import TestSupport
import Testing

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

    @Test(arguments: ["", "CN", "CNYX", "cny", "C1Y", "ÄÖÜ"]) func aCurrencyIsThreeCapitalLetters(code: String) {
        #expect(Currency(code) == nil)
    }
}

@Suite struct LocalizedTextTests {
    @Test func theReadersLanguageThenItsParentThenEnglishThenAny() throws {
        let text = try #require(LocalizedText(["en": "phone", "zh": "手机", "zh-Hant": "手機"]))
        #expect(text.text(for: "zh") == "手机")
        #expect(text.text(for: "zh-CN") == "手机")
        #expect(text.text(for: "zh-Hant-TW") == "手機")
        #expect(text.text(for: "fr-CA") == "phone")
        #expect(text.text(for: "") == "phone")
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
