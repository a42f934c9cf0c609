// The languages that readers are told in: one for each file in `Texts`.
import Models

/// All languages, and which of them a reader is told in.
final class TemplateCatalogue: Sendable {
    /// In the order of their tags.
    let languages: [Language]
    /// Who reads none of the others is told in English.
    let standard: Language
    private let byTag: [String: Language]

    /// The tag of the standard language.
    static let standardTag = "en"

    /// - Parameter texts: what the files hold, by language.
    init(_ texts: [(tag: String, json: String)]) throws(TemplateError) {
        var languages: [Language] = []
        for (tag, json) in texts.sorted(by: { $0.tag < $1.tag }) {
            languages.append(try Language(tag: tag, json: json))
        }
        byTag = Dictionary(languages.map { ($0.tag, $0) }, uniquingKeysWith: { first, _ in first })
        guard let standard = byTag[Self.standardTag] else { throw TemplateError("\(Self.standardTag).json is missing") }
        guard languages.count <= LocalizedText.localesMax else {
            throw TemplateError("a broadcast holds \(LocalizedText.localesMax) languages, there are \(languages.count)")
        }
        self.languages = languages
        self.standard = standard
    }

    /// The language for a reader who asks for a locale, `zh-Hans-CN`.
    func language(for locale: String) -> Language {
        LanguageTag.fallbacks(for: locale).lazy.compactMap { self.byTag[$0] }.first ?? standard
    }

    /// Whether who asks for the locale reads the standard language, whatever other languages there are: `en-GB`.
    static func isStandard(_ locale: String) -> Bool { LanguageTag.primary(of: locale) == standardTag }
}
