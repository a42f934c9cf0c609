// What payment knows of each order, and who may be charged for one without asking.
import Models
import Postgres

enum OrderStatements {
    /// Locks those of the orders that are known.
    static func lock(_ orders: Set<OrderID>) -> SQL {
        """
        SELECT
            order_id, sale_id, buyer_id, brand_id, payment_id, hold_until, amount, currency, slot, state::text,
            order_revision, authorised, authorised_publisher
        FROM orders WHERE order_id = ANY(\(Array(orders))) ORDER BY order_id FOR UPDATE
        """
    }

    static func orders(_ rows: Rows) throws(PostgresError) -> [PaymentOrder] {
        var orders: [PaymentOrder] = []
        orders.reserveCapacity(rows.count)
        for row in rows { orders.append(try order(row)) }
        return orders
    }

    static func order(_ row: Row) throws(PostgresError) -> PaymentOrder {
        var due: PaymentOrder.Due?
        if let amount = try row.get(6, as: Int64?.self) {
            due = PaymentOrder.Due(price: Money(amount, try row.currency(7)), holdUntil: try row.get(5))
        }
        return PaymentOrder(
            id: try row.get(0), sale: try row.get(1), buyer: try row.get(2), brand: try row.get(3), due: due,
            slot: try row.get(8), state: try row.choice(9), payment: try row.get(4),
            revision: try row.get(10, as: Int32?.self).map { Int($0) },
            authorised: try row.get(11, as: Bool.self)
                ? PaymentOrder.Authorised(publisher: try row.publisher(12)) : nil)
    }

    /// Writes orders that were not known when the transaction began. If another transaction was first with one of them,
    /// this one ends with a serialization failure and is tried again on what it then finds.
    static func insert(_ orders: [PaymentOrder]) -> SQL {
        """
        WITH written AS (
            INSERT INTO orders (
                order_id, sale_id, buyer_id, brand_id, payment_id, hold_until, amount, currency, slot, state,
                order_revision, authorised, authorised_publisher)
            SELECT
                order_id, sale_id, buyer_id, brand_id, payment_id, hold_until, amount, currency, slot,
                state::order_state, order_revision, authorised, authorised_publisher
            FROM unnest(
                \(orders.map(\.id)), \(orders.map(\.sale)), \(orders.map(\.buyer)), \(orders.map(\.brand)),
                \(orders.map(\.payment)), \(orders.map(\.due?.holdUntil)), \(orders.map(\.due?.price.amount)),
                \(orders.map(\.due?.price.currency.code)), \(orders.map(\.slot)), \(orders.map(\.state.rawValue)),
                \(orders.map { $0.revision.map(Int32.init) }), \(orders.map { $0.authorised != nil }),
                \(orders.map { $0.authorised?.publisher?.text })
            ) AS new (
                order_id, sale_id, buyer_id, brand_id, payment_id, hold_until, amount, currency, slot, state,
                order_revision, authorised, authorised_publisher)
            ORDER BY order_id
            ON CONFLICT DO NOTHING
            RETURNING 1
        )
        SELECT count(*) = \(Int64(orders.count)) OR lost_race(\(Int64(orders.count)), count(*)) FROM written
        """
    }

    /// Moves locked orders to their next state.
    static func update(_ orders: [PaymentOrder]) -> SQL {
        """
        UPDATE orders SET
            state = next.state::order_state, payment_id = next.payment_id, order_revision = next.order_revision
        FROM unnest(\(orders.map(\.id)), \(orders.map(\.state.rawValue)), \(orders.map(\.payment)),
            \(orders.map { $0.revision.map(Int32.init) })) AS next (order_id, state, payment_id, order_revision)
        WHERE orders.order_id = next.order_id
        """
    }

    /// The authorisations of `owners` for `payees`; the two go together pair by pair.
    static func authorisations(owners: [AccountID], payees: [BrandID]) -> SQL {
        """
        SELECT a.owner_id, a.payee_id, a.limit_amount, a.currency, a.publisher
        FROM unnest(\(owners), \(payees)) AS asked (owner_id, payee_id)
        -- OFFSET: looked up for each key, also where the planner knew the table when it was empty.
        CROSS JOIN LATERAL (
            SELECT * FROM authorisations
            WHERE owner_id = asked.owner_id AND payee_id = asked.payee_id OFFSET 0) a
        """
    }

    static func authorisations(_ rows: Rows) throws(PostgresError) -> [AuthorisationKey: Authority] {
        var authorisations: [AuthorisationKey: Authority] = [:]
        authorisations.reserveCapacity(rows.count)
        for row in rows {
            let key = AuthorisationKey(owner: try row.get(0), payee: try row.get(1))
            authorisations[key] = Authority(
                limit: Money(try row.get(2), try row.currency(3)), publisher: try row.publisher(4))
        }
        return authorisations
    }

    /// One captured or refunded payment, as its buyer or its brand may see it.
    static func payment(_ payment: PaymentID, seenBy reader: AccountID) -> SQL {
        """
        SELECT
            orders.order_id, sale_id, buyer_id, brand_id, payment_id, hold_until, orders.amount, orders.currency, slot,
            state::text, order_revision, authorised, authorised_publisher, created_at
        FROM transfers JOIN orders ON orders.payment_id = transfers.transfer_id AND orders.order_id = transfers.order_id
        WHERE transfers.transfer_id = \(payment) AND transfers.kind = 'capture'
            AND (buyer_id = \(reader) OR brand_id = \(reader))
        """
    }
}
