// Topics `notifications`, keyed by the reader's account ID (a broadcast: the brand's), and `messages`, keyed by the
// conversation's.
import JSON

/// What messaging is to show: one reader's message, or a brand's post for all who follow it or ordered.
public struct Notification: EventPayload {
    public static let type = "stampede.notification.told.v1"

    public enum Kind: String, JSONCodable, CaseIterable {
        case reserved, waitlisted, soldOut, paid, refunded, released

        /// Whether it tells of an event of `payments`; else of `reservations`.
        public var isOfPayment: Bool { self == .paid || self == .refunded }
    }

    /// Derived from the event that it tells of and its reader: told again, it is the same.
    public let notificationId: NotificationID
    public let kind: Kind
    public let brandId: BrandID
    /// None: a broadcast of the brand.
    public let accountId: AccountID?
    public let saleId: SaleID
    public let orderId: OrderID?
    /// In the reader's language alone; a broadcast in all.
    public let text: LocalizedText
    /// Of an order: that of the event which is told: see `OrderLine.orderRevision`.
    public let orderRevision: Int?

    public init(
        notificationId: NotificationID, kind: Kind, brandId: BrandID, accountId: AccountID?, saleId: SaleID,
        orderId: OrderID?, text: LocalizedText, orderRevision: Int? = nil
    ) {
        self.notificationId = notificationId
        self.kind = kind
        self.brandId = brandId
        self.accountId = accountId
        self.saleId = saleId
        self.orderId = orderId
        self.text = text
        self.orderRevision = orderRevision
    }

    /// The place in its order's life of what is told: the greater one is the later. Nil where it is not of an order, or
    /// its publisher was a version that did not number events.
    public var orderPlace: OrderPlace? {
        orderId == nil ? nil : orderRevision.map { OrderPlace(revision: $0, isOfPayment: kind.isOfPayment) }
    }

    public static let schema = Schema(
        Self.init, Field("notificationId", \.notificationId), Field("kind", \.kind), Field("brandId", \.brandId),
        Field("accountId", \.accountId), Field("saleId", \.saleId), Field("orderId", \.orderId),
        Field("text", \.text, .localized(charactersMax: MessageSent.textCharactersMax)),
        Field("orderRevision", \.orderRevision, .revision))
}

/// A message was stored in a conversation.
public struct MessageSent: EventPayload {
    public static let type = "stampede.message.sent.v1"

    public enum Kind: String, JSONCodable, CaseIterable {
        case text
        /// A sale's card with its button; `saleId` says which.
        case goodsCard
        /// What became of an order; `orderId` says which.
        case orderStatus
    }

    public let messageId: MessageID
    public let conversationId: ConversationID
    /// From 1 without a gap within the conversation.
    public let sequence: Int64
    public let senderId: AccountID
    public let recipientId: AccountID
    public let kind: Kind
    public let text: String
    public let saleId: SaleID?
    public let orderId: OrderID?
    public let sentAt: Timestamp

    /// In Unicode's code points, as everywhere where people read.
    public static let textCharactersMax = 8000

    public init(
        messageId: MessageID, conversationId: ConversationID, sequence: Int64, senderId: AccountID,
        recipientId: AccountID, kind: Kind, text: String, saleId: SaleID?, orderId: OrderID?, sentAt: Timestamp
    ) {
        self.messageId = messageId
        self.conversationId = conversationId
        self.sequence = sequence
        self.senderId = senderId
        self.recipientId = recipientId
        self.kind = kind
        self.text = text
        self.saleId = saleId
        self.orderId = orderId
        self.sentAt = sentAt
    }

    public static let schema = Schema(
        Self.init, Field("messageId", \.messageId), Field("conversationId", \.conversationId),
        Field("sequence", \.sequence, .integer(1...Int64.max)), Field("senderId", \.senderId),
        Field("recipientId", \.recipientId), Field("kind", \.kind),
        Field("text", \.text, .text(characters: 0...textCharactersMax)), Field("saleId", \.saleId),
        Field("orderId", \.orderId), Field("sentAt", \.sentAt))
}

/// A brand posted to all who follow it. Keyed by the brand's ID.
public struct BrandPosted: EventPayload {
    public static let type = "stampede.brand.posted.v1"

    public let messageId: MessageID
    public let brandId: BrandID
    /// From 1 without a gap within the brand's posts.
    public let sequence: Int64
    public let kind: MessageSent.Kind
    public let text: LocalizedText
    public let saleId: SaleID?
    public let sentAt: Timestamp

    public init(
        messageId: MessageID, brandId: BrandID, sequence: Int64, kind: MessageSent.Kind, text: LocalizedText,
        saleId: SaleID?, sentAt: Timestamp
    ) {
        self.messageId = messageId
        self.brandId = brandId
        self.sequence = sequence
        self.kind = kind
        self.text = text
        self.saleId = saleId
        self.sentAt = sentAt
    }

    public static let schema = Schema(
        Self.init, Field("messageId", \.messageId), Field("brandId", \.brandId),
        Field("sequence", \.sequence, .integer(1...Int64.max)), Field("kind", \.kind),
        Field("text", \.text, .localized(charactersMax: MessageSent.textCharactersMax)), Field("saleId", \.saleId),
        Field("sentAt", \.sentAt))
}
