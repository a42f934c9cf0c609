// Reads the part of YAML 1.2 that the project's own documents are written in.

/// Block mappings and sequences, flow mappings and sequences, plain and quoted scalars, literal (`|`) and folded (`>`)
/// text, comments; anchors on what stands behind a key (`a: &name …`), aliases (`*name`) and merge keys (`<<: *name`,
/// `<<: [*one, *other]`) of block mappings. Not: tags, several documents, complex keys, tabs as indentation. What is not
/// understood is an error, never a guess; a key that comes twice in one mapping is one too.
package enum YAML {
    package struct Failure: Error, CustomStringConvertible {
        package let line: Int
        package let reason: String
        package var description: String { "line \(line): \(reason)" }
    }

    package static func parse(_ text: String) throws -> DocumentTree {
        var reader = try BlockReader(text)
        return try reader.document()
    }
}

/// One line that is not blank: how far it is indented, and what stands there.
private struct Line {
    let number: Int
    let indent: Int
    let content: Substring

    /// Whether it starts with a sequence's dash.
    var isElement: Bool { content == "-" || content.hasPrefix("- ") }
}

private struct BlockReader {
    /// Every line as written, for literal text, which keeps its blank lines and its `#`.
    private let raw: [Substring]
    private var position = 0
    private var anchors: [String: DocumentTree] = [:]

    init(_ text: String) throws {
        raw = text.split(separator: "\n", omittingEmptySubsequences: false)
        for (index, line) in raw.enumerated() where line.prefix(while: { $0 == " " || $0 == "\t" }).contains("\t") {
            throw YAML.Failure(line: index + 1, reason: "a tab in the indentation")
        }
    }

    mutating func document() throws -> DocumentTree {
        guard let first = peek() else { return .null }
        let tree = try node(indent: first.indent)
        if let rest = peek() { throw YAML.Failure(line: rest.number, reason: "unexpected indentation") }
        return tree
    }

    /// The next line that has content, without taking it.
    private mutating func peek() -> Line? {
        while position < raw.count {
            let line = raw[position]
            let content = line.drop { $0 == " " }
            if content.isEmpty || content.first == "#" || (position == 0 && line == "---") {
                position += 1
                continue
            }
            return Line(number: position + 1, indent: line.count - content.count, content: content)
        }
        return nil
    }

    private mutating func node(indent: Int) throws -> DocumentTree {
        guard let line = peek() else { return .null }
        if line.isElement { return try sequence(indent: line.indent) }
        if try Scalar.key(of: line) != nil { return try mapping(indent: line.indent, first: nil) }
        position += 1
        return try value(line.content, of: line, parentIndent: indent - 1)
    }

    /// `first`: a sequence's first element that stands on the line of an outer sequence's dash.
    private mutating func sequence(indent: Int, first: Line? = nil) throws -> DocumentTree {
        var elements: [DocumentTree] = []
        var pending = first
        while let line = pending ?? peek(), line.indent == indent, line.isElement {
            pending = nil
            let rest = line.content.dropFirst().drop { $0 == " " }
            if rest.isEmpty || rest.first == "#" {
                position += 1
                guard let next = peek(), next.indent > indent else {
                    elements.append(.null)
                    continue
                }
                elements.append(try node(indent: next.indent))
                continue
            }
            let inner = Line(number: line.number, indent: indent + line.content.count - rest.count, content: rest)
            if inner.isElement {
                elements.append(try sequence(indent: inner.indent, first: inner))
            } else if try Scalar.key(of: inner) != nil {
                elements.append(try mapping(indent: inner.indent, first: inner))
            } else {
                position += 1
                elements.append(try value(rest, of: line, parentIndent: indent))
            }
        }
        if let line = peek(), line.indent > indent {
            throw YAML.Failure(line: line.number, reason: "unexpected indentation")
        }
        return .array(elements)
    }

    /// `first`: a mapping's first member that stands on the line of a sequence's dash.
    private mutating func mapping(indent: Int, first: Line?) throws -> DocumentTree {
        var members: [String: DocumentTree] = [:]
        var merged: [[String: DocumentTree]]?
        var pending = first
        while let line = pending ?? peek(), line.indent == indent {
            pending = nil
            guard let (key, behind) = try Scalar.key(of: line) else {
                throw YAML.Failure(line: line.number, reason: "expected a key and a colon")
            }
            guard members[key] == nil else { throw YAML.Failure(line: line.number, reason: "\(key) comes twice") }
            position += 1
            var rest = behind
            var anchor: String?
            if rest.first == "&" {
                let name = rest.dropFirst().prefix { $0 != " " }
                rest = rest[name.endIndex...].drop { $0 == " " }
                anchor = String(name)
            }
            defer { if let anchor { anchors[anchor] = members[key] } }
            if key == "<<" {
                guard merged == nil else { throw YAML.Failure(line: line.number, reason: "<< comes twice") }
                merged = try mappings(value(rest, of: line, parentIndent: indent), line)
                continue
            }
            if rest.isEmpty || rest.first == "#" {
                guard let next = peek() else {
                    members[key] = .null
                    break
                }
                // A list may stand at its key's own indentation.
                if next.indent > indent || (next.indent == indent && next.isElement) {
                    members[key] = try node(indent: next.indent)
                } else {
                    members[key] = .null
                }
            } else {
                members[key] = try value(rest, of: line, parentIndent: indent)
            }
        }
        if let line = peek(), line.indent > indent {
            throw YAML.Failure(line: line.number, reason: "unexpected indentation")
        }
        // What is written in the mapping itself wins, then what comes first in the list.
        for mapping in merged ?? [] { members.merge(mapping) { own, _ in own } }
        return .object(members)
    }

    /// What `<<` merges: a mapping, or a list of them.
    private func mappings(_ tree: DocumentTree, _ line: Line) throws -> [[String: DocumentTree]] {
        switch tree {
        case .object(let members): return [members]
        case .array(let elements): return try elements.flatMap { try mappings($0, line) }
        default: throw YAML.Failure(line: line.number, reason: "<< expects a mapping or a list of mappings")
        }
    }

    /// What stands behind a key or a dash, with the lines that continue it.
    private mutating func value(_ text: Substring, of line: Line, parentIndent: Int) throws -> DocumentTree {
        if let style = text.first, style == "|" || style == ">" {
            return .string(try block(header: text, of: line, parentIndent: parentIndent))
        }
        var whole = String(text)
        let isQuotedOrFlow = "\"'[{".contains(text.first ?? " ")
        while let next = peek(), next.indent > parentIndent {
            // A flow collection or quoted text ends by itself; a plain one goes on as long as it is indented.
            if isQuotedOrFlow, Scalar.isComplete(whole) { break }
            if !isQuotedOrFlow { whole = String(Scalar.withoutComment(whole[...])) }
            whole += " " + next.content
            position += 1
        }
        var scalar = FlowReader(whole, line: line.number, anchors: anchors)
        return try scalar.whole()
    }

    private mutating func block(header: Substring, of line: Line, parentIndent: Int) throws -> String {
        let marks = Scalar.withoutComment(header).dropFirst()
        guard marks.allSatisfy({ $0 == "-" || $0 == "+" }), marks.count <= 1 else {
            throw YAML.Failure(line: line.number, reason: "block text with an indentation of its own")
        }
        var lines: [Substring] = []
        var blockIndent: Int?
        while position < raw.count {
            let text = raw[position]
            let content = text.drop { $0 == " " }
            let indent = text.count - content.count
            if content.isEmpty {
                lines.append("")
            } else {
                guard indent > parentIndent else { break }
                if blockIndent == nil { blockIndent = indent }
                guard indent >= blockIndent ?? 0 else {
                    throw YAML.Failure(line: position + 1, reason: "block text indented less than its first line")
                }
                lines.append(text.dropFirst(blockIndent ?? 0))
            }
            position += 1
        }
        var trailing = 0
        while lines.last?.isEmpty == true {
            lines.removeLast()
            trailing += 1
        }
        var text = ""
        if header.first == "|" {
            text = lines.joined(separator: "\n")
        } else {
            var pendingBreaks = 0
            for (index, line) in lines.enumerated() {
                if line.isEmpty {
                    pendingBreaks += 1
                    continue
                }
                if index > 0 {
                    text += pendingBreaks > 0 ? String(repeating: "\n", count: pendingBreaks) : text.isEmpty ? "" : " "
                }
                pendingBreaks = 0
                text += line
            }
        }
        switch marks.first {
        case "-": return text
        case "+": return text + String(repeating: "\n", count: trailing + 1)
        default: return text.isEmpty ? text : text + "\n"
        }
    }
}

/// Questions about one line's text.
private enum Scalar {
    /// The key that the line starts with, and what follows its colon; nil when it starts with none.
    static func key(of line: Line) throws -> (String, Substring)? {
        let text = line.content
        guard let first = text.first, !"[{|>&*!%@`".contains(first) else { return nil }
        if first == "\"" || first == "'" {
            var reader = FlowReader(String(text), line: line.number)
            guard let key = try? reader.quoted(), reader.rest.first == ":" else { return nil }
            let rest = reader.rest.dropFirst()
            guard rest.isEmpty || rest.first == " " else { return nil }
            return (key, text.suffix(rest.count).drop { $0 == " " })
        }
        var index = text.startIndex
        while index < text.endIndex {
            let next = text.index(after: index)
            if text[index] == ":", next == text.endIndex || text[next] == " " {
                return (String(text[..<index]), text[next...].drop { $0 == " " })
            }
            if text[index] == " ", next < text.endIndex, text[next] == "#" { return nil }
            index = next
        }
        return nil
    }

    /// The text before a comment, without trailing blanks.
    static func withoutComment(_ text: Substring) -> Substring {
        var end = text.endIndex
        if let comment = text.range(of: " #") { end = comment.lowerBound }
        while end > text.startIndex, text[text.index(before: end)] == " " { end = text.index(before: end) }
        return text[..<end]
    }

    /// Whether quotes and brackets that were opened are closed.
    static func isComplete(_ text: String) -> Bool {
        var depth = 0
        var quote: Character?
        var previous: Character = " "
        for character in text {
            if let open = quote {
                if character == open, open == "'" || previous != "\\" { quote = nil }
                previous = open == "\"" && previous == "\\" ? " " : character
                continue
            }
            if character == "#", previous == " " { break }
            switch character {
            case "\"", "'": if " [{,:".contains(previous) { quote = character }
            case "[", "{": depth += 1
            case "]", "}": depth -= 1
            default: break
            }
            previous = character
        }
        return quote == nil && depth <= 0
    }
}

/// Reads a scalar or a flow collection, `[a, {b: c}]`, from one text.
private struct FlowReader {
    private let line: Int
    private(set) var rest: Substring
    private let anchors: [String: DocumentTree]

    init(_ text: String, line: Int, anchors: [String: DocumentTree] = [:]) {
        rest = text[...]
        self.line = line
        self.anchors = anchors
    }

    mutating func whole() throws -> DocumentTree {
        let tree = try value(inFlow: false)
        skipBlanks()
        guard rest.isEmpty || rest.first == "#" else { throw failure("unexpected \(rest)") }
        return tree
    }

    private mutating func value(inFlow: Bool) throws -> DocumentTree {
        skipBlanks()
        switch rest.first {
        case nil: return .null
        case "\"", "'": return .string(try quoted())
        case "[": return try sequence()
        case "{": return try mapping()
        case "*":
            let name = try plainText(inFlow: inFlow).dropFirst()
            guard let tree = anchors[String(name)] else { throw failure("no anchor \(name) above") }
            return tree
        case .some(let first) where "&*!%@`".contains(first): throw failure("\(first) is not understood")
        default: return Self.plain(try plainText(inFlow: inFlow))
        }
    }

    private mutating func sequence() throws -> DocumentTree {
        rest.removeFirst()
        var elements: [DocumentTree] = []
        while true {
            skipBlanks()
            if rest.first == "]" { break }
            elements.append(try value(inFlow: true))
            skipBlanks()
            if rest.first == "," { rest.removeFirst() } else if rest.first != "]" { throw failure("expected , or ]") }
        }
        rest.removeFirst()
        return .array(elements)
    }

    private mutating func mapping() throws -> DocumentTree {
        rest.removeFirst()
        var members: [String: DocumentTree] = [:]
        while true {
            skipBlanks()
            if rest.first == "}" { break }
            let key = "\"'".contains(rest.first ?? " ") ? try quoted() : String(try plainText(inFlow: true))
            skipBlanks()
            guard rest.first == ":" else { throw failure("expected a colon behind \(key)") }
            rest.removeFirst()
            guard members[key] == nil else { throw failure("\(key) comes twice") }
            guard key != "<<" else { throw failure("<< in a flow mapping is not understood") }
            skipBlanks()
            members[key] = rest.first == "," || rest.first == "}" ? .null : try value(inFlow: true)
            skipBlanks()
            if rest.first == "," { rest.removeFirst() } else if rest.first != "}" { throw failure("expected , or }") }
        }
        rest.removeFirst()
        return .object(members)
    }

    mutating func quoted() throws -> String {
        let quote = rest.removeFirst()
        var text = ""
        while let character = rest.popFirst() {
            if character == quote {
                guard quote == "'", rest.first == "'" else { return text }
                rest.removeFirst()
                text.append("'")
            } else if character == "\\", quote == "\"" {
                text.append(try escaped())
            } else {
                text.append(character)
            }
        }
        throw failure("text without its closing \(quote)")
    }

    private mutating func escaped() throws -> Character {
        switch rest.popFirst() {
        case "n": return "\n"
        case "t": return "\t"
        case "r": return "\r"
        case "0": return "\0"
        case "\"": return "\""
        case "\\": return "\\"
        case "/": return "/"
        case "u":
            let digits = rest.prefix(4)
            rest = rest.dropFirst(4)
            guard digits.count == 4, let code = UInt32(digits, radix: 16), let scalar = Unicode.Scalar(code) else {
                throw failure("\\u\(digits) is no character")
            }
            return Character(scalar)
        default: throw failure("an unknown escape")
        }
    }

    private mutating func plainText(inFlow: Bool) throws -> Substring {
        var end = rest.startIndex
        scan: while end < rest.endIndex {
            let next = rest.index(after: end)
            switch rest[end] {
            case ",", "]", "}", "[", "{": if inFlow { break scan }
            case ":":
                let ends = next == rest.endIndex || rest[next] == " " || (inFlow && ",]}".contains(rest[next]))
                if ends, inFlow { break scan }
                if ends { throw failure("a colon within plain text: quote it") }
            case "#": if end > rest.startIndex, rest[rest.index(before: end)] == " " { break scan }
            default: break
            }
            end = next
        }
        let text = Scalar.withoutComment(rest[..<end])
        rest = rest[end...]
        return text
    }

    /// A plain scalar by YAML's core schema.
    private static func plain(_ text: Substring) -> DocumentTree {
        switch text {
        case "", "~", "null", "Null", "NULL": return .null
        case "true", "True", "TRUE": return .boolean(true)
        case "false", "False", "FALSE": return .boolean(false)
        default: break
        }
        if text.allSatisfy({ $0.isASCII && ($0.isNumber || "+-.eE".contains($0)) }), text.contains(where: \.isNumber) {
            if let integer = Int64(text) { return .integer(integer) }
            if let number = Double(text) { return .number(number) }
        }
        return .string(String(text))
    }

    private mutating func skipBlanks() { rest = rest.drop { $0 == " " } }
    private func failure(_ reason: String) -> YAML.Failure { YAML.Failure(line: line, reason: reason) }
}
