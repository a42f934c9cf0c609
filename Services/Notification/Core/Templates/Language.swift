// One language that readers are told in.
import ICU
import JSON
import Models

/// A language with its templates and its way of writing money. Every template was read and checked when it was made.
final class Language: Sendable {
    /// BCP 47.
    let tag: String
    private let templates: [Template: MessageFormat]
    private let moneyFormat: MoneyFormat

    /// - Parameter json: a pattern of ICU's MessageFormat by the key of each template.
    init(tag: String, json: String) throws(TemplateError) {
        self.tag = tag
        let patterns: [(String, String)]
        do {
            patterns = try JSONParser.parse(json.utf8) { (json) throws(JSONError) in
                try json.members(countMax: 1000) { (key, pattern) throws(JSONError) in
                    guard let pattern = pattern.stringValue else { throw JSONError(path: key, expected: "a pattern") }
                    return (key, pattern)
                }
            }
        } catch { throw TemplateError("\(tag).json: \(error)") }
        var templates: [Template: MessageFormat] = [:]
        for (key, pattern) in patterns {
            guard let template = Template(rawValue: key) else { throw TemplateError("\(tag).json: unknown key \(key)") }
            do {
                templates[template] = try MessageFormat(pattern, language: tag, arguments: template.arguments)
            } catch { throw TemplateError("\(tag).json, \(key): \(error)") }
        }
        for template in Template.allCases where templates[template] == nil {
            throw TemplateError("\(tag).json: \(template.rawValue) is missing")
        }
        self.templates = templates
        moneyFormat = MoneyFormat(language: tag)
    }

    /// - Parameter values: of the template's arguments.
    func text(
        _ template: Template, _ values: [(name: String, value: MessageFormat.Value)] = []
    ) throws(ICUError) -> String {
        guard let format = templates[template] else { preconditionFailure("every template was there") }
        return try format.format(values)
    }

    /// `CN¥1,999.00` in English, `¥1,999.00` in Chinese.
    func text(_ money: Money) throws(ICUError) -> String {
        try moneyFormat.format(
            minorUnits: money.amount, currency: money.currency.code, minorDigits: money.currency.minorDigits)
    }
}

/// A language's file says something that cannot be used.
struct TemplateError: Error, Equatable, CustomStringConvertible {
    let description: String

    init(_ description: String) { self.description = description }
}
