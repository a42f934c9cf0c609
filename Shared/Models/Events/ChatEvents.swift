// Topics `notifications`, keyed by the reader's account ID (a broadcast: the brand's), and `messages`, keyed by the
// conversation's.
import JSON

/// What messaging is to show: one reader's message, or a brand's post for all who follow it or ordered.
public struct Notification: EventPayload {
    public static let type = "stampede.notification.told.v1"

    public enum Kind: String, Codable, Sendable, CaseIterable {
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

    public init(json: JSONValue) throws(JSONError) {
        notificationId = try json.identifier("notificationId")
        kind = try json.choice("kind")
        brandId = try json.identifier("brandId")
        accountId = try json.optionalIdentifier("accountId")
        saleId = try json.identifier("saleId")
        orderId = try json.optionalIdentifier("orderId")
        text = try json.storedLocalizedText("text", charactersMax: MessageSent.textCharactersMax)
        orderRevision = try json.orderRevision()
    }

    public func write(to writer: inout JSONWriter) {
        writer.object {
            $0.field("notificationId", notificationId)
            $0.field("kind", kind.rawValue)
            $0.field("brandId", brandId)
            $0.field("accountId", optional: accountId)
            $0.field("saleId", saleId)
            $0.field("orderId", optional: orderId)
            $0.field("text", text)
            $0.field("orderRevision", optional: orderRevision)
        }
    }
}

/// A message was stored in a conversation.
public struct MessageSent: EventPayload {
    public static let type = "stampede.message.sent.v1"

    public enum Kind: String, Codable, Sendable, CaseIterable {
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

    public init(json: JSONValue) throws(JSONError) {
        messageId = try json.identifier("messageId")
        conversationId = try json.identifier("conversationId")
        sequence = try json.integer("sequence", in: 1...Int64.max)
        senderId = try json.identifier("senderId")
        recipientId = try json.identifier("recipientId")
        kind = try json.choice("kind")
        text = try json.text("text", charactersMax: Self.textCharactersMax)
        saleId = try json.optionalIdentifier("saleId")
        orderId = try json.optionalIdentifier("orderId")
        sentAt = try json.timestamp("sentAt")
    }

    public func write(to writer: inout JSONWriter) {
        writer.object {
            $0.field("messageId", messageId)
            $0.field("conversationId", conversationId)
            $0.field("sequence", sequence)
            $0.field("senderId", senderId)
            $0.field("recipientId", recipientId)
            $0.field("kind", kind.rawValue)
            $0.field("text", text)
            $0.field("saleId", optional: saleId)
            $0.field("orderId", optional: orderId)
            $0.field("sentAt", sentAt)
        }
    }
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

    public init(json: JSONValue) throws(JSONError) {
        messageId = try json.identifier("messageId")
        brandId = try json.identifier("brandId")
        sequence = try json.integer("sequence", in: 1...Int64.max)
        kind = try json.choice("kind")
        text = try json.storedLocalizedText("text", charactersMax: MessageSent.textCharactersMax)
        saleId = try json.optionalIdentifier("saleId")
        sentAt = try json.timestamp("sentAt")
    }

    public func write(to writer: inout JSONWriter) {
        writer.object {
            $0.field("messageId", messageId)
            $0.field("brandId", brandId)
            $0.field("sequence", sequence)
            $0.field("kind", kind.rawValue)
            $0.field("text", text)
            $0.field("saleId", optional: saleId)
            $0.field("sentAt", sentAt)
        }
    }
}
