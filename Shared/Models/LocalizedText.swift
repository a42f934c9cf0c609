import JSON

/// A text in several languages, by BCP 47 tag, with at least one.
public struct LocalizedText: Hashable, Sendable {
    public let byLocale: [String: String]

    /// At most this many languages.
    public static let localesMax = 32

    /// Nil when there is no text, or too many.
    public init?(_ byLocale: [String: String]) {
        guard !byLocale.isEmpty, byLocale.count <= Self.localesMax else { return nil }
        self.byLocale = byLocale
    }

    /// The text for a reader: in the language asked for, else in its parent (`zh-TW` -> `zh`), else English, else
    /// whatever comes first by tag.
    public func text(for locale: String) -> String {
        var tag = Substring(locale)
        while true {
            if let text = byLocale[String(tag)] { return text }
            guard let dash = tag.lastIndex(of: "-") else { break }
            tag = tag[..<dash]
        }
        return byLocale["en"] ?? byLocale.min { $0.key < $1.key }?.value ?? ""
    }
}

extension LocalizedText: Codable {
    public init(from decoder: any Decoder) throws {
        let container = try decoder.singleValueContainer()
        guard let value = LocalizedText(try container.decode([String: String].self)) else {
            throw DecodingError.dataCorruptedError(
                in: container, debugDescription: "expected an object of 1 to \(Self.localesMax) texts by language")
        }
        self = value
    }

    public func encode(to encoder: any Encoder) throws {
        var container = encoder.singleValueContainer()
        try container.encode(byLocale)
    }
}

extension LocalizedText: JSONWritable {
    public func write(to writer: inout JSONWriter) {
        writer.object {
            for (locale, text) in byLocale.sorted(by: { $0.key < $1.key }) {
                $0.name(escaping: locale)
                $0.value(text)
            }
        }
    }
}

extension JSONValue {
    public func localizedText(_ name: StaticString, bytesMax: Int = 2000) throws(JSONError) -> LocalizedText {
        try read(name) { (value) throws(JSONError) in
            let texts = try value.members(countMax: LocalizedText.localesMax) { (locale, text) throws(JSONError) in
                guard let text = text.stringValue, text.utf8.count <= bytesMax else {
                    throw JSONError(path: "", expected: "a string of at most \(bytesMax) bytes")
                }
                return (locale, text)
            }
            guard let text = LocalizedText(Dictionary(texts, uniquingKeysWith: { first, _ in first })) else {
                throw JSONError(path: "", expected: "a text in at least one language")
            }
            return text
        }
    }
}
