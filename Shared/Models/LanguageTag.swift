import JSON

/// A language by its tag (BCP 47): `en`, `zh-Hans-CN`. Of ASCII alone, so that tags are equal where their bytes are.
public enum LanguageTag {
    public static let bytesMax = 35

    static let shape = JSONShape.pattern(
        "^[A-Za-z]{2,8}(-[A-Za-z0-9]{1,8})*$", countMax: bytesMax,
        examples: ["en", "zh", "zh-TW", "zh-Hans-CN", "pt-BR"])

    /// Whether the text has the shape of one: subtags of letters and digits, the first of 2 to 8 letters.
    public static func isOne(_ text: String) -> Bool {
        guard text.utf8.count <= bytesMax else { return false }
        let subtags = text.utf8.split(separator: UInt8(ascii: "-"), omittingEmptySubsequences: false)
        return subtags.enumerated().allSatisfy { index, subtag in
            (index == 0 ? 2...8 : 1...8).contains(subtag.count)
                && subtag.allSatisfy { isLetter($0) || (index > 0 && isDigit($0)) }
        }
    }

    private static func isLetter(_ byte: UInt8) -> Bool {
        (UInt8(ascii: "a")...UInt8(ascii: "z")).contains(byte | 0x20)
    }

    private static func isDigit(_ byte: UInt8) -> Bool { (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte) }
}

extension JSONValue {
    public func languageTag(_ name: StaticString) throws(JSONError) -> String {
        try read(name, as: .languageTag)
    }
}

extension Codec<String> {
    static var languageTag: Codec {
        let expected = "a language tag (BCP 47) such as en or zh-Hans"
        return Codec(
            LanguageTag.shape, expected: expected,
            read: { (value) throws(JSONError) in
                guard let tag = value.stringValue, LanguageTag.isOne(tag) else {
                    throw JSONError(path: "", expected: expected)
                }
                return tag
            }, write: { $1.value($0) })
    }
}
