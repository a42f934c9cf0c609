import Models

extension LocalizedText {
    /// What is wrong with texts that people are to read: tags that name no language, texts that say nothing.
    func faults(_ field: String) -> [Fault] {
        byLocale.sorted { $0.key < $1.key }.compactMap { tag, text in
            if !Self.isLanguageTag(tag) {
                Fault("\(field).\(tag)", "a language tag (BCP 47) such as en or zh-Hans")
            } else if text.allSatisfy(\.isWhitespace) {
                Fault("\(field).\(tag)", "a text that says something")
            } else {
                nil
            }
        }
    }

    /// The shape of BCP 47: subtags of letters and digits, the first of 2 to 8 letters, at most 35 bytes in all.
    static func isLanguageTag(_ tag: String) -> Bool {
        guard tag.utf8.count <= Account.localeBytesMax else { return false }
        let subtags = tag.utf8.split(separator: UInt8(ascii: "-"), omittingEmptySubsequences: false)
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
