// Topic `notifications`: one to a reader becomes a message of the brand, one to all its post.
import EventPipeline
import JSON
import Models

/// Stores what readers are to be told, each notification once, and publishes what was stored.
struct NotificationEvents: EventHandler {
    func apply(_ batch: EventBatch, _ unit: UnitOfWork) async throws {
        let events = batch.read(unit, only: [Notification.type]) { (_, json) throws(JSONError) in
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
        var sequences = try await MessageCommands.store(
            NewMessage.inOrdersOfLife(messages), in: unit.transaction)
        sequences.merge(try await PostCommands.store(posts, in: unit.transaction)) { first, _ in first }
        guard !sequences.isEmpty else { return }
        var deferred = StoredSequences(firstOffset: batch.firstOffset, count: Int(batch.nextOffset - batch.firstOffset))
        for event in events {
            // Taken out, so that a second event of the same notification is none.
            guard let sequence = sequences.removeValue(forKey: Self.messageId(event.value)) else { continue }
            deferred[event.offset] = sequence
        }
        unit.publish(rendering: deferred.encoded)
    }

    func render(_ batch: EventBatch, deferred: [UInt8], into outgoing: inout Outgoing) throws {
        let events = batch.events(of: Notification.self)
        let deferred = StoredSequences(encoded: deferred, offsets: events.map(\.offset))
        var conversations = ConversationCache()
        // By their numbers, which is each conversation's order and each brand's.
        let stored = events.compactMap { event in deferred[event.offset].map { (event: event, sequence: $0) } }
        for (event, sequence) in stored.sorted(by: { $0.sequence < $1.sequence }) {
            let notification = event.value
            if let reader = notification.accountId {
                let message = Self.message(notification, to: reader, at: event.time, &conversations)
                outgoing.publish(
                    .messages, key: message.conversationId, id: notification.notificationId.description,
                    time: event.time, message.stored(at: sequence), cause: event.trace)
            } else {
                let post = Self.post(notification, at: event.time)
                outgoing.publish(
                    .messages, key: post.brandId, id: notification.notificationId.description, time: event.time,
                    post.stored(at: sequence), cause: event.trace)
            }
        }
    }

    private static func message(
        _ notification: Notification, to reader: AccountID, at time: Timestamp, _ conversations: inout ConversationCache
    ) -> NewMessage {
        NewMessage(
            messageId: messageId(notification),
            conversationId: conversations.conversation(notification.brandId, reader),
            senderId: notification.brandId, recipientId: reader, kind: .orderStatus,
            text: notification.text.text(for: "en"), saleId: notification.saleId, orderId: notification.orderId,
            orderPlace: notification.orderPlace, isNotification: true, sentAt: time)
    }

    private static func post(_ notification: Notification, at time: Timestamp) -> NewPost {
        NewPost(
            messageId: messageId(notification), brandId: notification.brandId, kind: .text, text: notification.text,
            saleId: notification.saleId, isNotification: true, sentAt: time)
    }

    /// The message that a notification becomes has its ID: stored again, it is the same row.
    private static func messageId(_ notification: Notification) -> MessageID {
        MessageID(high: notification.notificationId.high, low: notification.notificationId.low)
    }
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
