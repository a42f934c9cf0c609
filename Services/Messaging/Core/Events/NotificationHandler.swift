// Notifications become messages of the brand, and broadcasts its posts.
import EventPipeline
import JSON
import Models

/// Stores what readers are to be told, each notification once, and publishes what was stored.
struct NotificationHandler: EventHandler {
    func apply(_ batch: EventBatch, _ step: Step) async throws {
        let events = batch.read(step, only: [Notification.type]) { (_, json) throws(JSONError) in
            try Notification(json: json)
        }
        var messages: [NewMessage] = []
        var posts: [NewPost] = []
        messages.reserveCapacity(events.count)
        var seen: Set<NotificationID> = []
        seen.reserveCapacity(events.count)
        var conversations = ConversationCache()
        for event in events where seen.insert(event.value.notificationId).inserted {
            if let reader = event.value.accountId {
                messages.append(
                    Self.message(event.value, to: reader, at: event.time, &conversations))
            } else {
                posts.append(Self.post(event.value, at: event.time))
            }
        }
        var sequences = try await MessageStorage.store(messages, in: step.transaction)
        sequences.merge(try await BrandStorage.store(posts, in: step.transaction)) { first, _ in first }
        guard !sequences.isEmpty else { return }
        step.publish(rendering: Self.recipe(events, sequences))
    }

    func render(_ batch: EventBatch, recipe: [UInt8], into outgoing: inout Outgoing) throws {
        let events = batch.events(of: Notification.self)
        let sequences = try Self.sequences(of: recipe, count: events.count)
        var conversations = ConversationCache()
        for (event, sequence) in zip(events, sequences) where sequence > 0 {
            let notification = event.value
            if let reader = notification.accountId {
                let message = Self.message(notification, to: reader, at: event.time, &conversations)
                outgoing.publish(
                    .messages, key: message.conversationID, id: notification.notificationId.description,
                    time: event.time, message.stored(at: sequence), cause: event.trace)
            } else {
                let post = Self.post(notification, at: event.time)
                outgoing.publish(
                    .messages, key: post.brandID, id: notification.notificationId.description, time: event.time,
                    post.stored(at: sequence), cause: event.trace)
            }
        }
    }

    private static func message(
        _ notification: Notification, to reader: AccountID, at time: Timestamp, _ conversations: inout ConversationCache
    ) -> NewMessage {
        NewMessage(
            messageID: messageID(notification),
            conversationID: conversations.conversation(notification.brandId, reader),
            senderID: notification.brandId, recipientID: reader, kind: .orderStatus,
            text: notification.text.text(for: "en"), saleID: notification.saleId, orderID: notification.orderId,
            isNotification: true, sentAt: time)
    }

    private static func post(_ notification: Notification, at time: Timestamp) -> NewPost {
        NewPost(
            messageID: messageID(notification), brandID: notification.brandId, kind: .text, text: notification.text,
            saleID: notification.saleId, isNotification: true, sentAt: time)
    }

    /// The message that a notification becomes has its ID: stored again, it is the same row.
    private static func messageID(_ notification: Notification) -> MessageID {
        MessageID(high: notification.notificationId.high, low: notification.notificationId.low)
    }

    /// The number that each event of the batch was stored under, eight bytes each, little endian; zero for those that
    /// were stored before.
    private static func recipe(_ events: [Incoming<Notification>], _ sequences: [MessageID: Int64]) -> [UInt8] {
        var rest = sequences
        var bytes: [UInt8] = []
        bytes.reserveCapacity(8 * events.count)
        for event in events {
            // Taken out, so that a second event of the same notification is none.
            let sequence = rest.removeValue(forKey: messageID(event.value)) ?? 0
            for shift in stride(from: 0, to: 64, by: 8) { bytes.append(UInt8(truncatingIfNeeded: sequence >> shift)) }
        }
        return bytes
    }

    private static func sequences(of recipe: [UInt8], count: Int) throws(RecipeMismatch) -> [Int64] {
        guard recipe.count == 8 * count else { throw RecipeMismatch(bytes: recipe.count, events: count) }
        return (0..<count).map { place in
            (0..<8).reduce(0) { $0 | Int64(recipe[8 * place + $1]) << Int64(8 * $1) }
        }
    }
}

/// The input that is to be rendered is not the one that the recipe was written for.
struct RecipeMismatch: Error, Sendable, CustomStringConvertible {
    let bytes: Int
    let events: Int
    var description: String { "a recipe of \(bytes) bytes for \(events) events" }
}

/// The conversations of one brand's readers within a batch: each is derived once for the messages that follow each
/// other, which are often for the same reader.
private struct ConversationCache {
    private var last: (BrandID, AccountID, ConversationID)?

    mutating func conversation(_ brand: BrandID, _ reader: AccountID) -> ConversationID {
        if let last, last.0 == brand, last.1 == reader { return last.2 }
        let id = DerivedIdentifiers.conversation(brand, reader)
        last = (brand, reader, id)
        return id
    }
}
