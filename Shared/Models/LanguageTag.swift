import ICU
import JSON

/// A language by its tag (BCP 47): `en`, `zh-Hans-CN`. Of ASCII alone, so that tags are equal where their bytes are.
public enum LanguageTag {
    public static let bytesMax = 35

    static let shape = JSONShape.pattern(
        "^[A-Za-z]{2,8}(-[A-Za-z0-9]{1,8})*$", countMax: bytesMax,
        examples: ["en", "zh", "zh-TW", "zh-Hans-CN", "pt-BR"])

    /// Whether the text is one, as far as Unicode knows how they are built: `en-US-GB` is none.
    public static func isOne(_ text: String) -> Bool { hasShape(text) && Languages.isTag(text) }

    /// Whether the text has the shape of one: subtags of letters and digits, the first of 2 to 8 letters. What was taken once
    /// is asked for no more than this, whatever a later ICU says of it.
    public static func hasShape(_ text: String) -> Bool {
        guard text.utf8.count <= bytesMax else { return false }
        let subtags = text.utf8.split(separator: UInt8(ascii: "-"), omittingEmptySubsequences: false)
        return subtags.enumerated().allSatisfy { index, subtag in
            (index == 0 ? 2...8 : 1...8).contains(subtag.count)
                && subtag.allSatisfy { isLetter($0) || (index > 0 && isDigit($0)) }
        }
    }

    /// In which languages to look for somebody who asks for one, best first: `zh-TW`, `zh-Hant`, `zh`.
    public static func fallbacks(for tag: String) -> [String] { Languages.fallbacks(for: tag) }

    /// The language without script and region, as it is spelt, in lower case: `zh`.
    public static func primary(of tag: String) -> String { tag.prefix { $0 != "-" }.lowercased() }

    private static func isLetter(_ byte: UInt8) -> Bool {
        (UInt8(ascii: "a")...UInt8(ascii: "z")).contains(byte | 0x20)
    }

    private static func isDigit(_ byte: UInt8) -> Bool { (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte) }

    static let expected = "a language tag (BCP 47) such as en or zh-Hans"
}

extension JSONValue {
    /// One that is asked for now.
    public func languageTag(_ name: StaticString) throws(JSONError) -> String {
        try read(name, as: .languageTag(LanguageTag.isOne))
    }
}

extension Codec<String> {
    /// One that was taken once: of an event.
    static var languageTag: Codec { languageTag(LanguageTag.hasShape) }

    fileprivate static func languageTag(_ isTag: @escaping @Sendable (String) -> Bool) -> Codec {
        Codec(
            LanguageTag.shape, expected: LanguageTag.expected,
            read: { (value) throws(JSONError) in
                guard let tag = value.stringValue, isTag(tag) else {
                    throw JSONError(path: "", expected: LanguageTag.expected)
                }
                return tag
            }, write: { $1.value($0) })
    }
}
