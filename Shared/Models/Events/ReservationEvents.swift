// Topic `reservations`, keyed by the buyer's ID; what concerns a sale as a whole is keyed by the sale's.
import JSON

/// What an order was for, as every answer to it repeats.
public struct OrderLine: JSONObject, Hashable {
    public let orderId: OrderID
    public let saleId: SaleID
    public let batch: Int
    public let variant: String
    public let buyerId: AccountID
    public let brandId: BrandID
    /// The place of the event in its order's life: 1 is the decision, every later change is one more. Events of one order
    /// may arrive in another order than this; the greatest says what is so. Nil: the publisher was a version that did not number them.
    public let orderRevision: Int?
    /// Who proved to have placed the order; `messaging` is the buyer in the app. Nil: nobody did.
    public let publisher: PublisherName?

    public init(
        orderId: OrderID, saleId: SaleID, batch: Int, variant: String, buyerId: AccountID, brandId: BrandID,
        orderRevision: Int? = 1, publisher: PublisherName? = nil
    ) {
        self.orderId = orderId
        self.saleId = saleId
        self.batch = batch
        self.variant = variant
        self.buyerId = buyerId
        self.brandId = brandId
        self.orderRevision = orderRevision
        self.publisher = publisher
    }

    public static let schema = Schema(
        Self.init, Field("orderId", \.orderId), Field("saleId", \.saleId), Field("batch", \.batch, .batchNumber),
        Field("variant", \.variant, .variantCode), Field("buyerId", \.buyerId), Field("brandId", \.brandId),
        Field("orderRevision", \.orderRevision, .revision), Field("publisher", \.publisher))
}

extension Codec<Int> {
    /// A place among events: see `OrderLine.orderRevision` and `SaleSoldOut.lineRevision`.
    static var revision: Codec { integer(1...Int(Int32.max)) }
}

/// A unit is held for the buyer until it is paid or the hold runs out.
public struct OrderReserved: EventPayload {
    public static let type = "stampede.reservation.reserved.v1"

    public let line: OrderLine
    public let price: Money
    public let holdUntil: Timestamp
    /// True when the order came from the waitlist.
    public let promoted: Bool

    public init(line: OrderLine, price: Money, holdUntil: Timestamp, promoted: Bool) {
        self.line = line
        self.price = price
        self.holdUntil = holdUntil
        self.promoted = promoted
    }

    public static let schema = Schema(
        Self.init, Field(membersOf: \.line), Field("price", \.price), Field("holdUntil", \.holdUntil),
        Field("promoted", \.promoted))
}

/// Nothing is free now; the order takes over, in the order of arrival, what others let go.
public struct OrderWaitlisted: EventPayload {
    public static let type = "stampede.reservation.waitlisted.v1"
    public let line: OrderLine

    public init(line: OrderLine) { self.line = line }

    public static let schema = Schema(Self.init, Field(membersOf: \.line))
}

/// The order ends here without a phone.
public struct OrderRejected: EventPayload {
    public static let type = "stampede.reservation.rejected.v1"

    public enum Reason: String, JSONCodable, CaseIterable {
        /// Every unit is sold or held and the waitlist is full.
        case soldOut
        /// The buyer has an order in this sale already.
        case limitReached
        /// The batch had not opened when the order arrived.
        case notOpen
        /// The batch had closed, or the sale was withdrawn.
        case closed
        /// The batch ended while the order waited.
        case waitlistEnded
    }

    public let line: OrderLine
    public let reason: Reason

    public init(line: OrderLine, reason: Reason) {
        self.line = line
        self.reason = reason
    }

    public static let schema = Schema(Self.init, Field(membersOf: \.line), Field("reason", \.reason))
}

/// The unit is paid: it is the buyer's.
public struct OrderConfirmed: EventPayload {
    public static let type = "stampede.reservation.confirmed.v1"
    public let line: OrderLine

    public init(line: OrderLine) { self.line = line }

    public static let schema = Schema(Self.init, Field(membersOf: \.line))
}

/// The hold ended without a phone for this buyer, or the order left the waitlist; money that came for it goes back.
public struct OrderReleased: EventPayload {
    public static let type = "stampede.reservation.released.v1"

    public enum Reason: String, JSONCodable, CaseIterable {
        /// Nobody paid before the hold ran out.
        case expired
        /// The wallet could not pay.
        case paymentFailed
        /// The buyer cancelled.
        case cancelled
        /// A payment came for an order that no longer held a unit.
        case paidTooLate
    }

    public let line: OrderLine
    public let reason: Reason

    public init(line: OrderLine, reason: Reason) {
        self.line = line
        self.reason = reason
    }

    public static let schema = Schema(Self.init, Field(membersOf: \.line), Field("reason", \.reason))
}

/// The last unit of a variant of a batch was given away. Said again when what came back, or was added, has been given away
/// too. Keyed by the sale's ID.
public struct SaleSoldOut: EventPayload {
    public static let type = "stampede.sale.soldout.v1"

    public let saleId: SaleID
    public let batch: Int
    public let variant: String
    public let brandId: BrandID
    public let soldOutAt: Timestamp
    /// How many units were offered by then. Nil: the publisher was a version that did not say so.
    public let units: Int64?
    /// The place of the event among those that say whether the line is sold out: the greatest says what is so, in whichever
    /// order they arrive. Nil: the publisher was a version that did not number them.
    public let lineRevision: Int?

    public init(
        saleId: SaleID, batch: Int, variant: String, brandId: BrandID, soldOutAt: Timestamp, units: Int64? = nil,
        lineRevision: Int? = nil
    ) {
        self.saleId = saleId
        self.batch = batch
        self.variant = variant
        self.brandId = brandId
        self.soldOutAt = soldOutAt
        self.units = units
        self.lineRevision = lineRevision
    }

    public static let schema = Schema(
        Self.init, Field("saleId", \.saleId), Field("batch", \.batch, .batchNumber),
        Field("variant", \.variant, .variantCode), Field("brandId", \.brandId), Field("soldOutAt", \.soldOutAt),
        Field("units", \.units, .integer(1...Sale.unitsMax)), Field("lineRevision", \.lineRevision, .revision))
}

/// What was sold out is to be had again: a unit came back and nobody waits for it, or supply was added. Keyed by the sale's
/// ID.
public struct SaleAvailable: EventPayload {
    public static let type = "stampede.sale.available.v1"

    public let saleId: SaleID
    public let batch: Int
    public let variant: String
    public let brandId: BrandID
    public let availableAt: Timestamp
    /// The place of the event among those that say whether the line is sold out; see `SaleSoldOut`.
    public let lineRevision: Int

    public init(
        saleId: SaleID, batch: Int, variant: String, brandId: BrandID, availableAt: Timestamp, lineRevision: Int
    ) {
        self.saleId = saleId
        self.batch = batch
        self.variant = variant
        self.brandId = brandId
        self.availableAt = availableAt
        self.lineRevision = lineRevision
    }

    public static let schema = Schema(
        Self.init, Field("saleId", \.saleId), Field("batch", \.batch, .batchNumber),
        Field("variant", \.variant, .variantCode), Field("brandId", \.brandId), Field("availableAt", \.availableAt),
        Field("lineRevision", \.lineRevision, .revision))
}
