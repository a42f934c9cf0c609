// What the program declares as JSON Schema, to be held against documents.
import JSON

extension JSONShape {
    package var jsonSchema: DocumentTree {
        var rules: [String: DocumentTree] = [:]
        func type(_ name: String) { rules["type"] = .string(name) }
        switch self {
        case .boolean: type("boolean")
        case .integer(let range):
            type("integer")
            rules["minimum"] = .integer(range.lowerBound)
            rules["maximum"] = .integer(range.upperBound)
        case .text(let characters):
            type("string")
            if characters.lowerBound > 0 { rules["minLength"] = .integer(Int64(characters.lowerBound)) }
            rules["maxLength"] = .integer(Int64(characters.upperBound))
        case .code(let alphabet, let count):
            type("string")
            rules["pattern"] = .string("^[\(alphabet.text)]{\(count.lowerBound),\(count.upperBound)}$")
        case .pattern(let pattern, let countMax, _):
            type("string")
            rules["maxLength"] = .integer(Int64(countMax))
            rules["pattern"] = .string(pattern)
        case .choice(let known):
            type("string")
            rules["enum"] = .array(known.sorted().map(DocumentTree.string))
        case .uuid(let isNilTaken):
            type("string")
            rules["format"] = .string("uuid")
            if !isNilTaken { rules["pattern"] = .string("[1-9a-fA-F]") }
        case .time:
            type("string")
            rules["format"] = .string("date-time")
        case .array(let element, let countMax):
            type("array")
            rules["items"] = element.jsonSchema
            rules["maxItems"] = .integer(Int64(countMax))
        case .object(let members):
            type("object")
            rules["properties"] = .object(
                Dictionary(uniqueKeysWithValues: members.map { ($0.name, $0.shape.jsonSchema) }))
            rules["required"] = .array(members.filter(\.isRequired).map(\.name).sorted().map(DocumentTree.string))
        case .dictionary(let names, let values, let count):
            type("object")
            rules["propertyNames"] = names.jsonSchema
            rules["additionalProperties"] = values.jsonSchema
            rules["minProperties"] = .integer(Int64(count.lowerBound))
            rules["maxProperties"] = .integer(Int64(count.upperBound))
        }
        return .object(rules)
    }
}

extension JSONSchema {
    /// All that the schema asks for: without annotations, with what it refers to in its place, lists without an order sorted.
    package var rules: DocumentTree { rules(schema) }

    private func rules(_ schema: DocumentTree) -> DocumentTree {
        var found: [String: DocumentTree] = [:]
        for (keyword, rule) in schema.members {
            switch keyword {
            case "$ref":
                let target = rule.string.flatMap(document.resolve) ?? .null
                found.merge(rules(target).members) { own, _ in own }
            case "allOf": for part in rule.elements { found.merge(rules(part).members) { own, _ in own } }
            case "properties": found[keyword] = .object(rule.members.mapValues(rules))
            case "items", "additionalProperties", "propertyNames": found[keyword] = rules(rule)
            case "required", "enum":
                found[keyword] = .array(rule.elements.compactMap(\.string).sorted().map(DocumentTree.string))
            case _ where Self.annotations.contains(keyword): break
            default: found[keyword] = rule
            }
        }
        return .object(found)
    }
}
