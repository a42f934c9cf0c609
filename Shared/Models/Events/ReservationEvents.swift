// Topic `reservations`, keyed by the buyer's ID; what concerns a sale as a whole is keyed by the sale's.
import JSON

/// What an order was for, as every answer to it repeats.
public struct OrderLine: Hashable, Sendable, Codable {
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

    init(json: JSONValue) throws(JSONError) {
        orderId = try json.identifier("orderId")
        saleId = try json.identifier("saleId")
        batch = try json.batch()
        variant = try json.variant()
        buyerId = try json.identifier("buyerId")
        brandId = try json.identifier("brandId")
        orderRevision = try json.orderRevision()
        publisher = try json.optionalPublisher("publisher")
    }

    func writeMembers(to writer: inout JSONWriter) {
        writer.field("orderId", orderId)
        writer.field("saleId", saleId)
        writer.field("batch", batch)
        writer.field("variant", variant)
        writer.field("buyerId", buyerId)
        writer.field("brandId", brandId)
        writer.field("orderRevision", optional: orderRevision)
        writer.field("publisher", optional: publisher)
    }
}

extension JSONValue {
    func orderRevision() throws(JSONError) -> Int? {
        try optionalInteger("orderRevision", in: 1...Int64(Int32.max)).map { Int($0) }
    }
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

    public init(json: JSONValue) throws(JSONError) {
        line = try OrderLine(json: json)
        price = try json.money("price")
        holdUntil = try json.timestamp("holdUntil")
        promoted = try json.boolean("promoted")
    }

    public func write(to writer: inout JSONWriter) {
        writer.object {
            line.writeMembers(to: &$0)
            $0.field("price", price)
            $0.field("holdUntil", holdUntil)
            $0.field("promoted", promoted)
        }
    }

    private enum MemberKeys: String, CodingKey { case price, holdUntil, promoted }

    public init(from decoder: any Decoder) throws {
        line = try OrderLine(from: decoder)
        let members = try decoder.container(keyedBy: MemberKeys.self)
        price = try members.decode(Money.self, forKey: .price)
        holdUntil = try members.decode(Timestamp.self, forKey: .holdUntil)
        promoted = try members.decode(Bool.self, forKey: .promoted)
    }

    public func encode(to encoder: any Encoder) throws {
        try line.encode(to: encoder)
        var members = encoder.container(keyedBy: MemberKeys.self)
        try members.encode(price, forKey: .price)
        try members.encode(holdUntil, forKey: .holdUntil)
        try members.encode(promoted, forKey: .promoted)
    }
}

/// Nothing is free now; the order takes over, in the order of arrival, what others let go.
public struct OrderWaitlisted: EventPayload {
    public static let type = "stampede.reservation.waitlisted.v1"
    public let line: OrderLine

    public init(line: OrderLine) { self.line = line }
    public init(json: JSONValue) throws(JSONError) { line = try OrderLine(json: json) }
    public func write(to writer: inout JSONWriter) { writer.object { line.writeMembers(to: &$0) } }
    public init(from decoder: any Decoder) throws { line = try OrderLine(from: decoder) }
    public func encode(to encoder: any Encoder) throws { try line.encode(to: encoder) }
}

/// The order ends here without a phone.
public struct OrderRejected: EventPayload {
    public static let type = "stampede.reservation.rejected.v1"

    public enum Reason: String, Codable, Sendable, CaseIterable {
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

    public init(json: JSONValue) throws(JSONError) {
        line = try OrderLine(json: json)
        reason = try json.choice("reason")
    }

    public func write(to writer: inout JSONWriter) {
        writer.object {
            line.writeMembers(to: &$0)
            $0.field("reason", reason.rawValue)
        }
    }

    private enum MemberKeys: String, CodingKey { case reason }

    public init(from decoder: any Decoder) throws {
        line = try OrderLine(from: decoder)
        reason = try decoder.container(keyedBy: MemberKeys.self).decode(Reason.self, forKey: .reason)
    }

    public func encode(to encoder: any Encoder) throws {
        try line.encode(to: encoder)
        var members = encoder.container(keyedBy: MemberKeys.self)
        try members.encode(reason, forKey: .reason)
    }
}

/// The unit is paid: it is the buyer's.
public struct OrderConfirmed: EventPayload {
    public static let type = "stampede.reservation.confirmed.v1"
    public let line: OrderLine

    public init(line: OrderLine) { self.line = line }
    public init(json: JSONValue) throws(JSONError) { line = try OrderLine(json: json) }
    public func write(to writer: inout JSONWriter) { writer.object { line.writeMembers(to: &$0) } }
    public init(from decoder: any Decoder) throws { line = try OrderLine(from: decoder) }
    public func encode(to encoder: any Encoder) throws { try line.encode(to: encoder) }
}

/// The hold ended without a phone for this buyer, or the order left the waitlist; money that came for it goes back.
public struct OrderReleased: EventPayload {
    public static let type = "stampede.reservation.released.v1"

    public enum Reason: String, Codable, Sendable, CaseIterable {
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

    public init(json: JSONValue) throws(JSONError) {
        line = try OrderLine(json: json)
        reason = try json.choice("reason")
    }

    public func write(to writer: inout JSONWriter) {
        writer.object {
            line.writeMembers(to: &$0)
            $0.field("reason", reason.rawValue)
        }
    }

    private enum MemberKeys: String, CodingKey { case reason }

    public init(from decoder: any Decoder) throws {
        line = try OrderLine(from: decoder)
        reason = try decoder.container(keyedBy: MemberKeys.self).decode(Reason.self, forKey: .reason)
    }

    public func encode(to encoder: any Encoder) throws {
        try line.encode(to: encoder)
        var members = encoder.container(keyedBy: MemberKeys.self)
        try members.encode(reason, forKey: .reason)
    }
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

    public init(json: JSONValue) throws(JSONError) {
        saleId = try json.identifier("saleId")
        batch = try json.batch()
        variant = try json.variant()
        brandId = try json.identifier("brandId")
        soldOutAt = try json.timestamp("soldOutAt")
        units = try json.optionalInteger("units", in: 1...Sale.unitsMax)
        lineRevision = try json.optionalInteger("lineRevision", in: 1...Int64(Int32.max)).map { Int($0) }
    }

    public func write(to writer: inout JSONWriter) {
        writer.object {
            $0.field("saleId", saleId)
            $0.field("batch", batch)
            $0.field("variant", variant)
            $0.field("brandId", brandId)
            $0.field("soldOutAt", soldOutAt)
            $0.field("units", optional: units)
            $0.field("lineRevision", optional: lineRevision)
        }
    }
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

    public init(json: JSONValue) throws(JSONError) {
        saleId = try json.identifier("saleId")
        batch = try json.batch()
        variant = try json.variant()
        brandId = try json.identifier("brandId")
        availableAt = try json.timestamp("availableAt")
        lineRevision = Int(try json.integer("lineRevision", in: 1...Int64(Int32.max)))
    }

    public func write(to writer: inout JSONWriter) {
        writer.object {
            $0.field("saleId", saleId)
            $0.field("batch", batch)
            $0.field("variant", variant)
            $0.field("brandId", brandId)
            $0.field("availableAt", availableAt)
            $0.field("lineRevision", lineRevision)
        }
    }
}

extension JSONValue {
    /// A string that is one of an enumeration's.
    public func choice<Choice: RawRepresentable<String> & CaseIterable>(
        _ name: StaticString, of type: Choice.Type = Choice.self
    ) throws(JSONError) -> Choice {
        guard let text = self[name]?.stringValue, let choice = Choice(rawValue: text) else {
            let known = Choice.allCases.map(\.rawValue).joined(separator: ", ")
            throw JSONError(path: "\(name)", expected: "one of \(known)")
        }
        return choice
    }
}
