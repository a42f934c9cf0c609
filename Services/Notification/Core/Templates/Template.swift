// What there is to say: every language has a text for each.
import ICU

/// A sentence, or a part of one, by its key in `Texts/<language>.json`.
enum Template: String, CaseIterable, Sendable {
    case reserved
    /// Reserved for somebody who was on the waiting list.
    case promoted
    case waitlisted
    case soldOut
    case paid
    case refundedCancelled = "refunded.cancelled"
    case refundedExpired = "refunded.expired"
    case refundedPaymentFailed = "refunded.paymentFailed"
    case releasedCancelled = "released.cancelled"
    case releasedExpired = "released.expired"
    case releasedPaymentFailed = "released.paymentFailed"
    /// What `{timeLeft}` is.
    case daysLeft = "timeLeft.days"
    case hoursLeft = "timeLeft.hours"
    case minutesLeft = "timeLeft.minutes"
    case secondsLeft = "timeLeft.seconds"
    /// What `{product}` is: with its variant, and where the catalogue no longer knows it.
    case productVariant = "product.variant"
    case productUnknown = "product.unknown"

    /// What its text names.
    var arguments: [MessageFormat.Argument] {
        switch self {
        case .reserved, .promoted:
            [.init("product", .text), .init("price", .text), .init("timeLeft", .text), .init("until", .time)]
        case .waitlisted, .soldOut, .releasedCancelled, .releasedExpired, .releasedPaymentFailed:
            [.init("product", .text)]
        case .paid, .refundedCancelled, .refundedExpired, .refundedPaymentFailed:
            [.init("amount", .text), .init("product", .text)]
        case .daysLeft, .hoursLeft, .minutesLeft, .secondsLeft: [.init("count", .number)]
        case .productVariant: [.init("product", .text), .init("variant", .text)]
        case .productUnknown: []
        }
    }
}
