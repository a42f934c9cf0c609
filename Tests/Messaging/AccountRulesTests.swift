import Testing

@testable import MessagingCore

@Suite struct AccountRulesTests {
    @Test(
        arguments: [
            ("Alice", "alice"), ("a.b", "a.b"), ("x-9_z", "x-9_z"), (String(repeating: "k", count: 32), nil),
        ] as [(String, String?)])
    func aHandleIsKeptInLowerCase(_ text: String, _ expected: String?) {
        #expect(AccountRules.handle(text) == expected ?? text)
    }

    @Test(arguments: [
        "", "ab", ".ab", "ab.", "-ab", "a b", "a@b", "älteste", "名字名字", "\u{212a}ate", "a\u{0}b",
        String(repeating: "k", count: 33),
    ])
    func whatIsNoHandleIsRefused(_ text: String) {
        #expect(AccountRules.handle(text) == nil)
    }

    @Test func aDeviceIsCalledAsItCallsItself() {
        let browser =
            "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36"
        #expect(AccountRules.device(browser) == browser)
        #expect(AccountRules.device("a\u{1b}[31m\nb\u{0}") == "a[31mb")
        #expect(AccountRules.device(String(repeating: "x", count: 300)).utf8.count == AccountRules.deviceBytesMax)
        // Never in the middle of a character.
        #expect(
            AccountRules.device("x" + String(repeating: "手", count: 100)) == "x" + String(repeating: "手", count: 66))
        #expect(AccountRules.device("") == "")
    }
}
