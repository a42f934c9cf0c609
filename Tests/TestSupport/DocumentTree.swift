// A document of any format as a tree, for tests that hold one document against another.
import Foundation
import JSON
import Synchronization

/// A parsed JSON or YAML document.
package enum DocumentTree: Equatable, Sendable {
    case null
    case boolean(Bool)
    case integer(Int64)
    case number(Double)
    case string(String)
    case array([DocumentTree])
    case object([String: DocumentTree])

    /// Reads JSON with Foundation.
    package init(json bytes: some Sequence<UInt8>) throws {
        self = try JSONDecoder().decode(DocumentTree.self, from: Data(bytes))
    }

    /// A member of an object; nil where there is none or this is not an object.
    package subscript(_ name: String) -> DocumentTree? {
        if case .object(let members) = self { members[name] } else { nil }
    }

    package var members: [String: DocumentTree] { if case .object(let members) = self { members } else { [:] } }
    package var elements: [DocumentTree] { if case .array(let elements) = self { elements } else { [] } }
    package var string: String? { if case .string(let text) = self { text } else { nil } }
    package var integer: Int64? { if case .integer(let number) = self { number } else { nil } }
    package var boolean: Bool? { if case .boolean(let flag) = self { flag } else { nil } }
    package var double: Double? {
        switch self {
        case .integer(let number): Double(number)
        case .number(let number): number
        default: nil
        }
    }

    /// The place that a reference within the document names: `#/components/schemas/Money` (RFC 6901).
    package func resolve(_ reference: String) -> DocumentTree? {
        guard reference.hasPrefix("#/") else { return reference == "#" ? self : nil }
        return reference.dropFirst(2).split(separator: "/", omittingEmptySubsequences: false).reduce(self as Self?) {
            let name = $1.replacing("~1", with: "/").replacing("~0", with: "~")
            return $0?[String(name)]
        }
    }

    /// Every reference in the document, wherever it stands.
    package var references: [String] {
        switch self {
        case .array(let elements): elements.flatMap(\.references)
        case .object(let members):
            members.flatMap { name, value in
                if name == "$ref", let reference = value.string { [reference] } else { value.references }
            }
        default: []
        }
    }
}

extension DocumentTree: Decodable {
    package init(from decoder: any Decoder) throws {
        let value = try decoder.singleValueContainer()
        if value.decodeNil() {
            self = .null
        } else if let flag = try? value.decode(Bool.self) {
            self = .boolean(flag)
        } else if let number = try? value.decode(Int64.self) {
            self = .integer(number)
        } else if let number = try? value.decode(Double.self) {
            self = .number(number)
        } else if let text = try? value.decode(String.self) {
            self = .string(text)
        } else if let elements = try? value.decode([DocumentTree].self) {
            self = .array(elements)
        } else {
            self = .object(try value.decode([String: DocumentTree].self))
        }
    }
}

extension DocumentTree: JSONWritable {
    package func write(to writer: inout JSONWriter) {
        switch self {
        case .null: writer.null()
        case .boolean(let flag): writer.value(flag)
        case .integer(let number): writer.value(number)
        case .number(let number): writer.value(document: "\(number)".utf8)
        case .string(let text): writer.value(text)
        case .array(let elements): elements.write(to: &writer)
        case .object(let members):
            writer.object {
                for (name, value) in members {
                    $0.name(escaping: name)
                    value.write(to: &$0)
                }
            }
        }
    }

    /// The document as JSON.
    package var json: [UInt8] { JSONWriter.document(self) }
}

/// Files of the checkout that tests hold the program against.
package enum Repository {
    /// The checkout's root: this file stands in `Tests/TestSupport`.
    package static let root = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
        .deletingLastPathComponent()

    package static func text(_ path: String) throws -> String {
        try String(contentsOf: root.appending(path: path), encoding: .utf8)
    }

    /// Read once: every service that a test starts is held against the same documents.
    package static func yaml(_ path: String) throws -> DocumentTree {
        try documents.withLock { documents in
            if let known = documents[path] { return known }
            let document = try YAML.parse(text(path))
            documents[path] = document
            return document
        }
    }

    private static let documents = Mutex<[String: DocumentTree]>([:])
}
