import ICU
import JSON

/// A text in several languages, by BCP 47 tag, with at least one.
public struct LocalizedText: Hashable, Sendable {
    public let byLocale: [String: String]

    /// At most this many languages.
    public static let localesMax = 32
    /// At most this many characters in each, where nothing else is said.
    public static let charactersMax = 2000

    /// Nil when there is no text, or too many.
    public init?(_ byLocale: [String: String]) {
        guard !byLocale.isEmpty, byLocale.count <= Self.localesMax else { return nil }
        self.byLocale = byLocale
    }

    /// The text for a reader: in the language asked for, else in the nearest to it (`zh-Hant-TW` -> `zh-TW`, `zh-Hant`, `zh`),
    /// else English, else whatever comes first by tag.
    public func text(for locale: String) -> String {
        if let text = byLocale[locale] { return text }
        for tag in Languages.fallbacks(for: locale) { if let text = byLocale[tag] { return text } }
        return byLocale["en"] ?? byLocale.min { $0.key < $1.key }?.value ?? ""
    }

    /// By their bytes: a text that is spelt otherwise is another, as in Postgres.
    public static func == (left: LocalizedText, right: LocalizedText) -> Bool {
        left.byLocale.count == right.byLocale.count
            && left.byLocale.allSatisfy { tag, text in right.byLocale[tag]?.utf8.elementsEqual(text.utf8) == true }
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
    /// Texts by language that are asked for now, none of more than `charactersMax` characters.
    public func localizedText(_ name: StaticString, charactersMax: Int = LocalizedText.charactersMax) throws(JSONError)
        -> LocalizedText
    {
        try read(name, as: .localized(charactersMax: charactersMax, LanguageTag.isOne))
    }
}

extension Codec<LocalizedText> {
    /// Texts by language that were taken once, of an event, none of more than `charactersMax` characters.
    static func localized(charactersMax: Int = LocalizedText.charactersMax) -> Codec {
        localized(charactersMax: charactersMax, LanguageTag.hasShape)
    }

    fileprivate static func localized(
        charactersMax: Int, _ isTag: @escaping @Sendable (String) -> Bool
    ) -> Codec {
        Codec(
            .dictionary(
                names: LanguageTag.shape, values: .text(characters: 0...charactersMax),
                count: 1...LocalizedText.localesMax),
            expected: "a value",
            read: { (value) throws(JSONError) in
                let texts = try value.members(countMax: LocalizedText.localesMax) { (locale, text) throws(JSONError) in
                    guard isTag(locale) else { throw JSONError(path: "", expected: LanguageTag.expected) }
                    guard let text = text.stringValue, text.hasCharacters(atMost: charactersMax) else {
                        throw JSONError(path: "", expected: "a string of at most \(charactersMax) characters")
                    }
                    return (locale, text)
                }
                guard let text = LocalizedText(Dictionary(texts, uniquingKeysWith: { first, _ in first })) else {
                    throw JSONError(path: "", expected: "a text in at least one language")
                }
                return text
            }, write: { $0.write(to: &$1) })
    }
}
