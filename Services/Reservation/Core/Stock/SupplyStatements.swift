// Supply: what sales say of their stocks, taken over.
import Models
import Postgres

enum SupplyStatements {
    static let supplyRow = Columns(
        "batch", "variant", "supply", "sold_out_at IS NOT NULL", "revision", "sold_out_count"
    ) {
        (batch: Int32, variant: String, supply: Int64, isSoldOut: Bool, revision: Int64, soldOutCount: Int32) in
        (
            batch: Int(batch), variant: variant, supply: supply, isSoldOut: isSoldOut, revision: revision,
            soldOutCount: soldOutCount
        )
    }

    /// The stocks of a sale as they were before, locked.
    static func lock(_ sale: SaleID) -> SQL {
        """
        SELECT \(supplyRow) FROM stock
        WHERE sale_id = \(sale) ORDER BY sale_id, batch, variant FOR UPDATE
        """
    }

    /// Takes a sale's supply over: new stocks get all of it, known ones what was added since. A revision that was taken
    /// over before changes nothing but the end of a batch, for a sale that was withdrawn may be published again as it was.
    /// A supply that shrank takes what is left in the pool, no more, and so does a waitlist.
    static func takeOver(_ sale: Sale) -> SQL {
        var batches: [Int32] = []
        var variants: [String] = []
        var units: [Int64] = []
        var prices: [Int64] = []
        var currencies: [Currency] = []
        var ends: [Timestamp?] = []
        for batch in sale.batches {
            for line in batch.lines {
                batches.append(Int32(batch.number))
                variants.append(line.variant)
                units.append(line.units)
                prices.append(line.price.amount)
                currencies.append(line.price.currency)
                ends.append(batch.closesAt)
            }
        }
        return """
            INSERT INTO stock AS s (sale_id, batch, variant, brand_id, price, currency, hold_seconds, revision, supply,
                pool, places, places_max, closes_at)
            SELECT \(sale.saleId), k.batch, k.variant, \(sale.brandId), k.price, k.currency, \(sale.holdSeconds),
                \(sale.revision), k.units, k.units, \(sale.waitlistMax), \(sale.waitlistMax),
                coalesce(k.closes_at, 'infinity')
            FROM unnest(\(batches), \(variants), \(units), \(prices), \(currencies), \(ends))
                AS k(batch, variant, units, price, currency, closes_at)
            ORDER BY k.batch, k.variant
            ON CONFLICT (sale_id, batch, variant) DO UPDATE SET
                brand_id = excluded.brand_id, price = excluded.price, currency = excluded.currency,
                hold_seconds = excluded.hold_seconds, revision = excluded.revision,
                supply = s.supply + greatest(excluded.supply - s.supply, -s.pool),
                pool = s.pool + greatest(excluded.supply - s.supply, -s.pool),
                places = greatest(s.places + excluded.places_max - s.places_max, 0),
                places_max = excluded.places_max, closes_at = excluded.closes_at,
                sold_out_at = CASE WHEN excluded.supply > s.supply THEN NULL ELSE s.sold_out_at END,
                returned = excluded.supply <= s.supply AND s.sold_out_at IS NOT NULL
            WHERE s.revision < excluded.revision
                OR (s.revision = excluded.revision AND s.closes_at <> excluded.closes_at)
            """
    }

    /// Ends the batches of a sale that have not ended.
    static func close(_ sale: SaleID, at now: Timestamp) -> [SQL] {
        [
            "SELECT batch FROM stock WHERE sale_id = \(sale) ORDER BY sale_id, batch, variant FOR UPDATE",
            "UPDATE stock SET closes_at = \(now) WHERE sale_id = \(sale) AND closes_at > \(now)",
        ]
    }
}
