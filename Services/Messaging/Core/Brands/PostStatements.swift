// Posts of brands.
import JSON
import Models
import Postgres

enum PostStatements {
    static let postRow = Columns("message_id", "brand_id", "sequence", "kind", "body", "sale_id", "sent_at") {
        (
            id: MessageID, brand: BrandID, sequence: Int64, kind: MessageSent.Kind, body: String, sale: SaleID?,
            sentAt: Timestamp
        ) in
        BrandPosted(
            messageId: id, brandId: brand, sequence: sequence, kind: kind, text: try text(body), saleId: sale,
            sentAt: sentAt)
    }

    /// What `insert` wrote: always an object of texts.
    private static func text(_ body: String) throws -> LocalizedText {
        let texts = try JSONParser.parse(body.utf8) { (json) throws(JSONError) in
            try json.members(countMax: LocalizedText.localesMax) { (tag, text) throws(JSONError) in
                guard let text = text.stringValue else { throw JSONError(path: "", expected: "a string") }
                return (tag, text)
            }
        }
        guard let text = LocalizedText(Dictionary(texts, uniquingKeysWith: { first, _ in first })) else {
            throw JSONError(path: "", expected: "a text by language")
        }
        return text
    }

    /// Locks the brands' counters, making those that do not exist.
    static func lockCounters(_ brands: Set<BrandID>) -> SQL {
        """
        INSERT INTO post_counters AS c (brand_id, last_sequence)
        SELECT brand_id, 0 FROM unnest(\(brands.sorted())) AS brand_id
        ON CONFLICT (brand_id) DO UPDATE SET last_sequence = c.last_sequence
        """
    }

    static let numberRow = Columns("message_id", "sequence") { (id: MessageID, sequence: Int64) in (id, sequence) }

    /// Gives each post the next number of its brand, in the order given; leaves out what is stored already.
    static func insert(_ posts: [NewPost]) -> SQL {
        let bodies = posts.map { String(decoding: JSONWriter.document($0.text), as: UTF8.self) }
        return """
            WITH input AS (
                SELECT n.*,
                    count(*) OVER (PARTITION BY n.brand_id) AS added,
                    row_number() OVER (PARTITION BY n.brand_id ORDER BY n.ordinal) AS place
                FROM unnest(\(posts.map(\.messageId)), \(posts.map(\.brandId)), \(posts.map(\.kind)), \(bodies),
                        \(posts.map(\.saleId)), \(posts.map { $0.isNotification ? $0.messageId : nil }),
                        \(posts.map(\.sentAt)))
                    WITH ORDINALITY AS n(message_id, brand_id, kind, body, sale_id, notification_id, sent_at, ordinal)
                WHERE NOT EXISTS (SELECT FROM posts p WHERE p.message_id = n.message_id OFFSET 0)
            ), touched AS (
                INSERT INTO post_counters AS c (brand_id, last_sequence)
                SELECT brand_id, added FROM input WHERE place = 1
                ON CONFLICT (brand_id) DO UPDATE SET last_sequence = c.last_sequence + excluded.last_sequence
                RETURNING brand_id, last_sequence
            )
            INSERT INTO posts (brand_id, sequence, message_id, kind, body, sale_id, notification_id, sent_at)
            SELECT i.brand_id, t.last_sequence - i.added + i.place, i.message_id, i.kind, i.body, i.sale_id,
                i.notification_id, i.sent_at
            FROM input i JOIN touched t USING (brand_id)
            RETURNING \(numberRow)
            """
    }

    /// Those of the posts that are stored.
    static func find(_ ids: [MessageID]) -> SQL { "SELECT \(postRow) FROM posts WHERE message_id = ANY(\(ids))" }

    /// Posts after a sequence number, in their order.
    static func list(of brand: BrandID, after: Int64, countMax: Int) -> SQL {
        """
        SELECT \(postRow) FROM posts
        WHERE brand_id = \(brand) AND sequence > \(after) ORDER BY sequence LIMIT \(countMax)
        """
    }

    /// Those of the readers whom a post concerns: they follow its brand, or have an order in its sale.
    static func audience(of brand: BrandID, sale: SaleID?, among readers: [AccountID]) -> SQL {
        """
        SELECT r.account_id FROM unnest(\(readers)) AS r(account_id)
        -- OFFSET: looked up for each reader, and not all followers and orders read at once.
        WHERE EXISTS (SELECT FROM follows f WHERE f.account_id = r.account_id AND f.brand_id = \(brand) OFFSET 0)
            OR EXISTS (SELECT FROM orders o WHERE o.buyer_id = r.account_id AND o.sale_id = \(optional: sale) OFFSET 0)
        """
    }
}
