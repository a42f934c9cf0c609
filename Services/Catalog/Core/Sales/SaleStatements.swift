// Sales and their history.
import Models
import Postgres

/// Which sales to list; what is nil does not matter.
struct SaleFilter: Sendable {
    var brand: BrandID?
    var product: ProductID?
    var status: SaleStatus?
}

enum SaleStatements {
    static let saleRow = Columns("body", "status", "created_at", "published_at") {
        (body: JSONText, status: SaleStatus, createdAt: Timestamp, publishedAt: Timestamp?) in
        StoredSale(
            sale: try StoredDocument.read(body, Sale.init(json:)), status: status, createdAt: createdAt,
            publishedAt: publishedAt)
    }

    static func insert(_ sale: Sale, at now: Timestamp) -> SQL {
        """
        INSERT INTO sales (sale_id, brand_id, product_id, status, revision, body, created_at)
        VALUES (\(sale.saleId), \(sale.brandId), \(sale.productId), \(SaleStatus.draft), \(sale.revision),
            \(StoredDocument.text(sale)), \(now))
        """
    }

    static func record(_ sale: Sale, _ action: SaleChange.Action, by account: AccountID, at now: Timestamp) -> SQL {
        """
        INSERT INTO sale_changes (sale_id, revision, action, changed_by, changed_at, body)
        VALUES (\(sale.saleId), \(sale.revision), \(action), \(account), \(now), \(StoredDocument.text(sale)))
        """
    }

    static func update(_ sale: Sale) -> SQL {
        """
        UPDATE sales SET product_id = \(sale.productId), revision = \(sale.revision), body = \(StoredDocument.text(sale))
        WHERE sale_id = \(sale.saleId)
        """
    }

    static func publish(_ sale: Sale, at now: Timestamp) -> SQL {
        """
        UPDATE sales SET status = \(SaleStatus.published), published_at = \(now), revision = \(sale.revision),
            body = \(StoredDocument.text(sale))
        WHERE sale_id = \(sale.saleId)
        """
    }

    static func delete(_ id: SaleID) -> SQL { "DELETE FROM sales WHERE sale_id = \(id)" }

    static func find(_ id: SaleID) -> SQL { "SELECT \(saleRow) FROM sales WHERE sale_id = \(id)" }

    static func published(_ ids: [SaleID]) -> SQL {
        "SELECT \(saleRow) FROM sales WHERE sale_id = ANY(\(ids)) AND status = \(SaleStatus.published)"
    }

    static func lock(_ id: SaleID) -> SQL {
        "SELECT \(saleRow) FROM sales WHERE sale_id = \(id) FOR UPDATE"
    }

    /// Newest first. Drafts are their brand's alone. A brand's sales are found by index, so they have a statement of
    /// their own.
    static func list(before cursor: SaleID?, _ filter: SaleFilter, for reader: AccountID, limit: Int) -> SQL {
        let cursor = cursor ?? SaleID(high: .max, low: .max)
        guard let brand = filter.brand else {
            return """
                SELECT \(saleRow) FROM sales
                WHERE sale_id < \(cursor) AND (status = \(SaleStatus.published) OR brand_id = \(reader))
                    AND (\(optional: filter.product)::uuid IS NULL OR product_id = \(optional: filter.product))
                    AND (\(optional: filter.status)::text IS NULL OR status = \(optional: filter.status))
                ORDER BY sale_id DESC LIMIT \(limit)
                """
        }
        return """
            SELECT \(saleRow) FROM sales
            WHERE brand_id = \(brand) AND sale_id < \(cursor)
                AND (status = \(SaleStatus.published) OR brand_id = \(reader))
                AND (\(optional: filter.product)::uuid IS NULL OR product_id = \(optional: filter.product))
                AND (\(optional: filter.status)::text IS NULL OR status = \(optional: filter.status))
            ORDER BY brand_id DESC, sale_id DESC LIMIT \(limit)
            """
    }

    static let changeRow = Columns("body", "action", "changed_by", "changed_at") {
        (body: JSONText, action: SaleChange.Action, changedBy: AccountID, changedAt: Timestamp) in
        SaleChange(
            sale: try StoredDocument.read(body, Sale.init(json:)), action: action, changedBy: changedBy,
            changedAt: changedAt)
    }

    static func changes(_ id: SaleID, before revision: Int64, limit: Int) -> SQL {
        """
        SELECT \(changeRow) FROM sale_changes
        WHERE sale_id = \(id) AND revision < \(revision) ORDER BY revision DESC LIMIT \(limit)
        """
    }
}

extension SaleStatus: PostgresValue {}
extension SaleChange.Action: PostgresValue {}
