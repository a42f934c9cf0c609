// Topic `payments`, keyed by the payer's account ID.
import JSON

/// The price of a reserved order left the buyer's wallet and reached the brand's.
public struct PaymentCaptured: EventPayload {
    public static let type = "stampede.payment.captured.v1"

    public let paymentId: PaymentID
    public let orderId: OrderID
    public let saleId: SaleID
    public let buyerId: AccountID
    public let brandId: BrandID
    public let amount: Money
    /// That of the reservation's event which this answers: see `OrderLine.orderRevision`.
    public let orderRevision: Int?

    public init(
        paymentId: PaymentID, orderId: OrderID, saleId: SaleID, buyerId: AccountID, brandId: BrandID, amount: Money,
        orderRevision: Int? = nil
    ) {
        self.paymentId = paymentId
        self.orderId = orderId
        self.saleId = saleId
        self.buyerId = buyerId
        self.brandId = brandId
        self.amount = amount
        self.orderRevision = orderRevision
    }

    public static let schema = Schema(
        Self.init, Field("paymentId", \.paymentId), Field("orderId", \.orderId), Field("saleId", \.saleId),
        Field("buyerId", \.buyerId), Field("brandId", \.brandId), Field("amount", \.amount),
        Field("orderRevision", \.orderRevision, .revision))
}

/// A standing authorisation was there, but the payment could not be made: nothing moved.
public struct PaymentFailed: EventPayload {
    public static let type = "stampede.payment.failed.v1"

    public enum Reason: String, JSONCodable, CaseIterable {
        case insufficientFunds
        /// The hold had run out when the payment was tried. Said by versions before this one: now a payment that was
        /// authorised is made, and goes back where the hold had ended.
        case tooLate
        /// The buyer has no wallet in the order's currency.
        case noWallet
    }

    public let orderId: OrderID
    public let saleId: SaleID
    public let buyerId: AccountID
    public let brandId: BrandID
    public let reason: Reason
    /// That of the reservation's event which this answers: see `OrderLine.orderRevision`.
    public let orderRevision: Int?

    public init(
        orderId: OrderID, saleId: SaleID, buyerId: AccountID, brandId: BrandID, reason: Reason,
        orderRevision: Int? = nil
    ) {
        self.orderId = orderId
        self.saleId = saleId
        self.buyerId = buyerId
        self.brandId = brandId
        self.reason = reason
        self.orderRevision = orderRevision
    }

    public static let schema = Schema(
        Self.init, Field("orderId", \.orderId), Field("saleId", \.saleId), Field("buyerId", \.buyerId),
        Field("brandId", \.brandId), Field("reason", \.reason), Field("orderRevision", \.orderRevision, .revision))
}

/// A captured payment went back to the buyer, once, because its order was released.
public struct PaymentRefunded: EventPayload {
    public static let type = "stampede.payment.refunded.v1"

    public let paymentId: PaymentID
    public let orderId: OrderID
    public let saleId: SaleID
    public let buyerId: AccountID
    public let brandId: BrandID
    public let amount: Money
    public let reason: OrderReleased.Reason
    /// That of the reservation's event which this answers: see `OrderLine.orderRevision`.
    public let orderRevision: Int?

    public init(
        paymentId: PaymentID, orderId: OrderID, saleId: SaleID, buyerId: AccountID, brandId: BrandID, amount: Money,
        reason: OrderReleased.Reason, orderRevision: Int? = nil
    ) {
        self.paymentId = paymentId
        self.orderId = orderId
        self.saleId = saleId
        self.buyerId = buyerId
        self.brandId = brandId
        self.amount = amount
        self.reason = reason
        self.orderRevision = orderRevision
    }

    public static let schema = Schema(
        Self.init, Field("paymentId", \.paymentId), Field("orderId", \.orderId), Field("saleId", \.saleId),
        Field("buyerId", \.buyerId), Field("brandId", \.brandId), Field("amount", \.amount),
        Field("reason", \.reason), Field("orderRevision", \.orderRevision, .integer(1...Int(Int32.max))))
}
