// What payment knows of each order, and who may be charged for one without asking.
import Models
import Postgres

enum OrderStatements {
    static let orderRow = Columns(
        "orders.order_id", "sale_id", "buyer_id", "brand_id", "payment_id", "hold_until", "orders.amount",
        "orders.currency", "slot", "state::text", "order_revision", "authorised", "authorised_publisher",
        make: order)

    private static func order(
        id: OrderID, sale: SaleID, buyer: AccountID, brand: BrandID, payment: PaymentID?, holdUntil: Timestamp?,
        amount: Int64?, currency: Currency?, slot: Int32, state: PaymentOrder.State, revision: Int32?,
        isAuthorised: Bool, publisher: PublisherName?
    ) throws -> PaymentOrder {
        var due: PaymentOrder.Due?
        if let amount {
            guard let currency, let holdUntil else { throw LedgerError.impossible }
            due = PaymentOrder.Due(price: Money(amount, currency), holdUntil: holdUntil)
        }
        return PaymentOrder(
            id: id, sale: sale, buyer: buyer, brand: brand, due: due, slot: slot, state: state, payment: payment,
            revision: revision.map { Int($0) },
            authorised: isAuthorised ? PaymentOrder.Authorised(publisher: publisher) : nil)
    }

    /// Locks those of the orders that are known.
    static func lock(_ orders: Set<OrderID>) -> SQL {
        "SELECT \(orderRow) FROM orders WHERE order_id = ANY(\(Array(orders))) ORDER BY order_id FOR UPDATE"
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
                \(orders.map(\.due?.price.currency)), \(orders.map(\.slot)), \(orders.map(\.state)),
                \(orders.map { $0.revision.map(Int32.init) }), \(orders.map { $0.authorised != nil }),
                \(orders.map { $0.authorised?.publisher })
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

    /// Moves locked orders to their next state. By the place of each among the sorted IDs: no join, so nothing that the
    /// planner could do the other way round.
    static func update(_ orders: [PaymentOrder]) -> SQL {
        let orders = orders.sorted { $0.id < $1.id }
        return """
            UPDATE orders SET
                state = next.states[width_bucket(order_id, next.ids)]::order_state,
                payment_id = next.payments[width_bucket(order_id, next.ids)],
                order_revision = next.revisions[width_bucket(order_id, next.ids)]
            FROM (SELECT \(orders.map(\.id)) AS ids, \(orders.map(\.state)) AS states,
                \(orders.map(\.payment)) AS payments, \(orders.map { $0.revision.map(Int32.init) }) AS revisions) AS next
            WHERE order_id = ANY(next.ids)
            """
    }

    static let authorityRow = Columns(
        "a.owner_id", "a.payee_id", "a.limit_amount", "a.currency", "a.publisher"
    ) { (owner: AccountID, payee: AccountID, limit: Int64, currency: Currency, publisher: PublisherName?) in
        (
            key: AuthorisationKey(owner: owner, payee: payee),
            authority: Authority(limit: Money(limit, currency), publisher: publisher)
        )
    }

    /// The authorisations of `owners` for `payees`; the two go together pair by pair.
    static func authorities(owners: [AccountID], payees: [BrandID]) -> SQL {
        """
        SELECT \(authorityRow)
        FROM unnest(\(owners), \(payees)) AS asked (owner_id, payee_id)
        -- OFFSET: looked up for each key, also where the planner knew the table when it was empty.
        CROSS JOIN LATERAL (
            SELECT * FROM authorisations
            WHERE owner_id = asked.owner_id AND payee_id = asked.payee_id OFFSET 0) a
        """
    }

    /// An order with the time of its capture.
    static let paymentRow = orderRow.and("created_at", as: Timestamp.self)

    /// One captured or refunded payment, as its buyer or its brand may see it.
    static func payment(_ payment: PaymentID, seenBy reader: AccountID) -> SQL {
        """
        SELECT \(paymentRow)
        FROM transfers CROSS JOIN LATERAL (
            SELECT * FROM orders WHERE order_id = transfers.order_id AND payment_id = transfers.transfer_id OFFSET 0) orders
        WHERE transfers.transfer_id = \(payment) AND transfers.kind = 'capture'
            AND (buyer_id = \(reader) OR brand_id = \(reader))
        """
    }
}

extension PaymentOrder.State: PostgresValue {}
