// Documents in the schema: products and sales are kept as their events say them.
import JSON
import Postgres

enum StoredDocument {
    static func text(_ document: some JSONWritable) -> JSONText { JSONText(JSONWriter.document(document)) }

    static func read<Value>(
        _ text: JSONText, _ reader: (JSONValue) throws(JSONError) -> Value
    ) throws(StoredDocumentError) -> Value {
        do throws(JSONError) {
            return try JSONParser.parse(text.bytes, reader)
        } catch {
            throw StoredDocumentError(description: "a stored document is broken: \(error)")
        }
    }
}

/// A stored document that cannot be read: a fault of ours, not of the request's.
struct StoredDocumentError: Error, CustomStringConvertible {
    let description: String
}
