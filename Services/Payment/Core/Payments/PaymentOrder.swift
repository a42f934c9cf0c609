// What payment knows of an order, and how far it is with it.
import Models

struct PaymentOrder: Equatable, Sendable {
    enum State: String, Sendable, CaseIterable {
        /// Held for the buyer, who may pay by hand before the hold runs out.
        case payable
        case captured
        case refunded
        /// A standing authorisation was there and the wallet could not pay: the order's hold ends.
        case failed
        /// Nothing was paid, nothing will be.
        case released
    }

    let id: OrderID
    let sale: SaleID
    let buyer: AccountID
    let brand: BrandID
    /// Nil when all that is known of the order is its release.
    let due: Due?
    /// Which part of the brand's proceeds a capture goes to and a refund comes from.
    let slot: Int32
    var state: State
    /// The capture's transfer; there is one when, and only when, the state is `captured` or `refunded`.
    var payment: PaymentID?
    /// That of the reservation's last event of it; its answers bear it. Nil: it came from a version without numbers.
    var revision: Int?
    /// Whom the authorisation named that paid it; nil: none did.
    var authorised: Authorised?

    struct Authorised: Equatable, Sendable {
        /// Besides the app.
        let publisher: PublisherName?
    }

    struct Due: Equatable, Sendable {
        let price: Money
        /// From this moment on it is too late to pay.
        let holdUntil: Timestamp
    }
}

/// What an authorisation allows.
struct Authority: Equatable, Sendable {
    /// For one order.
    let limit: Money
    /// Whose orders it holds for, besides those that the owner placed in the app.
    let publisher: PublisherName?

    /// Whether it pays an order of that price which that publisher proved to have placed. What nobody vouches for is paid by
    /// nobody but the buyer himself: anybody may write an order in the buyer's name.
    func covers(_ price: Money, of placer: PublisherName?) -> Bool {
        guard let placer, placer == .messaging || placer == publisher else { return false }
        return limit.currency == price.currency && limit.amount >= price.amount
    }
}

/// Who lets whom take money without asking.
struct AuthorisationKey: Hashable, Sendable {
    let owner: AccountID
    let payee: AccountID
}
