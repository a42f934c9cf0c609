// Holds a value against a JSON Schema (2020-12) as far as the project's own documents use it.
import Synchronization

/// A schema within its document, which its references point into.
package struct JSONSchema: Sendable {
    let document: DocumentTree
    let schema: DocumentTree

    package init(_ schema: DocumentTree, in document: DocumentTree) {
        self.document = document
        self.schema = schema
    }

    /// What is wrong with the value, each with its place; nothing when it fits. A keyword that is not understood is
    /// reported as well, so that no rule of a document goes unheeded.
    package func problems(_ value: DocumentTree) -> [String] { problems(value, schema, at: "$") }

    static let annotations: Set<String> = [
        "description", "title", "examples", "example", "default", "deprecated", "readOnly", "writeOnly", "$comment",
        "contentMediaType", "externalDocs",
    ]

    private func problems(_ value: DocumentTree, _ schema: DocumentTree, at path: String) -> [String] {
        if case .boolean(let allowed) = schema { return allowed ? [] : ["\(path): nothing may stand here"] }
        var found: [String] = []
        for (keyword, rule) in schema.members.sorted(by: { $0.key < $1.key }) {
            switch keyword {
            case "$ref": found += reference(rule, value, at: path)
            case "type": found += type(rule, value, at: path)
            case "enum": if !rule.elements.contains(value) { found.append("\(path): is none of the enumeration") }
            case "const": if rule != value { found.append("\(path): is not the constant") }
            case "allOf": found += rule.elements.flatMap { problems(value, $0, at: path) }
            case "anyOf", "oneOf":
                let fitting = rule.elements.count { problems(value, $0, at: path).isEmpty }
                if fitting == 0 || (keyword == "oneOf" && fitting > 1) {
                    found.append("\(path): fits \(fitting) of \(keyword)")
                }
            case "not": if problems(value, rule, at: path).isEmpty { found.append("\(path): fits what it must not") }
            case "required", "properties", "additionalProperties", "propertyNames", "minProperties", "maxProperties":
                if case .object(let members) = value { found += object(keyword, rule, members, schema, at: path) }
            case "items", "minItems", "maxItems", "uniqueItems":
                if case .array(let elements) = value { found += array(keyword, rule, elements, at: path) }
            case "minLength", "maxLength", "pattern", "format":
                if case .string(let text) = value { found += string(keyword, rule, text, at: path) }
            case "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum":
                if let number = value.double { found += bounded(keyword, rule, number, at: path) }
            case _ where Self.annotations.contains(keyword) || keyword.hasPrefix("x-"): break
            default: found.append("\(path): the schema's \(keyword) is not understood")
            }
        }
        return found
    }

    private func reference(_ rule: DocumentTree, _ value: DocumentTree, at path: String) -> [String] {
        guard let name = rule.string, let target = document.resolve(name) else {
            return ["\(path): the schema refers to nothing"]
        }
        return problems(value, target, at: path)
    }

    private func type(_ rule: DocumentTree, _ value: DocumentTree, at path: String) -> [String] {
        let allowed = rule.string.map { [$0] } ?? rule.elements.compactMap(\.string)
        let names: [String] =
            switch value {
            case .null: ["null"]
            case .boolean: ["boolean"]
            case .integer: ["integer", "number"]
            case .number: ["number"]
            case .string: ["string"]
            case .array: ["array"]
            case .object: ["object"]
            }
        return names.contains(where: allowed.contains) ? [] : ["\(path): is \(names[0]), not \(allowed)"]
    }

    private func object(
        _ keyword: String, _ rule: DocumentTree, _ members: [String: DocumentTree], _ schema: DocumentTree,
        at path: String
    ) -> [String] {
        switch keyword {
        case "required":
            return rule.elements.compactMap(\.string).filter { members[$0] == nil }.map { "\(path): lacks \($0)" }
        case "properties":
            return rule.members.flatMap { name, rule in
                members[name].map { problems($0, rule, at: "\(path).\(name)") } ?? []
            }
        case "additionalProperties":
            let known = schema["properties"]?.members ?? [:]
            return members.filter { known[$0.key] == nil }.flatMap { problems($1, rule, at: "\(path).\($0)") }
        case "propertyNames":
            return members.keys.flatMap { problems(.string($0), rule, at: "\(path).\($0)") }
        case "minProperties": return members.count < rule.integer ?? 0 ? ["\(path): has too few members"] : []
        default: return members.count > rule.integer ?? .max ? ["\(path): has too many members"] : []
        }
    }

    private func array(_ keyword: String, _ rule: DocumentTree, _ elements: [DocumentTree], at path: String)
        -> [String]
    {
        switch keyword {
        case "items": return elements.enumerated().flatMap { problems($1, rule, at: "\(path)[\($0)]") }
        case "minItems": return elements.count < rule.integer ?? 0 ? ["\(path): has too few elements"] : []
        case "maxItems": return elements.count > rule.integer ?? .max ? ["\(path): has too many elements"] : []
        default:
            let repeats = elements.indices.contains { elements[..<$0].contains(elements[$0]) }
            return rule == .boolean(true) && repeats ? ["\(path): has equal elements"] : []
        }
    }

    private func string(_ keyword: String, _ rule: DocumentTree, _ text: String, at path: String) -> [String] {
        switch keyword {
        case "minLength":
            return text.unicodeScalars.count < rule.integer ?? 0 ? ["\(path): is too short"] : []
        case "maxLength":
            return text.unicodeScalars.count > rule.integer ?? .max ? ["\(path): is too long"] : []
        case "pattern":
            guard let pattern = rule.string, let expression = Patterns.expression(pattern) else {
                return ["\(path): the schema's pattern is none"]
            }
            return text.firstMatch(of: expression) == nil ? ["\(path): does not match \(pattern)"] : []
        default: return format(rule.string ?? "", text, at: path)
        }
    }

    private func format(_ name: String, _ text: String, at path: String) -> [String] {
        let digit = "[0-9a-f]"
        let pattern: String? =
            switch name {
            case "uuid": "^\(digit){8}-\(digit){4}-\(digit){4}-\(digit){4}-\(digit){12}$"
            case "date-time": "^\\d{4}-\\d{2}-\\d{2}T\\d{2}:\\d{2}:\\d{2}(\\.\\d+)?Z$"
            case "uri", "uri-reference", "byte", "password", "json": ""
            default: nil
            }
        guard let pattern, let expression = Patterns.expression(pattern) else {
            return ["\(path): the schema's format \(name) is not understood"]
        }
        return text.firstMatch(of: expression) == nil ? ["\(path): \(text) is no \(name)"] : []
    }

    private func bounded(_ keyword: String, _ rule: DocumentTree, _ number: Double, at path: String) -> [String] {
        guard let bound = rule.double else { return ["\(path): the schema's \(keyword) is no number"] }
        let holds =
            switch keyword {
            case "minimum": number >= bound
            case "maximum": number <= bound
            case "exclusiveMinimum": number > bound
            default: number < bound
            }
        return holds ? [] : ["\(path): \(number) is against \(keyword) \(bound)"]
    }
}

/// Compiles each pattern once: that takes far longer than to match by it.
private enum Patterns {
    /// `@unchecked Sendable`: nobody changes an expression, and matching keeps its state elsewhere.
    private struct Expression: @unchecked Sendable {
        let regex: Regex<AnyRegexOutput>
    }

    private static let known = Mutex<[String: Expression]>([:])

    /// Nil where the pattern is none.
    static func expression(_ pattern: String) -> Regex<AnyRegexOutput>? {
        known.withLock { known in
            if let found = known[pattern] { return found.regex }
            guard let regex = try? Regex(pattern) else { return nil }
            known[pattern] = Expression(regex: regex)
            return regex
        }
    }
}
