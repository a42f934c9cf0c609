// Products, as their brands describe them.
import Models
import Postgres

enum ProductStatements {
    static let productRow = Columns("body") { (body: JSONText) in
        try StoredDocument.read(body, Product.init(json:))
    }

    static func insert(_ product: Product, at now: Timestamp) -> SQL {
        """
        INSERT INTO products (product_id, brand_id, body, created_at)
        VALUES (\(product.productId), \(product.brandId), \(StoredDocument.text(product)), \(now))
        """
    }

    static func find(_ id: ProductID) -> SQL { "SELECT \(productRow) FROM products WHERE product_id = \(id)" }

    /// Newest first: version 7 identifiers sort by time. Planned without knowing which filter is set, so each that an
    /// index serves has a statement.
    static func list(before cursor: ProductID?, of brand: BrandID?, limit: Int) -> SQL {
        let cursor = cursor ?? ProductID(high: .max, low: .max)
        guard let brand else {
            return """
                SELECT \(productRow) FROM products
                WHERE product_id < \(cursor) ORDER BY product_id DESC LIMIT \(limit)
                """
        }
        return """
            SELECT \(productRow) FROM products WHERE brand_id = \(brand) AND product_id < \(cursor)
            ORDER BY brand_id DESC, product_id DESC LIMIT \(limit)
            """
    }
}
