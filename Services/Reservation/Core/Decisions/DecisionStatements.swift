// What a decision reads and writes, in the transaction of its batch.
import EventPipeline
import Models
import Postgres

enum DecisionStatements {
    /// The outbox streams of the decisions, without the partition.
    static let streams = "orders/\(Topic.orders.name)/"

    // MARK: Before the decision

    static let namedRow = Columns("order_id", "buyer_id", "sale_id", "batch", "variant", "state", "publisher") {
        (
            id: OrderID, buyer: AccountID, sale: SaleID, batch: Int32, variant: String, state: OrderState,
            publisher: PublisherName?
        ) in
        (
            id: id, state: state,
            order: LiveOrder(
                buyer: SaleBuyer(saleId: sale, buyerId: buyer),
                key: StockKey(saleId: sale, batch: Int(batch), variant: variant), hasUnit: state.hasUnit,
                publisher: publisher)
        )
    }

    /// Locks those of the orders that cancellations name and that have a row.
    static func lockNamed(_ orders: [OrderID]) -> SQL {
        "SELECT \(namedRow) FROM orders WHERE order_id = ANY(\(orders)) ORDER BY order_id FOR UPDATE"
    }

    /// Locks the partition's leases of the stocks, in one order whoever asks. The sales stand there once more: to be found
    /// by those, whichever way it is joined.
    static func lockLeases(of keys: [StockKey], partition: Int32) -> SQL {
        """
        SELECT l.sale_id FROM leases l
        JOIN unnest(\(keys.map(\.saleId)), \(keys.map { Int32($0.batch) }), \(keys.map(\.variant)))
            AS k(sale_id, batch, variant) USING (sale_id, batch, variant)
        WHERE l.sale_id = ANY(\(keys.map(\.saleId))) AND l.log_partition = \(partition)
        ORDER BY l.sale_id, l.batch, l.variant FOR UPDATE OF l
        """
    }

    static let stockRow = Columns(
        "s.sale_id", "s.batch", "s.variant", "s.revision", "s.pool", "s.places", "l.units", "l.places",
        "l.units_elsewhere", "l.places_elsewhere"
    ) {
        (
            sale: SaleID, batch: Int32, variant: String, revision: Int64, pool: Int64, free: Int64, units: Int64,
            places: Int64, unitsElsewhere: Int64, placesElsewhere: Int64
        ) in
        (
            key: StockKey(saleId: sale, batch: Int(batch), variant: variant),
            stock: Situation.Stock(
                view: StockView(
                    units: units, places: places, unitsElsewhere: pool + unitsElsewhere,
                    placesElsewhere: free + placesElsewhere),
                revision: revision)
        )
    }

    static func stocks(_ keys: [StockKey], partition: Int32) -> SQL {
        """
        SELECT \(stockRow)
        FROM unnest(\(keys.map(\.saleId)), \(keys.map { Int32($0.batch) }), \(keys.map(\.variant)))
            AS k(sale_id, batch, variant)
        -- OFFSET: looked up for each key, also where the planner knew the table when it was empty.
        CROSS JOIN LATERAL (
            SELECT * FROM stock WHERE (sale_id, batch, variant) = (k.sale_id, k.batch, k.variant) OFFSET 0) s
        CROSS JOIN LATERAL (
            SELECT coalesce(sum(units) FILTER (WHERE log_partition = \(partition)), 0)::bigint AS units,
                coalesce(sum(places) FILTER (WHERE log_partition = \(partition)), 0)::bigint AS places,
                coalesce(sum(units) FILTER (WHERE log_partition <> \(partition)), 0)::bigint AS units_elsewhere,
                coalesce(sum(places) FILTER (WHERE log_partition <> \(partition)), 0)::bigint AS places_elsewhere
            FROM leases WHERE (sale_id, batch, variant) = (s.sale_id, s.batch, s.variant)
        ) l
        """
    }

    /// Those of the orders that have a row.
    static func decided(_ orders: [OrderID]) -> SQL {
        "SELECT order_id FROM orders WHERE order_id = ANY(\(orders))"
    }

    static let termsRow = Columns(
        "s.sale_id", "s.batch", "s.variant", "s.brand_id", "s.price", "s.currency", "s.hold_seconds"
    ) {
        (
            sale: SaleID, batch: Int32, variant: String, brand: BrandID, price: Int64, currency: Currency,
            holdSeconds: Int64
        ) in
        (
            key: StockKey(saleId: sale, batch: Int(batch), variant: variant),
            terms: Terms(
                brandId: brand, price: Money(price, currency), holdSeconds: holdSeconds, opensAt: .distantPast,
                closesAt: .distantPast)
        )
    }

    /// The terms of stocks whose sales are not published any more, as they were taken over last.
    static func formerTerms(_ keys: [StockKey]) -> SQL {
        """
        SELECT \(termsRow)
        FROM unnest(\(keys.map(\.saleId)), \(keys.map { Int32($0.batch) }), \(keys.map(\.variant)))
            AS k(sale_id, batch, variant)
        CROSS JOIN LATERAL (
            SELECT * FROM stock WHERE (sale_id, batch, variant) = (k.sale_id, k.batch, k.variant) OFFSET 0) s
        """
    }

    static let servedRow = Columns("o.sale_id", "o.buyer_id") { (sale: SaleID, buyer: AccountID) in
        SaleBuyer(saleId: sale, buyerId: buyer)
    }

    /// Those of the orders' buyers who are served already.
    static func served(_ orders: [OrderPlaced]) -> SQL {
        """
        SELECT \(servedRow)
        FROM unnest(\(orders.map(\.saleId)), \(orders.map(\.buyerId))) AS k(sale_id, buyer_id)
        -- OFFSET: looked up for each key, also where the planner knew the table when it was empty.
        CROSS JOIN LATERAL (
            SELECT sale_id, buyer_id FROM orders
            WHERE sale_id = k.sale_id AND buyer_id = k.buyer_id AND state < \(literal: OrderState.released) OFFSET 0) o
        """
    }

    // MARK: What was decided

    /// What is left in the partition's leases.
    static func use(_ used: [StockKey: StockView], partition: Int32) -> SQL {
        let keys = Array(used.keys)
        return """
            UPDATE leases l SET units = k.units, places = k.places
            FROM unnest(\(keys.map(\.saleId)), \(keys.map { Int32($0.batch) }), \(keys.map(\.variant)),
                \(keys.map { used[$0]?.units ?? 0 }), \(keys.map { used[$0]?.places ?? 0 }))
                AS k(sale_id, batch, variant, units, places)
            WHERE (l.sale_id, l.batch, l.variant) = (k.sale_id, k.batch, k.variant) AND l.log_partition = \(partition)
                -- To be found by the sales, whichever way it is joined.
                AND l.sale_id = ANY(\(keys.map(\.saleId)))
            """
    }

    /// - Parameters:
    ///   - kept: the places of the orders that get a row.
    ///   - states: theirs.
    static func insert(
        _ kept: [Int], of orders: [OrderInLog], states: [OrderState], holdUntil: [Timestamp?], partition: Int32
    ) -> SQL {
        """
        INSERT INTO orders (order_id, sale_id, buyer_id, batch, variant, state, log_partition, log_offset,
            ordered_at, hold_until, publisher)
        SELECT order_id, sale_id, buyer_id, batch, variant, state, \(partition), log_offset, ordered_at, hold_until,
            publisher
        FROM unnest(\(kept.map { orders[$0].order.orderId }), \(kept.map { orders[$0].order.saleId }),
            \(kept.map { orders[$0].order.buyerId }), \(kept.map { Int32(orders[$0].order.batch) }),
            \(kept.map { orders[$0].order.variant }), \(states),
            \(kept.map { orders[$0].offset }), \(kept.map { orders[$0].time }), \(kept.map { holdUntil[$0] }),
            \(kept.map { orders[$0].publisher }))
            AS k(order_id, sale_id, buyer_id, batch, variant, state, log_offset, ordered_at, hold_until, publisher)
        -- A buyer's orders on two partitions meet in the index: two transactions meet them in one order.
        ORDER BY sale_id, buyer_id
        """
    }
}

extension OrderState: PostgresValue {}
