// The statements on what reservation says of a sale's lines.
import Models
import Postgres

enum LineStatements {
    /// Notes what sold out. What was said before supply rose last no longer holds.
    static func soldOut(_ events: [SaleSoldOut]) -> SQL {
        """
        INSERT INTO line_states AS state (sale_id, batch, variant, sold_out_at)
        SELECT DISTINCT ON (sale_id, batch, variant) sale_id, batch, variant, sold_out_at
        FROM unnest(\(events.map(\.saleId)), \(events.map { Int32($0.batch) }), \(events.map(\.variant)),
            \(events.map(\.soldOutAt))) AS said (sale_id, batch, variant, sold_out_at)
        ORDER BY sale_id, batch, variant, sold_out_at DESC
        ON CONFLICT (sale_id, batch, variant) DO UPDATE SET sold_out_at = excluded.sold_out_at
        WHERE state.raised_at IS NULL OR excluded.sold_out_at > state.raised_at
        """
    }

    /// What had sold out is to be had again.
    static func raise(_ lines: [(batch: Int, variant: String)], of sale: SaleID, at now: Timestamp) -> SQL {
        """
        INSERT INTO line_states (sale_id, batch, variant, raised_at)
        SELECT \(sale), batch, variant, \(now)
        FROM unnest(\(lines.map { Int32($0.batch) }), \(lines.map(\.variant))) AS raised (batch, variant)
        ON CONFLICT (sale_id, batch, variant) DO UPDATE SET sold_out_at = NULL, raised_at = excluded.raised_at
        """
    }

    static func soldOut(of sales: [SaleID]) -> SQL {
        """
        SELECT sale_id, batch, variant, sold_out_at FROM line_states
        WHERE sale_id = ANY(\(sales)) AND sold_out_at IS NOT NULL
        """
    }

    static func soldOutLine(_ row: Row) throws(PostgresError) -> (SaleID, LineKey, Timestamp) {
        (
            try row.get(0), LineKey(batch: Int(try row.get(1, as: Int32.self)), variant: try row.get(2)),
            try row.get(3)
        )
    }
}
