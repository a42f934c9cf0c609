// Orders and their cancellations as the log has them, and what may become of one.
import Models

/// An order at its place in the log.
struct OrderInLog: Sendable {
    let order: OrderPlaced
    let time: Timestamp
    let offset: Int64
    /// Who proved to have placed it.
    var publisher: PublisherName?
}

/// An order by the name that its buyer gives it, in the word of one publisher: nobody else can take it back.
struct OrderOfBuyer: Hashable, Sendable {
    let orderId: OrderID
    let buyerId: AccountID
    /// Nil: of nobody who proved it.
    var publisher: PublisherName?
}

extension Optional<PublisherName> {
    /// Whether a cancellation of this publisher ends an order of that one: its own, and the app's any order of the buyer,
    /// who signed in there.
    func mayCancel(orderOf publisher: PublisherName?) -> Bool { self == publisher || self == .messaging }
}

/// A buyer's cancellation at its place in the log.
struct CancellationInLog: Sendable, Equatable {
    let order: OrderOfBuyer
    let time: Timestamp
    let offset: Int64
}

/// What became of one record.
enum Outcome: UInt8, CaseIterable, Sendable {
    /// Not an order, or one that was decided before: nothing is said about it.
    case none = 0
    case reserved = 1
    case waitlisted = 2
    case soldOut = 3
    case limitReached = 4
    case notOpen = 5
    case closed = 6
    /// Ended before it began: its cancellation was there first, or came with it. It never held anything.
    case cancelled = 7

    /// The reason of a refusal, nil for what is none.
    var refusal: OrderRejected.Reason? {
        switch self {
        case .none, .reserved, .waitlisted, .cancelled: nil
        case .soldOut: .soldOut
        case .limitReached: .limitReached
        case .notOpen: .notOpen
        case .closed: .closed
        }
    }
}

/// What an order is that has a row. Its number is what the row says; those below `released` are alive, and an index holds
/// them by that.
enum OrderState: Int16, CaseIterable, Sendable {
    case reserved = 1
    case waitlisted = 2
    case confirmed = 3
    case released = 4

    var hasUnit: Bool { self == .reserved || self == .confirmed }
}

extension Outcome {
    /// The state of a new order; nil where it gets no row.
    var state: OrderState? {
        switch self {
        case .reserved: .reserved
        case .waitlisted: .waitlisted
        case .cancelled: .released
        case .none, .soldOut, .limitReached, .notOpen, .closed: nil
        }
    }
}

struct SaleBuyer: Hashable, Sendable {
    let saleId: SaleID
    let buyerId: AccountID
}

/// An order that holds a unit, or has bought it, or waits for one.
struct LiveOrder: Sendable, Equatable {
    let buyer: SaleBuyer
    let key: StockKey
    /// It waits otherwise.
    let hasUnit: Bool
    /// Who proved to have placed it.
    var publisher: PublisherName?
}
