// `docs/asyncapi.yaml`, to be held against the records that services publish.
import JSON
import Kafka

package struct AsyncAPIDocument: Sendable {
    package let tree: DocumentTree

    package init() throws { tree = try Repository.yaml("docs/asyncapi.yaml") }

    /// What is wrong with a record: a topic, an event type, headers, a key or a body that the document does not know.
    package func problems(_ record: ConsumedRecord) -> [String] {
        let name = "\(record.topic)/\(record.partition)/\(record.offset)"
        var headers: [String: DocumentTree] = [:]
        for header in record.headers { headers[header.name] = .string(String(decoding: header.value, as: UTF8.self)) }
        guard let message = message(of: record, headers) else {
            return ["\(name): no message \(headers["ce_type"]?.string ?? "without a ce_type") is documented there"]
        }
        var found: [String] = []
        if let schema = message["headers"] {
            found += JSONSchema(schema, in: tree).problems(.object(headers)).map { "headers \($0)" }
        }
        if let schema = resolved(message["bindings"])?["kafka"]?["key"] {
            let key = record.key.map { DocumentTree.string(String(decoding: $0, as: UTF8.self)) } ?? .null
            found += JSONSchema(schema, in: tree).problems(key).map { "key \($0)" }
        }
        if let schema = message["payload"], message["name"]?.string != "dead letter" {
            do {
                let body = try record.value.map { try DocumentTree(json: Array($0)) } ?? .null
                found += JSONSchema(schema, in: tree).problems(body)
            } catch {
                found.append("the body is not JSON")
            }
        }
        return found.map { "\(name): \($0)" }
    }

    private func message(of record: ConsumedRecord, _ headers: [String: DocumentTree]) -> DocumentTree? {
        if record.topic.hasSuffix(".dead") { return tree["components"]?["messages"]?["DeadLetter"] }
        let known = (tree["channels"]?[record.topic]?["messages"]?.members ?? [:]).values.compactMap(resolved)
        if record.value == nil, headers["ce_type"] == nil { return known.first { $0["name"]?.string == "tombstone" } }
        return known.first { $0["name"] == headers["ce_type"] }
    }

    private func resolved(_ value: DocumentTree?) -> DocumentTree? {
        value?["$ref"]?.string.flatMap(tree.resolve) ?? value
    }
}
