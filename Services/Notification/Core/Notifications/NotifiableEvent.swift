// What happened that somebody is to be notified of.
import Models

/// One event as far as its readers are told of it.
struct NotifiableEvent: Hashable, Sendable {
    let what: What
    let brandId: BrandID
    /// Who is told; none: everybody, by a post of the brand.
    let accountId: AccountID?
    let saleId: SaleID
    let orderId: OrderID?
    /// The variant's code, where the event says it.
    let variant: String?
    /// The event's place in the order's life.
    let orderRevision: Int?
    /// Of what sold out: how many units of which line were offered by then.
    private(set) var soldOut: SoldOut?

    struct SoldOut: Hashable, Sendable {
        let batch: Int
        let units: Int64
    }

    enum What: Hashable, Sendable {
        case reserved(price: Money, holdUntil: Timestamp, promoted: Bool)
        case waitlisted
        case soldOut
        case paid(Money)
        case refunded(Money, OrderReleased.Reason)
        case released(OrderReleased.Reason)
    }

    var kind: Notification.Kind {
        switch what {
        case .reserved: .reserved
        case .waitlisted: .waitlisted
        case .soldOut: .soldOut
        case .paid: .paid
        case .refunded: .refunded
        case .released: .released
        }
    }

    init(_ event: OrderReserved) {
        self.init(
            .reserved(price: event.price, holdUntil: event.holdUntil, promoted: event.promoted), line: event.line)
    }

    init(_ event: OrderWaitlisted) { self.init(.waitlisted, line: event.line) }

    /// Nil where a refund tells it: what was paid too late goes back.
    init?(_ event: OrderReleased) {
        if event.reason == .paidTooLate { return nil }
        self.init(.released(event.reason), line: event.line)
    }

    init(_ event: SaleSoldOut) {
        self.init(
            .soldOut, brandId: event.brandId, accountId: nil, saleId: event.saleId, orderId: nil,
            variant: event.variant, orderRevision: nil)
        soldOut = event.units.map { SoldOut(batch: event.batch, units: $0) }
    }

    init(_ event: PaymentCaptured) {
        self.init(
            .paid(event.amount), brandId: event.brandId, accountId: event.buyerId, saleId: event.saleId,
            orderId: event.orderId, variant: nil, orderRevision: event.orderRevision)
    }

    init(_ event: PaymentRefunded) {
        self.init(
            .refunded(event.amount, event.reason), brandId: event.brandId, accountId: event.buyerId,
            saleId: event.saleId,
            orderId: event.orderId, variant: nil, orderRevision: event.orderRevision)
    }

    private init(_ what: What, line: OrderLine) {
        self.init(
            what, brandId: line.brandId, accountId: line.buyerId, saleId: line.saleId, orderId: line.orderId,
            variant: line.variant, orderRevision: line.orderRevision)
    }

    private init(
        _ what: What, brandId: BrandID, accountId: AccountID?, saleId: SaleID, orderId: OrderID?, variant: String?,
        orderRevision: Int?
    ) {
        self.what = what
        self.brandId = brandId
        self.accountId = accountId
        self.saleId = saleId
        self.orderId = orderId
        self.variant = variant
        self.orderRevision = orderRevision
    }

    /// The same with its times cut to whole seconds: no text says more.
    var toTheSecond: NotifiableEvent {
        guard case .reserved(let price, let holdUntil, let promoted) = what else { return self }
        return NotifiableEvent(
            .reserved(price: price, holdUntil: holdUntil.toTheSecond, promoted: promoted), brandId: brandId,
            accountId: accountId, saleId: saleId, orderId: orderId, variant: variant, orderRevision: orderRevision)
    }
}

extension Timestamp {
    /// Without its fraction of a second.
    var toTheSecond: Timestamp {
        let fraction = microseconds % 1_000_000
        return Timestamp(microseconds: microseconds - (fraction < 0 ? fraction + 1_000_000 : fraction))
    }
}
