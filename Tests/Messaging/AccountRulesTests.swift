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
}
