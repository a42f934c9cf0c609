// Orders, accounts and events that the tests of payment are made of.
import Models
import TestSupport

@testable import PaymentCore

/// A brand that sells at one price, and IDs that a seed gives.
struct Scenario {
    var random: SeededRandom
    let brand: BrandID
    let sale: SaleID
    let price = Money(199_900, .cny)
    /// The hold's end, unless a test says otherwise.
    let holdUntil = Timestamp(seconds: 1_800_000_120)
    /// A moment within the hold.
    let noon = Timestamp(seconds: 1_800_000_000)

    init(seed: UInt64 = 1) {
        random = SeededRandom(seed: seed)
        brand = Self.id(&random)
        sale = Self.id(&random)
    }

    mutating func id<Kind>(_ kind: Kind.Type = Kind.self) -> Identifier<Kind> { Self.id(&random) }

    private static func id<Kind>(_ random: inout SeededRandom) -> Identifier<Kind> {
        .v7(at: Timestamp(seconds: 1_800_000_000), random: (random.next(), random.next()))
    }

    func line(
        _ order: OrderID, _ buyer: AccountID, brand: BrandID? = nil, publisher: PublisherName? = .messaging
    ) -> OrderLine {
        OrderLine(
            orderId: order, saleId: sale, batch: 1, variant: "mi3-silver-16", buyerId: buyer,
            brandId: brand ?? self.brand, publisher: publisher)
    }

    func reserved(
        _ order: OrderID, by buyer: AccountID, price: Money? = nil, holdUntil: Timestamp? = nil, brand: BrandID? = nil,
        publisher: PublisherName? = .messaging
    ) -> OrderReserved {
        OrderReserved(
            line: line(order, buyer, brand: brand, publisher: publisher), price: price ?? self.price,
            holdUntil: holdUntil ?? self.holdUntil, promoted: false)
    }

    func released(
        _ order: OrderID, by buyer: AccountID, _ reason: OrderReleased.Reason = .expired
    ) -> OrderReleased {
        OrderReleased(line: line(order, buyer), reason: reason)
    }

    func authorisation(
        _ buyer: AccountID, _ limit: Money? = nil, for publisher: PublisherName? = nil
    ) -> [AuthorisationKey: Authority] {
        [AuthorisationKey(owner: buyer, payee: brand): Authority(limit: limit ?? price, publisher: publisher)]
    }

    /// A wallet with the given balance, and the brand's proceeds of slot 3.
    func accounts(_ buyer: AccountID, holding balance: Int64) -> [LedgerAccount] {
        [
            LedgerAccount(number: 1, key: .wallet(buyer, .cny), balance: balance),
            LedgerAccount(number: 2, key: .proceeds(brand, .cny, slot: 3), balance: 0),
        ]
    }
}

extension Settlement {
    /// What was answered, in short: `captured`, `failed insufficientFunds`, `refunded expired`.
    var summary: [String] {
        answers.map { answer in
            switch answer.event {
            case .captured: "captured"
            case .failed(let failed): "failed \(failed.reason.rawValue)"
            case .refunded(let refunded): "refunded \(refunded.reason.rawValue)"
            }
        }
    }
}
