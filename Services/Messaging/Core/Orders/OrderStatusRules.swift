// What has become of an order, as its buyer sees it.
import Models

/// An order's life. Events of it come from two topics whose order to one another is not known, and may come again:
/// the status that lies further along always wins, so every arrival ends the same.
enum OrderStatus: String, CaseIterable, Sendable {
    /// Taken in; nobody has decided yet.
    case accepted
    case waitlisted
    /// A unit is held until it is paid or the hold runs out.
    case reserved
    /// Paid: the unit is the buyer's.
    case confirmed
    case rejected
    /// The hold, the place in the line or the paid unit was given up.
    case released
    /// What was paid has gone back.
    case refunded

    /// The place in the order's life. A rejected order was at most waitlisted, a released one may have been confirmed:
    /// both are ends, and only a refund comes after.
    var rank: Int16 {
        switch self {
        case .accepted: 0
        case .waitlisted: 1
        case .reserved: 2
        case .confirmed: 3
        case .rejected, .released: 4
        case .refunded: 5
        }
    }

    /// Whether there is nothing left to cancel.
    var isFinal: Bool { rank >= OrderStatus.released.rank }
}

/// What one event says of one order.
struct OrderChange: Sendable, Equatable {
    var orderId: OrderID
    var buyerId: AccountID
    var saleId: SaleID
    var brandId: BrandID
    /// Unknown to payment events.
    var batch: Int?
    var variant: String?
    var status: OrderStatus
    var reason: String?
    var holdUntil: Timestamp?
    var decidedAt: Timestamp

    init(
        _ line: OrderLine, _ status: OrderStatus, reason: String? = nil, holdUntil: Timestamp? = nil, at time: Timestamp
    ) {
        orderId = line.orderId
        buyerId = line.buyerId
        saleId = line.saleId
        brandId = line.brandId
        batch = line.batch
        variant = line.variant
        self.status = status
        self.reason = reason
        self.holdUntil = holdUntil
        decidedAt = time
    }

    init(_ refund: PaymentRefunded, at time: Timestamp) {
        orderId = refund.orderId
        buyerId = refund.buyerId
        saleId = refund.saleId
        brandId = refund.brandId
        status = .refunded
        reason = refund.reason.rawValue
        decidedAt = time
    }

    /// One change an order and buyer: the furthest along, in the order of first mention. A change that knows batch and
    /// variant lends them to one that does not. Changes of one order for two buyers, of whom only one can have placed
    /// it, stay apart.
    static func folded(_ changes: [OrderChange]) -> [OrderChange] {
        struct Key: Hashable {
            let order: OrderID
            let buyer: AccountID
        }
        var places: [Key: Int] = [:]
        places.reserveCapacity(changes.count)
        var folded: [OrderChange] = []
        folded.reserveCapacity(changes.count)
        for change in changes {
            let key = Key(order: change.orderId, buyer: change.buyerId)
            guard let place = places[key] else {
                places[key] = folded.count
                folded.append(change)
                continue
            }
            let earlier = folded[place]
            var winner = change.status.rank > earlier.status.rank ? change : earlier
            winner.batch = earlier.batch ?? change.batch
            winner.variant = earlier.variant ?? change.variant
            folded[place] = winner
        }
        return folded
    }

    /// The changes in sets in which no order comes twice, in their order: nearly always one.
    static func sets(_ changes: [OrderChange]) -> [[OrderChange]] {
        var sets: [[OrderChange]] = []
        var rest = changes
        while !rest.isEmpty {
            var seen: Set<OrderID> = []
            seen.reserveCapacity(rest.count)
            var later: [OrderChange] = []
            var set: [OrderChange] = []
            set.reserveCapacity(rest.count)
            for change in rest {
                if seen.insert(change.orderId).inserted { set.append(change) } else { later.append(change) }
            }
            sets.append(set)
            rest = later
        }
        return sets
    }
}
