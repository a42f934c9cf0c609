// Captures, failures and refunds: what follows from each event and each payment by hand, one after the other.
import Models

/// What a transaction decides, on the orders and accounts that it has locked. Values in, values out: the same input
/// in the same order always gives the same decisions, however it is cut into transactions.
struct Settlement: Sendable {
    /// An event to publish, and which input it answers.
    struct Answer: Equatable, Sendable {
        enum Event: Equatable, Sendable {
            case captured(PaymentCaptured)
            case failed(PaymentFailed)
            case refunded(PaymentRefunded)
        }

        let event: Event
        let input: Int
    }

    /// Why a payment by hand is refused.
    enum Refusal: Error, Equatable, Sendable {
        /// There is no such order, or it is another's.
        case unknownOrder
        case alreadyPaid
        /// The hold has run out, or the order was released: there is nothing to pay for any more.
        case holdOver
        case insufficientFunds
    }

    private(set) var ledger: Ledger
    private(set) var answers: [Answer] = []
    private var orders: [OrderID: PaymentOrder]
    private var added: Set<OrderID> = []
    private var changed: Set<OrderID> = []
    private let authorisations: [AuthorisationKey: Authority]

    /// - Parameters:
    ///   - orders: all that is known of the orders that the input names.
    ///   - accounts: the wallets of their buyers and the proceeds of their brands.
    init(orders: [PaymentOrder], accounts: [LedgerAccount], authorisations: [AuthorisationKey: Authority] = [:]) {
        self.orders = Dictionary(orders.map { ($0.id, $0) }, uniquingKeysWith: { first, _ in first })
        ledger = Ledger(accounts)
        self.authorisations = authorisations
    }

    /// Orders to be written for the first time, by ID.
    var addedOrders: [PaymentOrder] { added.compactMap { orders[$0] }.sorted { $0.id < $1.id } }

    /// Orders that were there and are another now, by ID.
    var changedOrders: [PaymentOrder] { changed.compactMap { orders[$0] }.sorted { $0.id < $1.id } }

    /// A unit is held for a buyer: pays it at once where a standing authorisation covers it, else waits to be paid by
    /// hand. An order that is known already, be it released, stays as it is: an order holds a unit once in its life, so
    /// what comes of it after its release, or again, is old.
    ///
    /// Whoever authorised a payment has paid when the unit is held: that the event came late, because Kafka or payment was
    /// away, is not the buyer's lateness. Reservation alone says whether the hold still stands: where it has ended,
    /// `OrderReleased` comes, before the capture or in answer to it, and the money goes back.
    ///
    /// - Parameter payment: the ID that a capture gets.
    /// - Throws: when the ledger lacks the brand's account, or its balance would not fit.
    mutating func reserved(
        _ event: OrderReserved, slot: Int32, payment: PaymentID, input: Int
    ) throws(LedgerError) {
        let line = event.line
        guard orders[line.orderId] == nil else { return }
        var order = PaymentOrder(
            id: line.orderId, sale: line.saleId, buyer: line.buyerId, brand: line.brandId,
            due: PaymentOrder.Due(price: event.price, holdUntil: event.holdUntil), slot: slot, state: .payable,
            revision: line.orderRevision)
        if let authority = authority(event) {
            order.authorised = PaymentOrder.Authorised(publisher: authority.publisher)
            if let reason = try capture(&order, event.price, payment, input) {
                order.state = .failed
                answer(
                    .failed(
                        PaymentFailed(
                            orderId: order.id, saleId: order.sale, buyerId: order.buyer, brandId: order.brand,
                            reason: reason, orderRevision: order.revision)),
                    input)
            }
        }
        orders[order.id] = order
        added.insert(order.id)
    }

    /// The order ends without a phone: what was paid goes back, once.
    /// - Parameter transfer: the ID that a refund gets.
    mutating func released(
        _ event: OrderReleased, slot: Int32, transfer: TransferID, input: Int
    ) throws(LedgerError) {
        let line = event.line
        guard var order = orders[line.orderId] else {
            orders[line.orderId] = PaymentOrder(
                id: line.orderId, sale: line.saleId, buyer: line.buyerId, brand: line.brandId, due: nil, slot: slot,
                state: .released, revision: line.orderRevision)
            added.insert(line.orderId)
            return
        }
        order.revision = [order.revision, line.orderRevision].compactMap(\.self).max()
        switch order.state {
        case .refunded, .released:
            return
        case .payable, .failed:
            order.state = .released
        case .captured:
            guard let due = order.due, let payment = order.payment else { throw .impossible }
            try ledger.transfer(
                due.price.amount, from: .proceeds(order.brand, due.price.currency, slot: order.slot),
                to: .wallet(order.buyer, due.price.currency), kind: .refund, order: order.id, id: transfer)
            order.state = .refunded
            answer(
                .refunded(
                    PaymentRefunded(
                        paymentId: payment, orderId: order.id, saleId: order.sale, buyerId: order.buyer,
                        brandId: order.brand, amount: due.price, reason: event.reason, orderRevision: order.revision)),
                input)
        }
        store(order)
    }

    /// The buyer pays a held order without a standing authorisation.
    /// - Parameter now: at or after the end of the hold it is too late.
    /// - Returns: the order, captured.
    mutating func pay(
        _ id: OrderID, by buyer: AccountID, at now: Timestamp, payment: PaymentID, input: Int
    ) throws -> PaymentOrder {
        guard var order = orders[id], order.buyer == buyer else { throw Refusal.unknownOrder }
        switch order.state {
        case .captured: throw Refusal.alreadyPaid
        case .refunded, .failed, .released: throw Refusal.holdOver
        case .payable: break
        }
        guard let due = order.due else { throw LedgerError.impossible }
        if now >= due.holdUntil { throw Refusal.holdOver }
        if try capture(&order, due.price, payment, input) != nil { throw Refusal.insufficientFunds }
        store(order)
        return order
    }

    /// The authorisation that covers an order, if there is one.
    private func authority(_ event: OrderReserved) -> Authority? {
        let key = AuthorisationKey(owner: event.line.buyerId, payee: event.line.brandId)
        guard let authority = authorisations[key], authority.covers(event.price, of: event.line.publisher) else {
            return nil
        }
        return authority
    }

    /// Captures, or says why not and changes nothing.
    private mutating func capture(
        _ order: inout PaymentOrder, _ price: Money, _ payment: PaymentID, _ input: Int
    ) throws(LedgerError) -> PaymentFailed.Reason? {
        let wallet = LedgerAccountKey.wallet(order.buyer, price.currency)
        do {
            try ledger.transfer(
                price.amount, from: wallet, to: .proceeds(order.brand, price.currency, slot: order.slot),
                kind: .capture, order: order.id, id: TransferID(high: payment.high, low: payment.low))
        } catch .insufficientFunds {
            return .insufficientFunds
        } catch .noAccount(wallet) {
            return .noWallet
        }
        order.state = .captured
        order.payment = payment
        answer(
            .captured(
                PaymentCaptured(
                    paymentId: payment, orderId: order.id, saleId: order.sale, buyerId: order.buyer,
                    brandId: order.brand, amount: price, orderRevision: order.revision)),
            input)
        return nil
    }

    private mutating func answer(_ event: Answer.Event, _ input: Int) {
        answers.append(Answer(event: event, input: input))
    }

    private mutating func store(_ order: PaymentOrder) {
        orders[order.id] = order
        if !added.contains(order.id) { changed.insert(order.id) }
    }
}
