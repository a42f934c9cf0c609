// Stocks: locked with their leases, given back by orders that end, passed on to who waits, found when there is something to
// do for them.
import Models
import Postgres

enum StockStatements {
    /// Orders of a stock that are promoted, or whose waiting is ended, in one transaction.
    static let changedMax: Int64 = 5000
    /// An order that came before the end may be decided this much later.
    private static let lateSeconds: Int64 = 86_400

    static let keyRow = Columns("sale_id", "batch", "variant") { (sale: SaleID, batch: Int32, variant: String) in
        StockKey(saleId: sale, batch: Int(batch), variant: variant)
    }

    // MARK: A stock with its leases

    /// A stock that closes never has no time.
    static let poolRow = Columns(
        "s.sale_id", "s.batch", "s.variant", "s.pool", "s.places", "nullif(s.closes_at, 'infinity')"
    ) {
        (sale: SaleID, batch: Int32, variant: String, units: Int64, places: Int64, closesAt: Timestamp?) in
        (
            key: StockKey(saleId: sale, batch: Int(batch), variant: variant), units: units, places: places,
            closesAt: closesAt
        )
    }

    static let leaseRow = Columns("l.sale_id", "l.batch", "l.variant", "l.log_partition", "l.units", "l.places") {
        (sale: SaleID, batch: Int32, variant: String, partition: Int32, units: Int64, places: Int64) in
        (
            key: StockKey(saleId: sale, batch: Int(batch), variant: variant),
            lease: Lease(partition: partition, units: units, places: places)
        )
    }

    /// Locks the pools first, then their leases by partition, and finds those that somebody waits for: `poolRow`, `leaseRow`,
    /// `keyRow`. Whoever decides locks its own leases alone and never waits for a pool while it holds them, so the order
    /// cannot turn.
    static func lock(_ keys: [StockKey]) -> [SQL] {
        [
            """
            SELECT \(poolRow) FROM stock s
            JOIN unnest(\(keys.map(\.saleId)), \(keys.map { Int32($0.batch) }), \(keys.map(\.variant)))
                AS k(sale_id, batch, variant) USING (sale_id, batch, variant)
            WHERE s.sale_id = ANY(\(keys.map(\.saleId)))
            ORDER BY s.sale_id, s.batch, s.variant FOR UPDATE OF s
            """,
            """
            SELECT \(leaseRow) FROM leases l
            JOIN unnest(\(keys.map(\.saleId)), \(keys.map { Int32($0.batch) }), \(keys.map(\.variant)))
                AS k(sale_id, batch, variant) USING (sale_id, batch, variant)
            WHERE l.sale_id = ANY(\(keys.map(\.saleId)))
            ORDER BY l.sale_id, l.batch, l.variant, l.log_partition FOR UPDATE OF l
            """,
            """
            SELECT \(keyRow.of("k"))
            FROM unnest(\(keys.map(\.saleId)), \(keys.map { Int32($0.batch) }), \(keys.map(\.variant)))
                AS k(sale_id, batch, variant)
            WHERE EXISTS (SELECT FROM orders o
                WHERE (o.sale_id, o.batch, o.variant) = (k.sale_id, k.batch, k.variant)
                    AND o.state = \(literal: OrderState.waitlisted) OFFSET 0)
            """,
        ]
    }

    /// Writes what is different now.
    static func save(_ changes: [StockChange]) -> [SQL] {
        let leases = changes.flatMap { change in change.changedLeases.map { (key: change.key, lease: $0) } }
        let keys = changes.map(\.key)
        return [
            """
            UPDATE stock s SET pool = k.pool, places = k.places
            FROM unnest(\(keys.map(\.saleId)), \(keys.map { Int32($0.batch) }), \(keys.map(\.variant)),
                \(changes.map(\.after.pool)), \(changes.map(\.after.places)))
                AS k(sale_id, batch, variant, pool, places)
            WHERE (s.sale_id, s.batch, s.variant) = (k.sale_id, k.batch, k.variant)
                -- To be found by the sales, whichever way it is joined.
                AND s.sale_id = ANY(\(keys.map(\.saleId)))
            """,
            """
            INSERT INTO leases (sale_id, batch, variant, log_partition, units, places)
            SELECT * FROM unnest(\(leases.map(\.key.saleId)), \(leases.map { Int32($0.key.batch) }),
                \(leases.map(\.key.variant)), \(leases.map(\.lease.partition)), \(leases.map(\.lease.units)),
                \(leases.map(\.lease.places)))
            ON CONFLICT (sale_id, batch, variant, log_partition) DO UPDATE SET
                units = excluded.units, places = excluded.places
            """,
        ]
    }

    /// Locks stocks without their leases, in one order whoever asks. The sales stand there once more: to be found by those,
    /// whichever way it is joined.
    static func lockPools(of keys: [StockKey]) -> SQL {
        """
        SELECT s.sale_id FROM stock s
        JOIN unnest(\(keys.map(\.saleId)), \(keys.map { Int32($0.batch) }), \(keys.map(\.variant)))
            AS k(sale_id, batch, variant) USING (sale_id, batch, variant)
        WHERE s.sale_id = ANY(\(keys.map(\.saleId)))
        ORDER BY s.sale_id, s.batch, s.variant FOR UPDATE OF s
        """
    }

    /// Puts what orders have let go back into the stocks: units into the pool, places on the waitlist, of which there
    /// are never more than the sale allows.
    static func giveBack(units: [StockKey: Int64], places: [StockKey: Int64]) -> [SQL] {
        let keys = Set(units.keys).union(places.keys).sorted {
            ($0.saleId, $0.batch, $0.variant) < ($1.saleId, $1.batch, $1.variant)
        }
        return [
            lockPools(of: keys),
            """
            UPDATE stock s SET pool = s.pool + k.units,
                places = greatest(s.places, least(s.places + k.places, s.places_max)),
                returned = s.returned OR (k.units > 0 AND s.sold_out_at IS NOT NULL)
            FROM unnest(\(keys.map(\.saleId)), \(keys.map { Int32($0.batch) }), \(keys.map(\.variant)),
                \(keys.map { units[$0] ?? 0 }), \(keys.map { places[$0] ?? 0 }))
                AS k(sale_id, batch, variant, units, places)
            WHERE (s.sale_id, s.batch, s.variant) = (k.sale_id, k.batch, k.variant)
                AND s.sale_id = ANY(\(keys.map(\.saleId)))
            """,
        ]
    }

    // MARK: The waitlist

    /// Gives up to `units` to the orders that have waited longest: `SettlementStatements.changedRow` of each. The caller
    /// holds the stock locked, and takes the units out of it.
    ///
    /// Decisions leave by the outbox stream of their partition, in which a row begins at the batch's first offset and
    /// is gone when all of it is acknowledged; what is said here leaves by another. An order whose decision may not
    /// have left is passed over and keeps its claim: it is looked at again. The order and the row were committed
    /// together, so one statement sees both or neither.
    /// - Parameter partition: has sent all that it owes.
    static func promote(_ key: StockKey, units: Int64, at now: Timestamp, sent partition: Int32?) -> SQL {
        """
        WITH chosen AS (
            SELECT order_id FROM orders
            WHERE sale_id = \(key.saleId) AND batch = \(Int32(key.batch)) AND variant = \(key.variant)
                AND state = \(literal: OrderState.waitlisted)
            ORDER BY ordered_at, log_partition, log_offset
            LIMIT \(min(units, changedMax)) FOR UPDATE SKIP LOCKED
        ), promoted AS (
            UPDATE orders o SET state = \(literal: OrderState.reserved), revision = o.revision + 1,
                hold_until = \(now)::timestamptz + make_interval(secs => s.hold_seconds)
            FROM stock s
            WHERE o.order_id = ANY(ARRAY(SELECT order_id FROM chosen))
                AND s.sale_id = \(key.saleId) AND s.batch = \(Int32(key.batch)) AND s.variant = \(key.variant)
                AND (o.log_partition = \(partition ?? -1) OR NOT EXISTS (SELECT FROM outbox b
                    WHERE b.stream = \(DecisionStatements.streams)::text || o.log_partition
                        AND b.sequence <= o.log_offset OFFSET 0))
            RETURNING \(SettlementStatements.changedRow), o.ordered_at, o.log_partition, o.log_offset
        )
        SELECT * FROM promoted ORDER BY ordered_at, log_partition, log_offset
        """
    }

    /// How many wait, counted up to `countMax`.
    static func waiting(_ key: StockKey, countMax: Int64) -> SQL {
        """
        SELECT count(*) FROM (SELECT FROM orders
            WHERE sale_id = \(key.saleId) AND batch = \(Int32(key.batch)) AND variant = \(key.variant)
                AND state = \(literal: OrderState.waitlisted)
            LIMIT \(countMax)) waiting
        """
    }

    // MARK: Sold out

    static let soldOutRow = Columns("brand_id", "sold_out_count", "supply") {
        (brand: BrandID, number: Int32, units: Int64) in (brand: brand, number: number, units: units)
    }

    /// Marks a locked stock as sold out if it was not yet and nothing is free anywhere.
    static func markSoldOut(_ key: StockKey, at now: Timestamp) -> SQL {
        """
        UPDATE stock s SET sold_out_at = \(now), sold_out_count = sold_out_count + 1
        WHERE sale_id = \(key.saleId) AND batch = \(Int32(key.batch)) AND variant = \(key.variant)
            -- So written that the planner does not take all that is selling for a way to find it.
            AND num_nonnulls(sold_out_at) = 0 AND supply > 0 AND pool = 0
            AND NOT EXISTS (SELECT FROM leases l WHERE (l.sale_id, l.batch, l.variant) = (s.sale_id, s.batch, s.variant)
                AND l.units > 0 OFFSET 0)
        RETURNING \(soldOutRow)
        """
    }

    static let availableRow = Columns("brand_id", "sold_out_count") { (brand: BrandID, number: Int32) in
        (brand: brand, number: number)
    }

    /// Marks a locked stock as not sold out if it was and something is free. What comes back after the end is not to be
    /// had.
    static func markAvailable(_ key: StockKey, at now: Timestamp) -> SQL {
        """
        UPDATE stock s SET sold_out_at = NULL
        WHERE sale_id = \(key.saleId) AND batch = \(Int32(key.batch)) AND variant = \(key.variant)
            AND sold_out_at IS NOT NULL AND closes_at > \(now)
            AND (pool > 0 OR EXISTS (SELECT FROM leases l
                WHERE (l.sale_id, l.batch, l.variant) = (s.sale_id, s.batch, s.variant) AND l.units > 0 OFFSET 0))
        RETURNING \(availableRow)
        """
    }

    /// What came back was looked at.
    static func forgetReturned(_ key: StockKey) -> SQL {
        """
        UPDATE stock SET returned = false
        WHERE sale_id = \(key.saleId) AND batch = \(Int32(key.batch)) AND variant = \(key.variant) AND returned
        """
    }

    // MARK: What there is to do

    /// Stocks that the keeper has something to do for: somebody waits while units are free or after the end, the last unit
    /// is gone and that was not said, or something came back. Costs what is open: the first looks at the first waiting
    /// order of each stock, the second at what has not ended and not sold out, the third at what was noted.
    static func unattended(at now: Timestamp) -> SQL {
        """
        WITH RECURSIVE waiting AS (
            -- Reads more: what it looks for is rare; it costs the stocks that somebody waits for, and their leases.
            (SELECT \(keyRow) FROM orders WHERE state = \(literal: OrderState.waitlisted)
                ORDER BY sale_id, batch, variant LIMIT 1)
            UNION ALL
            SELECT n.* FROM waiting w CROSS JOIN LATERAL (
                SELECT \(keyRow.of("o")) FROM orders o
                WHERE o.state = \(literal: OrderState.waitlisted)
                    AND (o.sale_id, o.batch, o.variant) > (w.sale_id, w.batch, w.variant)
                ORDER BY o.sale_id, o.batch, o.variant LIMIT 1) n
        )
        SELECT found.* FROM waiting w CROSS JOIN LATERAL (
            SELECT \(keyRow.of("s")) FROM stock s
            WHERE (s.sale_id, s.batch, s.variant) = (w.sale_id, w.batch, w.variant)
                AND (s.closes_at <= \(now) OR s.pool > 0 OR EXISTS (SELECT FROM leases l
                    WHERE (l.sale_id, l.batch, l.variant) = (s.sale_id, s.batch, s.variant) AND l.units > 0 OFFSET 0))
            -- One by its key: a join could as well read all that ever was.
            LIMIT 1) found
        UNION
        SELECT \(keyRow.of("s")) FROM stock s
        WHERE s.sold_out_at IS NULL AND s.closes_at > \(now.adding(seconds: -lateSeconds))
            AND s.pool = 0 AND s.supply > 0 AND NOT EXISTS (SELECT FROM leases l
                WHERE (l.sale_id, l.batch, l.variant) = (s.sale_id, s.batch, s.variant) AND l.units > 0 OFFSET 0)
        UNION
        SELECT \(keyRow) FROM stock WHERE returned
        """
    }

    /// Stocks that are marked as sold out and have something: a version that did not note what came back ran meanwhile.
    static func returnedUnnoted(at now: Timestamp) -> SQL {
        """
        SELECT \(keyRow.of("s")) FROM stock s
        -- Reads more: all that is sold out, once at the start.
        WHERE s.sold_out_at IS NOT NULL AND s.closes_at > \(now) AND (s.pool > 0 OR EXISTS (SELECT FROM leases l
            WHERE (l.sale_id, l.batch, l.variant) = (s.sale_id, s.batch, s.variant) AND l.units > 0))
        """
    }
}
