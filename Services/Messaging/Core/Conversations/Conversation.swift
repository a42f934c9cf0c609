// A direct conversation of two accounts.
import Models

struct Conversation: Sendable, Equatable {
    let conversationId: ConversationID
    let firstId: AccountID
    let secondId: AccountID
    let lastSequence: Int64
    let createdAt: Timestamp
    let changedAt: Timestamp
    /// The number of the last message that each has read.
    let firstRead: Int64
    let secondRead: Int64

    func isMember(_ account: AccountID) -> Bool { account == firstId || account == secondId }
    func other(than account: AccountID) -> AccountID { account == firstId ? secondId : firstId }
    func read(by account: AccountID) -> Int64 { account == firstId ? firstRead : secondRead }
}

/// A conversation in a list: with the other's name and the last message.
struct ConversationSummary: Sendable {
    let conversation: Conversation
    let otherName: String?
    let otherKind: AccountKind?
    let lastMessage: MessageSent?
}
