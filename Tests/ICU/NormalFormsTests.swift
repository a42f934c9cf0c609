import Foundation
import ICU
import Testing

@Suite struct NormalFormsTests {
    @Test(
        arguments: [
            "", "plain", "e\u{301}te\u{301}", "\u{e9}t\u{e9}", "\u{1100}\u{1161}\u{11a8}", "\u{212b}", "a\0e\u{301}",
            "q\u{307}\u{323}", "\u{1f600} \u{4f60}\u{597d}", String(repeating: "\u{1e9b}\u{323}", count: 1000),
        ])
    func textsAreAsFoundationNormalizesThem(_ text: String) {
        #expect(NormalForms.composed(text).utf8.elementsEqual(text.precomposedStringWithCanonicalMapping.utf8))
        #expect(NormalForms.decomposed(text).utf8.elementsEqual(text.decomposedStringWithCanonicalMapping.utf8))
    }
}
