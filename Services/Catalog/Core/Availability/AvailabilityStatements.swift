// What reservation says of the lines of sales.
import Models
import Postgres

enum AvailabilityStatements {
    /// Notes what is new of lines, one of each. What is numbered counts if it is newer than what was heard; what is not,
    /// if it was said after supply rose last.
    static func hear(_ news: [LineNews]) -> SQL {
        // In one order whoever asks: a batch locks many lines, a brand that raises supply as well.
        let news = news.sorted {
            ($0.saleId, $0.key.batch, $0.key.variant) < ($1.saleId, $1.key.batch, $1.key.variant)
        }
        return """
            INSERT INTO line_states AS state (sale_id, batch, variant, sold_out_at, revision)
            SELECT * FROM unnest(\(news.map(\.saleId)), \(news.map { Int32($0.key.batch) }), \(news.map(\.key.variant)),
                \(news.map(\.soldOutAt)), \(news.map { Int32($0.revision ?? 0) }))
            ON CONFLICT (sale_id, batch, variant) DO UPDATE SET
                sold_out_at = excluded.sold_out_at, revision = greatest(state.revision, excluded.revision)
            WHERE CASE WHEN excluded.revision > 0 THEN excluded.revision > state.revision
                ELSE state.raised_at IS NULL OR excluded.sold_out_at > state.raised_at END
            """
    }

    /// What had sold out is to be had again, until reservation says what became of the supply.
    static func raise(_ lines: [(batch: Int, variant: String)], of sale: SaleID, at now: Timestamp) -> SQL {
        """
        INSERT INTO line_states (sale_id, batch, variant, raised_at)
        SELECT \(sale), batch, variant, \(now)
        FROM unnest(\(lines.map { Int32($0.batch) }), \(lines.map(\.variant))) AS raised (batch, variant)
        ON CONFLICT (sale_id, batch, variant) DO UPDATE SET sold_out_at = NULL, raised_at = excluded.raised_at
        """
    }

    static let soldOutRow = Columns("sale_id", "batch", "variant", "sold_out_at") {
        (sale: SaleID, batch: Int32, variant: String, time: Timestamp) in
        (sale: sale, key: LineKey(batch: Int(batch), variant: variant), time: time)
    }

    static func soldOut(of sales: [SaleID]) -> SQL {
        "SELECT \(soldOutRow) FROM line_states WHERE sale_id = ANY(\(sales)) AND sold_out_at IS NOT NULL"
    }
}
