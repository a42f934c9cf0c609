// The statements on products.
import JSON
import Models
import Postgres

enum ProductStatements {
    static func insert(_ product: Product, at now: Timestamp) -> SQL {
        """
        INSERT INTO products (product_id, brand_id, body, created_at)
        VALUES (\(product.productId), \(product.brandId), \(JSONText(JSONWriter.document(product))), \(now))
        """
    }

    static func find(_ id: ProductID) -> SQL { "SELECT body FROM products WHERE product_id = \(id)" }

    /// Newest first: version 7 identifiers sort by time. Planned without knowing which filter is set, so each that an
    /// index serves has a statement.
    static func list(before cursor: ProductID?, of brand: BrandID?, limit: Int) -> SQL {
        let cursor = cursor ?? ProductID(high: .max, low: .max)
        guard let brand else {
            return "SELECT body FROM products WHERE product_id < \(cursor) ORDER BY product_id DESC LIMIT \(limit)"
        }
        return """
            SELECT body FROM products WHERE brand_id = \(brand) AND product_id < \(cursor)
            ORDER BY brand_id DESC, product_id DESC LIMIT \(limit)
            """
    }

    static func product(_ row: Row) throws -> Product {
        try document(row.get(0, as: JSONText.self), Product.init(json:))
    }

    /// Reads a document that was stored.
    static func document<Value>(
        _ text: JSONText, _ reader: (JSONValue) throws(JSONError) -> Value
    ) throws(StoredDocumentError) -> Value {
        do throws(JSONError) {
            return try JSONParser.parse(text.bytes, reader)
        } catch {
            throw StoredDocumentError(description: "a stored document is broken: \(error)")
        }
    }
}
