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

    struct Due: Equatable, Sendable {
        let price: Money
        /// From this moment on it is too late to pay.
        let holdUntil: Timestamp
    }
}

/// Who lets whom take money without asking.
struct AuthorisationKey: Hashable, Sendable {
    let owner: AccountID
    let payee: AccountID
}
