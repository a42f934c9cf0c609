import ICU
import Testing

@Suite struct MessageFormatTests {
    private let arguments: [MessageFormat.Argument] = [
        .init("name", .text), .init("count", .number), .init("at", .time),
    ]

    private func say(_ pattern: String, _ language: String, count: Int64, name: String = "x") throws -> String {
        let format = try MessageFormat(
            pattern, language: language, arguments: [.init("name", .text), .init("count", .number)])
        return try format.format([("count", .number(count)), ("name", .text(name))])
    }

    @Test(
        arguments: [
            ("en", 1, "1 day"), ("en", 0, "0 days"), ("en", 1234, "1,234 days"), ("pl", 1, "1 dzień"),
            ("pl", 3, "3 dni"),
            ("pl", 5, "5 dnia"), ("pl", 22, "22 dni"), ("de", 1_000_000, "1.000.000 x"), ("ar", 2, "two"),
        ] as [(String, Int64, String)])
    func pluralsAreTheLanguagesOwn(language: String, count: Int64, expected: String) throws {
        let patterns = [
            "en": "{count, plural, one {# day} other {# days}}",
            "pl": "{count, plural, one {# dzień} few {# dni} other {# dnia}}", "de": "{count, number} x",
            "ar": "{count, plural, two {two} other {#}}",
        ]
        let pattern = try #require(patterns[language])
        #expect(try say("\(pattern){name, select, x {} other {{name}}}", language, count: count) == expected)
    }

    @Test func whatAnArgumentHoldsIsNoPattern() throws {
        for name in ["{count}", "'", "''{", "{name}", "#", "\u{0}", "é", "😀", "‮", String(repeating: "小", count: 5000)]
        {
            #expect(try say("a {name} b {count, number}", "en", count: 1, name: name) == "a \(name) b 1")
        }
    }

    @Test func timesAreOfUTC() throws {
        let format = try MessageFormat("{at, time, ::Hm}", language: "en", arguments: [.init("at", .time)])
        #expect(try format.format([("at", .time(milliseconds: 1_795_780_800_000))]) == "12:00")
        #expect(try format.format([("at", .time(milliseconds: 1_795_781_699_999))]) == "12:14")
        let date = try MessageFormat(
            "{count, plural, other {{at, date, ::yMMMMd}}}", language: "de",
            arguments: [.init("count", .number), .init("at", .time)])
        #expect(
            try date.format([("at", .time(milliseconds: 1_795_823_999_999)), ("count", .number(1))])
                == "27. November 2026")
    }

    @Test(arguments: [
        ("{name} {count, number} {at, time, ::Hm} {nmae}", "{nmae}"),
        ("{name} {count, number}", "{at} is missing"),
        ("{name, select, a {{count, number}} other {{at, time, ::Hm} {more}}}", "{more}"),
        ("{name, number} {count, number} {at, time, ::Hm}", "{name} is a text"),
        ("{name} {count} {at, time, ::Hm}", "{count} is a number"),
        ("{name} {count, select, other {}} {at, time, ::Hm}", "{count} is a number"),
        ("{name} {count, number} {at}", "{at} is a time"),
        ("{name} {count, number} {at, number}", "{at} is a time"),
        ("{name} {count, plural, one {#}} {at, time, ::Hm}", "U_DEFAULT_KEYWORD_MISSING"),
        ("{name} {count, number} {at, time, ::Hm", "U_UNMATCHED_BRACES"), ("{0}", "{0}"),
        ("{name} {count, choice, 0#none} {at, time, ::Hm}", "{count} is a number"),
    ])
    func aPatternThatDoesNotFitIsRefusedWithTheReason(pattern: String, reason: String) {
        let error = #expect(throws: ICUError.self) {
            try MessageFormat(pattern, language: "en", arguments: arguments)
        }
        #expect(error?.description.contains(reason) == true, "\(error?.description ?? "")")
    }

    @Test func manyFormatAtTheSameTime() async throws {
        let format = try MessageFormat(
            "{name} {count, plural, one {# one} other {# others}} {at, time, ::Hms}", language: "en",
            arguments: arguments)
        try await withThrowingTaskGroup { group in
            for task in 0..<8 {
                group.addTask {
                    for index in 0..<500 {
                        let text = try format.format([
                            ("name", .text("\(task)")), ("count", .number(Int64(index))),
                            ("at", .time(milliseconds: Int64(index % 60) * 1000)),
                        ])
                        let second = index % 60 < 10 ? "0\(index % 60)" : "\(index % 60)"
                        #expect(text == "\(task) \(index) \(index == 1 ? "one" : "others") 00:00:\(second)")
                    }
                }
            }
            try await group.waitForAll()
        }
    }
}

@Suite struct MoneyFormatTests {
    @Test(
        arguments: [
            ("en", "CNY", 2, 199_900, "CN¥1,999.00"), ("zh", "CNY", 2, 199_900, "¥1,999.00"),
            ("de", "EUR", 2, 123_456, "1.234,56\u{a0}€"), ("en", "JPY", 0, 1000, "¥1,000"),
            ("en", "KWD", 3, 1, "KWD\u{a0}0.001"),
            ("en", "USD", 2, -5, "-$0.05"), ("en", "USD", 2, .max, "$92,233,720,368,547,758.07"),
            ("en", "USD", 2, .min, "-$92,233,720,368,547,758.08"),
            // Its people have no coins of it, and what is paid is what is owed all the same.
            ("en", "AFN", 2, 150, "AFN\u{a0}1.50"),
            ("en", "QQQ", 2, 100, "QQQ\u{a0}1.00"),
        ] as [(String, String, Int, Int64, String)])
    func amountsReadAsTheLanguageHasThem(language: String, currency: String, digits: Int, amount: Int64, text: String)
        throws
    {
        let format = MoneyFormat(language: language)
        for _ in 0..<2 {
            #expect(try format.format(minorUnits: amount, currency: currency, minorDigits: digits) == text)
        }
    }

    @Test(arguments: ["", "EU", "EURO", "é€¥"]) func whatIsNoCodeIsNone(code: String) {
        #expect(throws: ICUError.self) {
            try MoneyFormat(language: "en").format(minorUnits: 1, currency: code, minorDigits: 2)
        }
    }

    @Test func anyNumberOfCodesAreWritten() throws {
        let format = MoneyFormat(language: "en")
        let letters = "ABCDEFGHIJ"
        for code in letters.flatMap({ a in letters.flatMap { b in letters.map { "\(a)\(b)\($0)" } } }) {
            let text = try format.format(minorUnits: 100, currency: code, minorDigits: 2)
            #expect(text.hasSuffix("1.00"))
        }
    }
}

@Suite struct LanguagesTests {
    @Test(arguments: [
        ("zh-TW", ["zh-TW", "zh-Hant-TW", "zh-Hant", "zh"]), ("zh-Hans-CN", ["zh-Hans-CN", "zh-CN", "zh-Hans", "zh"]),
        ("zh_CN", ["zh-CN", "zh-Hans-CN", "zh-Hans", "zh"]), ("EN-gb", ["en-GB", "en-Latn-GB", "en-Latn", "en"]),
        ("sr-Latn", ["sr-Latn", "sr-Latn-RS", "sr"]), ("iw", ["he", "he-Hebr-IL", "he-IL", "he-Hebr", "iw"]),
        ("zh-yue", ["yue", "yue-Hant-HK", "yue-HK", "yue-Hant", "zh"]),
    ])
    func aLanguagesFallbacksBeginWithTheNearest(tag: String, fallbacks: [String]) {
        #expect(Languages.fallbacks(for: tag) == fallbacks)
    }

    @Test func noTextBreaksIt() {
        for text in [
            "", "-", "_", "@", "en@currency=EUR", "\u{0}", "é", String(repeating: "en-", count: 1000), "x", "1",
        ] {
            #expect(Languages.fallbacks(for: text).count < 40)
            _ = Languages.isTag(text)
        }
    }
}
