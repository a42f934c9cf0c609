// How much is where: in the stocks, in leases, with orders.
import Models
import Postgres

/// What of one stock is told as metrics.
struct StockLevel: Sendable {
    let labels: [String: String]
    let supply: Int64
    let pool: Int64
    let leased: Int64
    let places: Int64
}

enum StockLevelStatements {
    /// The newest stocks: labels have a bound.
    private static let stocksMax: Int32 = 100

    static let levelRow = Columns(
        "s.sale_id", "s.batch", "s.variant", "s.supply", "s.pool", "coalesce(l.units, 0)",
        "s.places + coalesce(l.places, 0)"
    ) {
        (
            sale: SaleID, batch: Int32, variant: String, supply: Int64, pool: Int64, leased: Int64, places: Int64
        ) in
        StockLevel(
            labels: ["sale": "\(sale)", "batch": "\(batch)", "variant": variant], supply: supply, pool: pool,
            leased: leased, places: places)
    }

    /// Stocks that are open, and those that sold out or closed since that time.
    static func newest(endedAfter since: Timestamp) -> SQL {
        """
        SELECT \(levelRow)
        FROM (
            SELECT * FROM stock WHERE sold_out_at IS NULL AND closes_at > \(since)
            UNION ALL
            SELECT * FROM stock WHERE sold_out_at > \(since)
            ORDER BY sale_id DESC, batch, variant LIMIT \(stocksMax)
        ) s
        LEFT JOIN LATERAL (SELECT sum(units)::bigint AS units, sum(places)::bigint AS places FROM leases
            WHERE (sale_id, batch, variant) = (s.sale_id, s.batch, s.variant)) l ON true
        ORDER BY s.sale_id, s.batch, s.variant
        """
    }

    static let countRow = Columns(
        "s.batch", "s.variant", "s.supply", "s.pool + coalesce(l.units, 0)::bigint", "coalesce(o.reserved, 0)",
        "coalesce(o.sold, 0)", "coalesce(o.waiting, 0)", "s.sold_out_at"
    ) {
        (
            batch: Int32, variant: String, supply: Int64, free: Int64, reserved: Int64, sold: Int64, waiting: Int64,
            soldOutAt: Timestamp?
        ) in
        StockCount(
            batch: Int(batch), variant: variant, supply: supply, free: free, reserved: reserved, sold: sold,
            waiting: waiting, soldOutAt: soldOutAt)
    }

    /// One line a stock of the sale, by batch and variant.
    static func counts(of sale: SaleID) -> SQL {
        """
        SELECT \(countRow)
        FROM stock s
        LEFT JOIN (SELECT batch, variant, sum(units)::bigint AS units FROM leases WHERE sale_id = \(sale)
            GROUP BY batch, variant) l USING (batch, variant)
        LEFT JOIN (SELECT batch, variant, count(*) FILTER (WHERE state = \(literal: OrderState.reserved)) AS reserved,
                count(*) FILTER (WHERE state = \(literal: OrderState.confirmed)) AS sold,
                count(*) FILTER (WHERE state = \(literal: OrderState.waitlisted)) AS waiting
            FROM orders WHERE sale_id = \(sale) AND state < \(literal: OrderState.released)
            GROUP BY batch, variant) o USING (batch, variant)
        WHERE s.sale_id = \(sale) ORDER BY s.batch, s.variant
        """
    }
}
