// Brands, who follows them, and what they post.
import JSON
import Models
import Postgres

/// A post before it has a number.
struct NewPost: Sendable, Equatable {
    let messageID: MessageID
    let brandID: BrandID
    let kind: MessageSent.Kind
    let text: LocalizedText
    let saleID: SaleID?
    let isNotification: Bool
    let sentAt: Timestamp

    func stored(at sequence: Int64) -> BrandPosted {
        BrandPosted(
            messageId: messageID, brandId: brandID, sequence: sequence, kind: kind, text: text, saleId: saleID,
            sentAt: sentAt)
    }
}

struct BrandStorage: Sendable {
    let postgres: PostgresPool

    struct Listed: Sendable {
        let account: Account
        let isFollowed: Bool
    }

    /// Brands by ID, so by the time they joined, each with whether the reader follows it.
    func brands(for reader: AccountID, after: BrandID?, limit: Int) async throws(PostgresError) -> [Listed] {
        let after = after ?? BrandID(high: 0, low: 0)
        return try await postgres.query(
            """
            SELECT b.account_id, b.kind, b.handle, b.display_name, b.locale, b.created_at,
                EXISTS (SELECT FROM follows f WHERE f.account_id = \(reader) AND f.brand_id = b.account_id)
            FROM accounts b WHERE b.kind = 'brand' AND b.account_id > \(after)
            ORDER BY b.account_id LIMIT \(limit)
            """
        ).mapped { (row) throws(PostgresError) in
            Listed(account: try AccountStorage.account(row), isFollowed: try row.get(6))
        }
    }

    func isBrand(_ id: BrandID) async throws(PostgresError) -> Bool {
        try await !postgres.query("SELECT 1 FROM accounts WHERE account_id = \(id) AND kind = 'brand'").isEmpty
    }

    func follow(_ brand: BrandID, by account: AccountID, at now: Timestamp) async throws(PostgresError) {
        _ = try await postgres.execute(
            """
            INSERT INTO follows (account_id, brand_id, followed_at) VALUES (\(account), \(brand), \(now))
            ON CONFLICT DO NOTHING
            """)
    }

    func unfollow(_ brand: BrandID, by account: AccountID) async throws(PostgresError) {
        _ = try await postgres.execute("DELETE FROM follows WHERE account_id = \(account) AND brand_id = \(brand)")
    }

    /// Gives each post the next number of its brand, in the order given; leaves out what is stored already. Who holds the
    /// brand's counter looks what that is, so that the same post stored twice at a time is one.
    static func store(_ posts: [NewPost], in transaction: Transaction) async throws(PostgresError) -> [MessageID: Int64]
    {
        if posts.isEmpty { return [:] }
        let ids = posts.map(\.messageID)
        let brands = posts.map(\.brandID)
        let kinds = posts.map(\.kind.rawValue)
        let bodies = posts.map { String(decoding: JSONWriter.document($0.text), as: UTF8.self) }
        let sales = posts.map(\.saleID)
        let notifications = posts.map { $0.isNotification ? $0.messageID : nil }
        let times = posts.map(\.sentAt)
        let counters = Array(Set(brands)).sorted()
        let rows = try await transaction.pipeline([
            """
            INSERT INTO post_counters AS c (brand_id, last_sequence)
            SELECT brand_id, 0 FROM unnest(\(counters)) AS brand_id
            ON CONFLICT (brand_id) DO UPDATE SET last_sequence = c.last_sequence
            """,
            """
            WITH input AS (
                SELECT n.*,
                    count(*) OVER (PARTITION BY n.brand_id) AS added,
                    row_number() OVER (PARTITION BY n.brand_id ORDER BY n.ordinal) AS place
                FROM unnest(\(ids), \(brands), \(kinds), \(bodies), \(sales), \(notifications), \(times))
                    WITH ORDINALITY AS n(message_id, brand_id, kind, body, sale_id, notification_id, sent_at, ordinal)
                WHERE NOT EXISTS (SELECT FROM posts p WHERE p.message_id = n.message_id)
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
            RETURNING message_id, sequence
            """,
        ])[1]
        var sequences: [MessageID: Int64] = [:]
        for row in rows { sequences[try row.get(0)] = try row.get(1) }
        return sequences
    }

    static func find(_ ids: [MessageID]) -> SQL {
        """
        SELECT message_id, brand_id, sequence, kind, body, sale_id, sent_at FROM posts WHERE message_id = ANY(\(ids))
        """
    }

    static func stored(_ id: MessageID, in transaction: Transaction) async throws(PostgresError) -> BrandPosted? {
        try await transaction.query(find([id])).first.map(post)
    }

    func posts(of brand: BrandID, after: Int64, limit: Int) async throws(PostgresError) -> [BrandPosted] {
        try await postgres.query(
            """
            SELECT message_id, brand_id, sequence, kind, body, sale_id, sent_at FROM posts
            WHERE brand_id = \(brand) AND sequence > \(after) ORDER BY sequence LIMIT \(limit)
            """
        ).mapped(Self.post)
    }

    /// Those of the readers whom a post concerns: they follow its brand, or have an order in its sale.
    func audience(
        of brand: BrandID, sale: SaleID?, among readers: [AccountID]
    ) async throws(PostgresError) -> [AccountID] {
        try await postgres.query(
            """
            SELECT r.account_id FROM unnest(\(readers)) AS r(account_id)
            WHERE EXISTS (SELECT FROM follows f WHERE f.account_id = r.account_id AND f.brand_id = \(brand))
                OR EXISTS (SELECT FROM orders o WHERE o.buyer_id = r.account_id AND o.sale_id = \(optional: sale))
            """
        ).column(0)
    }

    static func post(_ row: Row) throws(PostgresError) -> BrandPosted { try post(row, from: 0) }

    static func post(_ row: Row, from first: Int) throws(PostgresError) -> BrandPosted {
        let body: String = try row.get(first + 4)
        return BrandPosted(
            messageId: try row.get(first), brandId: try row.get(first + 1), sequence: try row.get(first + 2),
            kind: try row.choice(first + 3), text: try text(body), saleId: try row.get(first + 5),
            sentAt: try row.get(first + 6))
    }

    /// What `store` wrote: always an object of texts.
    private static func text(_ body: String) throws(PostgresError) -> LocalizedText {
        let texts = try? JSONParser.parse(body.utf8) { (json) throws(JSONError) in
            try json.members(countMax: LocalizedText.localesMax) { (tag, text) throws(JSONError) in
                guard let text = text.stringValue else { throw JSONError(path: "", expected: "a string") }
                return (tag, text)
            }
        }
        guard let texts, let text = LocalizedText(Dictionary(texts, uniquingKeysWith: { first, _ in first })) else {
            throw PostgresError(sqlState: "22P02", message: "the body of a post is no text by language")
        }
        return text
    }
}
