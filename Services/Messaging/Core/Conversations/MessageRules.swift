// Messages before they are stored: how many numbers a conversation gives them, and in which order.
import Models

/// A message before it has a place in its conversation.
struct NewMessage: Sendable, Equatable {
    let messageId: MessageID
    let conversationId: ConversationID
    let senderId: AccountID
    let recipientId: AccountID
    let kind: MessageSent.Kind
    let text: String
    let saleId: SaleID?
    let orderId: OrderID?
    /// Where what it tells stands in the order's life.
    var orderPlace: OrderPlace?
    let isNotification: Bool
    let sentAt: Timestamp

    func stored(at sequence: Int64) -> MessageSent {
        MessageSent(
            messageId: messageId, conversationId: conversationId, sequence: sequence, senderId: senderId,
            recipientId: recipientId, kind: kind, text: text, saleId: saleId, orderId: orderId, sentAt: sentAt)
    }

    /// Whether a stored message says the same.
    func isSaid(by message: MessageSent) -> Bool {
        message.kind == kind && message.text.utf8.elementsEqual(text.utf8) && message.saleId == saleId
    }

    /// What a batch tells of one order, in the order of its life: reservations and payments are told side by side. All
    /// else stays where it is.
    static func inOrdersOfLife(_ messages: [NewMessage]) -> [NewMessage] {
        var places: [OrderID: [Int]] = [:]
        for (place, message) in messages.enumerated() where message.orderPlace != nil {
            if let order = message.orderId { places[order, default: []].append(place) }
        }
        var sorted = messages
        for places in places.values where places.count > 1 {
            let news = places.map { messages[$0] }
            let inOrder = news.enumerated().sorted {
                ($0.element.orderPlace?.number ?? 0, $0.offset) < ($1.element.orderPlace?.number ?? 0, $1.offset)
            }
            for (place, message) in zip(places, inOrder) { sorted[place] = message.element }
        }
        return sorted
    }
}

/// How many messages each conversation is to have, and when the last of them was sent.
struct MessageNumbers: Sendable {
    private(set) var counts: [ConversationID: (first: NewMessage, last: Timestamp, count: Int64)] = [:]

    init(of messages: [NewMessage]) {
        counts.reserveCapacity(messages.count)
        for message in messages {
            if let known = counts[message.conversationId] {
                counts[message.conversationId] = (known.first, max(known.last, message.sentAt), known.count + 1)
            } else {
                counts[message.conversationId] = (message, message.sentAt, 1)
            }
        }
    }
}
