/// The topics, who owns them, and how they are kept. Only its owner publishes to a topic; `orders` is open to
/// whoever has the right.
public enum Topic: String, CaseIterable, Sendable {
    case accounts, keys, sales, products, orders, reservations, payments, notifications, messages

    public var name: String { rawValue }

    /// Every type of event that stands on it.
    public var events: [any EventPayload.Type] {
        switch self {
        case .accounts: [Account.self, AccountDeleted.self]
        case .keys: [VerificationKey.self, SessionEnded.self]
        case .products: [Product.self]
        case .sales: [Sale.self]
        case .orders: [OrderPlaced.self, OrderCancelled.self]
        case .reservations:
            [
                OrderReserved.self, OrderWaitlisted.self, OrderRejected.self, OrderConfirmed.self, OrderReleased.self,
                SaleSoldOut.self, SaleAvailable.self,
            ]
        case .payments: [PaymentCaptured.self, PaymentFailed.self, PaymentRefunded.self]
        case .notifications: [Notification.self]
        case .messages: [MessageSent.self, BrandPosted.self]
        }
    }

    /// Where records go that cannot be processed: the record as it came, with why, where and when in its headers.
    public var deadLetters: String { "\(name).dead" }

    /// The most instances that the topic's consumers can scale to.
    public static let partitionsDefault: Int32 = 12

    /// Few and needed by everyone in order: one partition. The rest scale.
    public var partitions: Int32 {
        switch self {
        case .keys, .sales, .products: 1
        default: Self.partitionsDefault
        }
    }

    public var isCompacted: Bool {
        switch self {
        case .accounts, .keys, .sales, .products: true
        default: false
        }
    }

    /// The largest body that is an event of the topic; what is published is not larger. A sale has up to 2000 lines, the
    /// others have texts in up to 32 languages.
    public var bodyBytesMax: Int {
        switch self {
        case .sales, .products, .notifications, .messages: 1 << 20
        default: 64 << 10
        }
    }

    /// How long a record is kept, for topics that are not compacted.
    public var retentionHours: Int {
        switch self {
        case .notifications, .messages: 24
        default: 7 * 24
        }
    }

    public static let deadLetterRetentionHours = 30 * 24

    /// The broker's clock decides when an order came, not the publisher's.
    public var usesLogAppendTime: Bool { self == .orders }

    public var owner: String {
        switch self {
        case .accounts, .keys, .messages: "messaging"
        case .sales, .products: "catalog"
        case .orders: "open"
        case .reservations: "reservation"
        case .payments: "payment"
        case .notifications: "notification"
        }
    }
}
